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
from fcn_lightning.training.data_wait import DataWait
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
        listeners: called with the step (1-based) and the entry, which also holds `time` and `data_time`, seconds per step and
            of these the wait for data, and `data_share`, the one over the other. The wait for the very first batch is not
            counted: the loader processes start up in it.
    """

    def __init__(self, interval: int, listeners: list[Callable[[int, dict[str, float]], None]]) -> None:
        """Start with nothing collected."""
        self.interval = interval
        self.listeners = listeners
        self._outputs: list[dict[str, Tensor]] = []
        self._wait = DataWait(torch.device("cpu"))
        self._mark = self._first = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the clock of the device."""
        self._wait = DataWait(trainer.strategy.root_device)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Count the wait for this batch, and note the rate that the step will use."""
        self._wait.end()
        self._first = self._first or time.perf_counter()
        self._lr = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collect one step; the tensors stay on their device until they are averaged."""
        self._outputs.append({key: value.detach() for key, value in outputs.items()})
        self._mark = time.perf_counter()
        if trainer.global_step % self.interval == 0 or trainer.global_step >= trainer.max_steps:
            self._flush(trainer)
        self._wait.begin()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the validation out of the time per step."""
        now = time.perf_counter()
        self._first += now - self._mark
        self._mark = now
        self._wait.begin()

    def _flush(self, trainer: pl.Trainer) -> None:
        steps = len(self._outputs)
        means = {key: torch.stack([output[key].float() for output in self._outputs]).mean().item() for key in self._outputs[0]}
        seconds = (self._mark - self._first) / steps
        data_time = self._wait.take() / steps
        means["data_share"] = min(1.0, data_time / seconds)
        metrics = {f"train/{key}": value for key, value in means.items()} | {"lr": self._lr}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
        entry = means | {"lr": self._lr, "time": seconds, "data_time": data_time}
        for listener in self.listeners:
            listener(trainer.global_step, entry)
        self._outputs, self._first = [], self._mark


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
