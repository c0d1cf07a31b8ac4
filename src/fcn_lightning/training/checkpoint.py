"""Checkpoint files: written so that a name never holds half a file, read so that nothing in them is executed."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from fcn_lightning import InputError

CARD = "fcn_lightning"  # key of the card in a checkpoint
PREFIX = "model."  # where the LightningModule keeps the network


def save(trainer: pl.Trainer, path: Path) -> None:
    """Write a checkpoint under a temporary name, then rename it."""
    temporary = path.with_name(f".{path.name}.part")
    trainer.save_checkpoint(temporary)
    os.replace(temporary, path)


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint's content: tensors, numbers, strings, lists and dicts, nothing else.

    Raises:
        InputError: the file is missing or broken, or holds something that would have to be executed.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist; give checkpoint=<run folder>/checkpoints/best.ckpt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"checkpoint {path} is corrupt or not a checkpoint ({reason}); use another file of the run") from error
    if not isinstance(content, dict):
        raise InputError(f"checkpoint {path} holds a {type(content).__name__}, not a checkpoint; use another file")
    return content
