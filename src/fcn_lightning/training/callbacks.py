"""What happens around the steps: random numbers, averaged logging, validation, going on with an earlier run."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from fcn_lightning.training.data_wait import DataWait
from fcn_lightning.training.schedules import PolySchedule


def is_step_end(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Tell whether the optimiser has stepped after this batch, counted from 0: with accumulation, only after the last part."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


class StepSeed(pl.Callback):
    """Seed the random numbers of each step, those of dropout, by the seed, the step and the rank: a resume is exact without state.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        """Keep the seed."""
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed one batch; the parts of a step differ."""
        part = batch_idx % trainer.accumulate_grad_batches
        entropy = [self.seed, trainer.global_step, part, trainer.global_rank]
        (seed,) = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
        torch.manual_seed(int(seed))


class Validation(pl.Callback):
    """Validate every few steps, and after the last one; this, not Lightning's count of batches, decides when.

    Args:
        schedule: steps, and how many between validations.
    """

    def __init__(self, schedule: PolySchedule) -> None:
        """Keep the schedule."""
        self.schedule = schedule

    def is_due(self, step: int) -> bool:
        """Tell whether the weights after so many steps are validated."""
        return step > 0 and (step % self.schedule.val_interval == 0 or step == self.schedule.max_steps)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validate where it is due."""
        if is_step_end(trainer, batch_idx) and self.is_due(trainer.global_step):
            self.run(trainer)

    def run(self, trainer: pl.Trainer) -> None:
        """Validate now, as Lightning's own loop does it between two batches."""
        trainer.validating = True
        first = trainer._logger_connector._first_loop_iter
        trainer.lightning_module.on_validation_model_zero_grad()
        trainer.fit_loop.epoch_loop.val_loop.run()
        trainer.training = True
        trainer._logger_connector._first_loop_iter = first


class TrainingLog(pl.Callback):
    """Average what training steps return, and hand it on every few steps.

    The values go to the trainer's loggers under `train/*` and `lr`, and to the listeners.

    Args:
        interval: steps between two entries; each is the mean since the one before, over all processes.
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
        self._mark = self._first = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Count the wait for this batch, and note the rate that the step will use."""
        self._wait.end()
        self._first = self._first or time.perf_counter()
        self._lr = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collect one step; the tensors stay on their device until they are averaged."""
        parts = trainer.accumulate_grad_batches  # by which Lightning divides the loss, and nothing else
        self._outputs.append({key: value.detach() * (parts if key == "loss" else 1) for key, value in outputs.items()})
        self._mark = time.perf_counter()
        step = trainer.global_step
        if is_step_end(trainer, batch_idx) and (step % self.interval == 0 or step >= trainer.max_steps):
            self._flush(trainer)
        self._wait.begin()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the validation out of the time per step."""
        self.leave_out()

    def leave_out(self) -> None:
        """Count what was done since the end of the step neither as time of a step nor as a wait for data."""
        now = time.perf_counter()
        self._first += now - self._mark
        self._mark = now
        self._wait.begin()

    def _flush(self, trainer: pl.Trainer) -> None:
        steps = len(self._outputs) // trainer.accumulate_grad_batches
        # A step that was left out because its loss is NaN is left out here, too.
        own = torch.stack([torch.stack([output[key].float() for output in self._outputs]).nanmean() for key in self._outputs[0]])
        # Every rank comes here after the same step, so this exchange meets its counterparts.
        means = dict(zip(self._outputs[0], trainer.strategy.reduce(own, reduce_op="mean").tolist(), strict=True))
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


class SpareTime(pl.Callback):
    """Leave out of a log's times what the callbacks between it and this one do, such as saving.

    Args:
        training_log: whose times are meant.
    """

    def __init__(self, training_log: TrainingLog) -> None:
        """Keep the log."""
        self.training_log = training_log  # a callback's `log` is Lightning's

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Leave out what followed a step."""
        self.training_log.leave_out()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave out what followed a validation."""
        self.training_log.leave_out()
