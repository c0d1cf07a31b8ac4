"""Where metrics go: `metrics.csv` in the run folder, and trackers beside it: Weights & Biases."""

import csv
import io
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from fcn_lightning import InputError
from fcn_lightning.data.images import UInt8

MODES = ("auto", "online", "offline")


class MetricsFile(CSVLogger):
    """`metrics.csv` of a run folder, written at each entry, so that a kill loses none; a continued run goes on in it.

    Args:
        folder: of the run.
        step: optimiser steps that a continued run has done; entries of later ones are taken back.
        validated: step of the last validation that it has done; entries of later ones are taken back.
    """

    def __init__(self, folder: Path, step: int, validated: int) -> None:
        """Write nothing yet."""
        super().__init__(folder, name="", version="", flush_logs_every_n_steps=1)
        self._done = {"train": step, "val": validated}

    @property
    def experiment(self) -> Any:
        """Return what writes the file."""
        if self._experiment is None:
            self._experiment = MetricsWriter(self.log_dir, self._done)
        return self._experiment


class MetricsWriter(ExperimentWriter):
    """Lightning's writer, but the file is whole at any moment: it is replaced where Lightning would empty it and write it anew.

    Args:
        folder: of the file.
        done: last step of which the file's entries are kept, of "train" and of "val".
    """

    def __init__(self, folder: str, done: Mapping[str, int]) -> None:
        """Go on with the file that is there."""
        super().__init__(folder)
        entries = [row for row in self._read() if int(row["step"]) <= done["val" if _is_validation(row) else "train"]]
        self.metrics_keys = sorted({key for row in entries for key in row})
        self._replace(entries)

    def _check_log_dir_exists(self) -> None:
        """Keep what Lightning would remove."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._replace(self._read())

    def _read(self) -> list[dict[str, str]]:
        """Return the entries, without values that were not logged; a last line that was cut off is none."""
        path = Path(self.metrics_file_path)
        text = path.read_bytes().decode() if path.is_file() else ""
        rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
        return [{key: value for key, value in row.items() if value} for row in rows]

    def _replace(self, rows: Sequence[Mapping[str, str]]) -> None:
        path = Path(self.metrics_file_path)
        part = path.with_name(f".{path.name}.part")
        if not rows:
            path.unlink(missing_ok=True)
            return
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
        part.replace(path)


def _is_validation(row: Mapping[str, str]) -> bool:
    return any(key.startswith("val/") for key in row)


def wandb_logger(
    *, project: str, name: str, mode: str, folder: str, group: str | None = None, id: str | None = None
) -> WandbLogger:
    """Build a W&B logger that never asks for an account.

    Args:
        project: of the runs.
        name: of this run.
        mode: "online", "offline", or "auto": online where an API key is present.
        folder: run folder; the tracker's files go there.
        group: of runs; None for none.
        id: of this run; a continued run goes on under it. None for a new one.
    """
    if mode not in MODES:
        raise InputError(f"logger.mode={mode} is not known; use {', '.join(MODES)}")
    online = mode == "online" or (mode == "auto" and _has_key())
    # A folder of that name must exist, or W&B falls back to the system's temporary one; it has to be absolute, because W&B
    # remembers where a process had its first run.
    place = Path(folder).absolute()
    place.mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        project=project,
        name=name,
        save_dir=place,
        offline=not online,
        dir=str(place),
        group=group,
        job_type="train",
        id=id,
        resume="allow" if id else None,
    )


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
