"""Callbacks that keep up to date what others read in a run folder: `status.json`, and the counts of each image."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from fcn_lightning.data.dataset import SegmentationDataset
from fcn_lightning.reporting.count_files import ONE, step_file, write_counts
from fcn_lightning.reporting.run_state import FAILED, FINISHED, INTERRUPTED, Status
from fcn_lightning.training.keeper import CheckpointKeeper
from fcn_lightning.training.signals import StoppedError
from fcn_lightning.training.task import SegmentationTask


class StatusFile(pl.Callback):
    """Write how a run stands: when it starts, after each validation, and how it ended.

    Args:
        folder: of the run.
        max_steps: of the whole run.
        keeper: knows the best validation.
    """

    def __init__(self, folder: Path, max_steps: int, keeper: CheckpointKeeper) -> None:
        """Note when the run begins; nothing is written yet."""
        self.folder = folder
        self.keeper = keeper
        self.status = Status(max_steps)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note where the run starts, or goes on."""
        self._write(step=trainer.global_step, best=self.keeper.best)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the scores."""
        if isinstance(pl_module, SegmentationTask) and pl_module.scores is not None:
            scores = pl_module.scores
            last = {"step": trainer.global_step, "mIoU": scores.miou, "mAcc": scores.macc, "aAcc": scores.aacc}
            self._write(step=trainer.global_step, last=last, best=self.keeper.best)

    def end(self, step: int, error: BaseException | None) -> None:
        """Note how the run ended; a full disk, which may be why, is passed over.

        Args:
            step: optimiser steps done.
            error: what ended it; None if it finished.
        """
        state = FINISHED if error is None else INTERRUPTED if isinstance(error, StoppedError | KeyboardInterrupt) else FAILED
        words = " ".join(f"{error or type(error).__name__}".split()) if state == FAILED else None
        with suppress(OSError):
            self.status = replace(self.status, step=step).end(state, words)
            self.status.write(self.folder)

    def _write(self, **changed: Any) -> None:
        self.status = replace(self.status, **changed)
        self.status.write(self.folder)


class CountFiles(pl.Callback):
    """Write the counts of each image after a validation, for `bootstrap`.

    Args:
        folder: of the run.
        dataset: of validation.
    """

    def __init__(self, folder: Path, dataset: SegmentationDataset) -> None:
        """Write nothing yet."""
        self.folder = folder
        self.dataset = dataset

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write one file, named by the step in a training."""
        if isinstance(pl_module, SegmentationTask) and pl_module.counts is not None:
            fitting = trainer.state.fn == TrainerFn.FITTING
            path = step_file(self.folder, trainer.global_step) if fitting else self.folder / ONE
            names = [self.dataset.name(index) for index in range(len(self.dataset))]
            write_counts(path, pl_module.counts, names, pl_module.card.labels.classes)
