"""Checkpoint files: what is in them, written so that a name never holds half a file, and read without executing anything.

`zoo/weights.py` reads the weights in them for prediction.
"""

import logging
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from fcn_lightning import InputError
from fcn_lightning.models.torch_files import read_inert

log = logging.getLogger(__name__)

CARD = "fcn_lightning"  # key of the card in a checkpoint
RUN = "run"  # key of what the run itself needs to go on
PREFIX = "model."  # where the LightningModule keeps the network
STEP = re.compile(r"step_(\d+)(_mIoU_.*)?\.ckpt")


def snapshot(trainer: pl.Trainer, run: dict[str, Any]) -> dict[str, Any]:
    """Return everything that training needs to go on after the steps done: tensors, numbers, strings, lists and dicts.

    Random numbers are not among it: those of a step follow from the seed and the step's number alone.

    Args:
        trainer: in training, between two steps.
        run: stored under `RUN`.
    """
    module = trainer.lightning_module
    content: dict[str, Any] = {
        "pytorch-lightning_version": version("pytorch-lightning"),  # by which Lightning's own tools know a checkpoint
        "epoch": 0,
        "global_step": trainer.global_step,
        "state_dict": module.state_dict(),
        "optimizer_states": [trainer.strategy.optimizer_state(optimizer) for optimizer in trainer.optimizers],
        "lr_schedulers": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
        "precision": trainer.precision_plugin.state_dict(),
        RUN: run,
    }
    module.on_save_checkpoint(content)
    return content


def restore(trainer: pl.Trainer, content: dict[str, Any]) -> None:
    """Bring a trainer to where a snapshot was taken; it must have set up its optimiser, and not begun.

    Raises:
        InputError: the snapshot is that of another network or optimiser.
    """
    try:
        trainer.lightning_module.load_state_dict(content["state_dict"])
        trainer.strategy.load_optimizer_state_dict(content)
        for config, state in zip(trainer.lr_scheduler_configs, content["lr_schedulers"], strict=True):
            config.scheduler.load_state_dict(state)
        trainer.precision_plugin.load_state_dict(content["precision"])
        step = int(content["global_step"])
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the checkpoint does not fit this run ({type(error).__name__}: {reason}); start a new run") from error
    # Lightning counts a run's steps here; its own way back also restores where its loops stood, which ours do not need.
    progress = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
    progress.ready = progress.completed = step


def write(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint: under a temporary name, to the disk itself, then under its own name.

    Raises:
        InputError: the disk is full, or cannot be written to; what was there before is untouched.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as the latter
        with suppress(OSError):
            part.unlink()
        raise not_written(path, error) from error


def not_written(path: Path, error: BaseException) -> InputError:
    """Say in one sentence why a file of a run folder could not be written."""
    free = shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.is_dir())).free
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"{path} could not be written ({reason}; {free / 1e6:.0f} MB are free); the checkpoints before it are intact: make room, "
        "then continue the run"
    )


def link(path: Path, name: Path) -> None:
    """Give a file a second name in its folder, replacing what has that name; without links, a copy."""
    if name.is_file() and name.samefile(path):
        return  # the system would rename nothing, and leave the temporary name
    part = name.with_name(f".{name.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(path, part)
    except OSError:  # not every file system has links
        shutil.copyfile(path, part)
    part.replace(name)
    _sync_folder(name.parent)


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a run: tensors and plain values only; nothing in it is executed.

    Its checksums are compared too, since PyTorch leaves that out when it reads.

    Raises:
        InputError: it is missing, cut off, damaged, holds something else, or would run code.
    """
    try:
        content = read_inert(path)
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("a checksum differs")
    except (InputError, zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"checkpoint {path} is damaged, or not a checkpoint of a run; use another one") from error
    if not {RUN, "optimizer_states", "global_step", "state_dict"} <= content.keys():
        raise InputError(f"checkpoint {path} cannot be continued: it holds no state of a training; use it as weights=<file>")
    return content


def newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Read the newest checkpoint that is intact, and set damaged ones aside under the name <file>.damaged.

    Args:
        folder: of the checkpoints.

    Returns:
        The file and its content; None where there is no checkpoint yet.

    Raises:
        InputError: there are checkpoints, and none is intact.
    """
    damaged = []
    for path in _candidates(folder):
        try:
            content = read(path)
        except InputError as error:
            damaged.append(path)
            log.warning("%s; looking for the one before it", str(error).split(";", 1)[0])
            continue
        for broken in damaged:
            _set_aside(broken)
        for part in folder.glob(".*.part"):  # of a process that was killed
            part.unlink()
        return path, content
    if damaged:
        raise InputError(f"none of the {len(damaged)} checkpoints in {folder} can be read; start a new run")
    return None


def chosen(path: Path) -> tuple[Path, dict[str, Any]]:
    """Read a checkpoint that was asked for by name, and set later ones of its folder aside under the name <file>.superseded.

    Raises:
        InputError: it is damaged, or none.
    """
    content = read(path)
    for later in by_step(path.parent):
        if step_of(later) > int(content["global_step"]):
            later.replace(later.with_name(f"{later.name}.superseded"))
    return path, content


def step_of(path: Path) -> int:
    """Return the step in the name of a checkpoint; -1 for another name."""
    match = STEP.fullmatch(path.name)
    return int(match[1]) if match else -1


def by_step(folder: Path) -> list[Path]:
    """Return the checkpoints that carry their step in their name, the oldest first."""
    return sorted((path for path in folder.glob("step_*.ckpt") if step_of(path) >= 0), key=lambda path: (step_of(path), path.name))


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, the newest first; each once, also where it has two names."""
    seen = set()
    for path in (folder / "last.ckpt", *reversed(by_step(folder)), folder / "best.ckpt"):
        if path.is_file() and (key := path.stat().st_ino) not in seen:
            seen.add(key)
            yield path


def _set_aside(broken: Path) -> None:
    """Rename a damaged file to <file>.damaged, and take its other names away."""
    for name in broken.parent.glob("*.ckpt"):
        if name != broken and name.samefile(broken):
            name.unlink()
    broken.replace(broken.with_name(f"{broken.name}.damaged"))


def _sync_folder(folder: Path) -> None:
    """Let the new name reach the disk, too; not every system can open a folder."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
