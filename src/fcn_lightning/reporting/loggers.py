"""Trackers beside the run folder: Weights & Biases."""

import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pytorch_lightning.loggers import Logger, WandbLogger

from fcn_lightning import InputError
from fcn_lightning.data.images import UInt8

MODES = ("auto", "online", "offline")


def wandb_logger(*, project: str, name: str, mode: str, folder: str) -> WandbLogger:
    """Build a W&B logger that never asks for an account.

    Args:
        project: of the runs.
        name: of this run.
        mode: "online", "offline", or "auto": online where an API key is present.
        folder: run folder; the tracker's files go there.
    """
    if mode not in MODES:
        raise InputError(f"logger.mode={mode} is not known; use {', '.join(MODES)}")
    online = mode == "online" or (mode == "auto" and _has_key())
    # A folder of that name must exist, or W&B falls back to the system's temporary one; it has to be absolute, because W&B
    # remembers where a process had its first run.
    place = Path(folder).absolute()
    place.mkdir(parents=True, exist_ok=True)
    return WandbLogger(project=project, name=name, save_dir=place, offline=not online, dir=str(place))


def log_config(loggers: Sequence[Logger], config: dict[str, Any]) -> None:
    """Give the tracker the configuration; the run folder has it as a file."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_hyperparams(config)


def log_images(loggers: Sequence[Logger], key: str, images: Sequence[UInt8 | str], step: int) -> None:
    """Show pictures in the tracker; the run folder has them as files.

    Args:
        loggers: of the trainer.
        key: name of the pictures.
        images: (H, W, 3) RGB, or files.
        step: steps done.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key, list(images), step=step)


def close(loggers: Sequence[Logger], *, failed: bool) -> None:
    """End the tracker's run, so that the next job of a sweep starts one of its own.

    Args:
        loggers: of the trainer.
        failed: marks the run as failed.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=int(failed))


def _has_key() -> bool:
    """Tell whether an API key is in the environment or where `wandb login` keeps it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC", str(Path.home() / ".netrc"))).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):  # no such file, or not one
        return False
