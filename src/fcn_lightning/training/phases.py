"""What training is doing at the moment, for messages about errors that do not say it themselves."""

from typing import Any, Literal

import pytorch_lightning as pl

Phase = Literal["loading data", "training step", "validation", "saving"]


class PhaseNotes(pl.Callback):
    """Note what is being done; belongs behind all callbacks that save.

    Attributes:
        phase: what the process does now, or did when an error came. Waiting for the next batch, and copying it to the
            device, is "loading data"; what a validation reads belongs to the validation.
    """

    def __init__(self) -> None:
        """Start with the data, which are read first."""
        self.phase: Phase = "loading data"

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Note that a batch is there."""
        self.phase = "training step"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note that the next batch is waited for."""
        self.phase = "loading data"

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that images are being tested."""
        self.phase = "validation"

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that the next batch is waited for."""
        self.phase = "loading data"

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note that a checkpoint is being gathered and written."""
        self.phase = "saving"
