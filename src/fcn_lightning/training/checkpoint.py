"""Checkpoint files: written so that a name never holds half a file. `zoo/weights.py` reads them."""

import os
from pathlib import Path

import pytorch_lightning as pl

CARD = "fcn_lightning"  # key of the card in a checkpoint
PREFIX = "model."  # where the LightningModule keeps the network


def save(trainer: pl.Trainer, path: Path) -> None:
    """Write a checkpoint under a temporary name, then rename it."""
    temporary = path.with_name(f".{path.name}.part")
    trainer.save_checkpoint(temporary)
    os.replace(temporary, path)
