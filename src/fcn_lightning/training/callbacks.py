"""What happens around the steps: averaged logging, the last validation, checkpoints."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from fcn_lightning.training import checkpoint
from fcn_lightning.training.task import SegmentationTask


class LastStepValidation(pl.Callback):
    """Validate after the last step, also where the schedule's interval does not divide its length."""

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Ask for the end, which makes Lightning validate first."""
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True


class TrainingLog(pl.Callback):
    """Average what training steps return, and hand it on every few steps.

    The values go to the trainer's loggers under `train/*` and `lr`, and to the listeners.

    Args:
        interval: steps between two entries; each is the mean since the one before.
        listeners: called with the step (1-based) and the entry, which also holds `time` and
            `data_time`: seconds per step, and of these the wait for data.
    """

    def __init__(self, interval: int, listeners: list[Callable[[int, dict[str, float]], None]]) -> None:
        """Start with nothing collected."""
        self.interval = interval
        self.listeners = listeners
        self._outputs: list[dict[str, Tensor]] = []
        self._data_time = 0.0
        self._mark = self._first = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._mark = self._first = time.perf_counter()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Count the wait for this batch, and note the rate that the step will use."""
        self._data_time += time.perf_counter() - self._mark
        self._lr = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collect one step; the tensors stay on their device until they are averaged."""
        self._outputs.append({key: value.detach() for key, value in outputs.items()})
        self._mark = time.perf_counter()
        if trainer.global_step % self.interval == 0 or trainer.global_step >= trainer.max_steps:
            self._flush(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the validation out of the time per step."""
        now = time.perf_counter()
        self._first += now - self._mark
        self._mark = now

    def _flush(self, trainer: pl.Trainer) -> None:
        steps = len(self._outputs)
        means = {key: torch.stack([output[key].float() for output in self._outputs]).mean().item() for key in self._outputs[0]}
        metrics = {f"train/{key}": value for key, value in means.items()} | {"lr": self._lr}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
        entry = means | {"lr": self._lr, "time": (self._mark - self._first) / steps, "data_time": self._data_time / steps}
        for listener in self.listeners:
            listener(trainer.global_step, entry)
        self._outputs, self._data_time, self._first = [], 0.0, self._mark


class CheckpointKeeper(pl.Callback):
    """Keep `last.ckpt` and `best.ckpt`, judged by the validation of exactly those weights.

    Args:
        folder: where the files go.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing has been validated yet."""
        self.folder = folder
        self.best = float("-inf")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the weights that were just validated."""
        if not isinstance(pl_module, SegmentationTask) or pl_module.scores is None or trainer.state.fn != TrainerFn.FITTING:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        last = self.folder / "last.ckpt"
        checkpoint.save(trainer, last)
        if pl_module.scores.miou > self.best:
            self.best = pl_module.scores.miou
            temporary = self.folder / ".best.ckpt.part"
            shutil.copyfile(last, temporary)
            os.replace(temporary, self.folder / "best.ckpt")
