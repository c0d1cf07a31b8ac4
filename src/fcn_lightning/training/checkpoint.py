"""Checkpoint files: written so that a name never holds half a file, read so that nothing in them is executed."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from fcn_lightning import InputError
from fcn_lightning.evaluation.predictor import Card, Predictor

CARD = "fcn_lightning"  # key of the card in a checkpoint
PREFIX = "model."  # where the LightningModule keeps the network


def save(trainer: pl.Trainer, path: Path) -> None:
    """Write a checkpoint under a temporary name, then rename it."""
    temporary = path.with_name(f".{path.name}.part")
    trainer.save_checkpoint(temporary)
    os.replace(temporary, path)


def load(path: str | Path, *, device: str = "cpu") -> Predictor:
    """Open a checkpoint for prediction.

    Args:
        path: a file written by training.
        device: where to compute, as in `torch.device`.

    Returns:
        A `Predictor`: call it with an image array; its `model` is the network, its `card` what the file says.

    Raises:
        InputError: the file is missing, broken, or not one of ours.
    """
    content = read(Path(path))
    try:
        card = Card.from_dict(content[CARD])
        model = card.build()
        model.load_state_dict({key.removeprefix(PREFIX): value for key, value in content["state_dict"].items()})
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, InputError) as error:
        raise InputError(
            f"checkpoint {path} was not written by fcn_lightning, or by another version of it ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); give a file from the checkpoints folder of a run"
        ) from error
    return Predictor(model, card, device=device)


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
