"""Being asked to stop: the step is finished, the state is saved, and the command says how to go on."""

import logging
import os
import signal
import subprocess
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from torch import distributed

from fcn_lightning.training.callbacks import is_step_end
from fcn_lightning.training.keeper import CheckpointKeeper
from fcn_lightning.training.launch import Launch, slurm_job

log = logging.getLogger(__name__)


class StoppedError(Exception):
    """The run was asked to stop, and has saved its state.

    Args:
        signum: the signal.
        step: optimiser steps done.
        of_all_ranks: the others stop by themselves at the same moment.
    """

    def __init__(self, signum: int, step: int, *, of_all_ranks: bool) -> None:
        """Word it."""
        super().__init__(f"stopped by {signal.Signals(signum).name} after step {step}")
        self.of_all_ranks = of_all_ranks
        self.signum = signum
        self.step = step

    @property
    def status(self) -> int:
        """Return the exit status that shells give to this signal."""
        return 128 + self.signum


class StopSignals(pl.Callback):
    """Finish the step on the first Ctrl-C, SIGTERM, or SLURM's SIGUSR1, save, and end the training; end at once on the second.

    A signal may reach one process or all of them, so the ranks agree after each step. During a validation the weights do not
    change: rank 0 saves them without waiting for its end.

    Args:
        launch: place of this process.
        keeper: saves.
    """

    def __init__(self, launch: Launch, keeper: CheckpointKeeper) -> None:
        """Wait for the training to start."""
        self.launch = launch
        self.keeper = keeper
        self.received = 0
        self._handlers: dict[int, Any] = {}
        self._group: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take over the signals, also for the validation that a continued run may begin with."""
        self._take_over()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals once more, after Lightning did so: its own way ends without a checkpoint."""
        self._take_over()
        if trainer.world_size > 1:
            # Over the CPU, so that no step waits for a GPU. It replaces Lightning's exchange of the same kind.
            self._group = distributed.new_group(backend="gloo")
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after a whole step, on all ranks alike."""
        if is_step_end(trainer, batch_idx) and (signum := self._agree()):
            self.keeper.guard.check(trainer)
            self.keeper.save(trainer)
            if self._group is not None:
                distributed.barrier(group=self._group)  # a rank that is gone already would look like one that died
            raise StoppedError(signum, trainer.global_step, of_all_ranks=True)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Stop between two images, where this process was told so by those who tell all of them."""
        if self.received and (self.launch.rank == 0 or self.launch.external):
            self.keeper.save(trainer)
            raise StoppedError(self.received, trainer.global_step, of_all_ranks=self.launch.external)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self.release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self.release()

    def release(self) -> None:
        """Give the signals back to whom they belonged before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _take_over(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if slurm_job() else [])):
            self._handlers.setdefault(number, signal.signal(number, self._note))

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.received:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        self.received = signum
        name = signal.Signals(signum).name
        # Not through logging: the signal may have come in the middle of a line of its own.
        os.write(2, f"\n{name}: stopping after this step, then saving; once more to stop at once\n".encode())

    def _agree(self) -> int:
        if self._group is None:
            return self.received
        signum = torch.tensor(self.received)
        distributed.all_reduce(signum, distributed.ReduceOp.MAX, group=self._group)
        return int(signum)


def requeue() -> bool:
    """Ask SLURM to start this job again; tell whether it will."""
    job = slurm_job()
    if job is None:
        return False
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        log.warning("SLURM job %s could not be requeued (%s); continue it by hand", job, " ".join(reason.split()))
        return False
    log.info("SLURM job %s is requeued %s", job, done.stdout.strip())
    return True
