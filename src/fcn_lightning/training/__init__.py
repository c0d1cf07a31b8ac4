"""Training: the LightningModule, loss, schedule, checkpoints and callbacks."""
