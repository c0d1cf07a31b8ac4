"""A run of training: its parts, the trainer that they make, and how it ends."""

import errno
import logging
import signal
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger
from tqdm.contrib.logging import logging_redirect_tqdm

from fcn_lightning import InputError
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.reporting.console import DataAdvice, Progress, ScoreTable, data_advice
from fcn_lightning.reporting.loggers import MetricsFile, close
from fcn_lightning.reporting.run_log import RunLog
from fcn_lightning.reporting.run_plots import RunPlots
from fcn_lightning.reporting.status_file import CountFiles, StatusFile
from fcn_lightning.training.callbacks import SpareTime, StepSeed, TrainingLog, Validation
from fcn_lightning.training.checkpoint import RUN, not_written
from fcn_lightning.training.guards import FiniteGuard, step_samples
from fcn_lightning.training.keeper import CheckpointKeeper, Resumption
from fcn_lightning.training.launch import Launch, Starter
from fcn_lightning.training.memory import MemorySettings, explain_oom
from fcn_lightning.training.phases import PhaseNotes
from fcn_lightning.training.signals import StoppedError, StopSignals, requeue
from fcn_lightning.training.strategy import leave
from fcn_lightning.training.task import SegmentationTask
from fcn_lightning.training.trainer import Hardware
from fcn_lightning.zoo.logs import TrainingCurve

log = logging.getLogger(__name__)


@dataclass
class Run:
    """What a run consists of.

    Args:
        folder: of it.
        here: place of this process.
        hardware: where and how it computes.
        datamodule: of its data set.
        task: to be trained.
        seed: of its random numbers.
        nonfinite: what a loss that is no number does: "stop" or "skip".
        save_interval: steps between saves, beside those at validations; 0 for none.
        keep_validated: the checkpoint of each validation stays.
        row: id of the published row that it follows.
        published: log of a published run, drawn under this run's curves.
        found: checkpoint to go on from, and its content; on rank 0.
    """

    folder: Path
    here: Launch
    hardware: Hardware
    datamodule: SegmentationDataModule
    task: SegmentationTask
    seed: int
    nonfinite: str
    save_interval: int
    keep_validated: bool
    row: str | None = None
    published: TrainingCurve | None = None
    found: tuple[Path, dict[str, Any]] | None = None
    phases: PhaseNotes = field(default_factory=PhaseNotes)

    @property
    def leads(self) -> bool:
        """Tell whether this process writes the run folder."""
        return self.here.rank == 0

    @property
    def step(self) -> int:
        """Return the optimiser steps done before."""
        return int(self.found[1]["global_step"]) if self.found else 0

    @property
    def validated(self) -> int:
        """Return the step of the last validation done before."""
        return int(self.found[1][RUN]["validated_step"]) if self.found else 0


@dataclass(frozen=True)
class Ready:
    """A run that can start.

    Args:
        trainer: with what happens around the steps.
        keeper: saves, and knows the best validation.
        status: writes how the run stands, on rank 0.
    """

    trainer: Trainer
    keeper: CheckpointKeeper
    status: StatusFile | None


def make_ready(run: Run, command: list[str], trackers: list[Logger]) -> Ready:
    """Build the trainer with what happens around the steps, in the order in which it happens.

    Args:
        run: put together.
        command: of a further rank of this machine.
        trackers: beside metrics.csv, on rank 0.
    """
    schedule = run.task.schedule
    guard = FiniteGuard(run.nonfinite, partial(step_samples, run.datamodule), interval=run.hardware.log_interval)
    folder = run.folder / "checkpoints"
    keeper = CheckpointKeeper(folder, guard, run.row, interval=run.save_interval, keep_validated=run.keep_validated)
    status = StatusFile(run.folder, schedule.max_steps, keeper) if run.leads else None
    validation = Validation(schedule)
    listeners, shown = make_reports(run) if run.leads else ([], [RunPlots(run.folder, run.datamodule.val_data)])
    training_log = TrainingLog(run.hardware.log_interval, listeners)
    callbacks: list[Callback] = [StepSeed(run.seed), Resumption(validation, keeper, *(run.found or ())), guard, *shown]
    # What is said comes before it is saved: a run that was killed in between says it again, and none is left out.
    callbacks += [training_log, keeper, *([status] if status is not None else []), SpareTime(training_log)]
    # Then what may end the loop, and the validation.
    callbacks += [StopSignals(run.here, keeper), run.phases, validation]
    trainer = run.hardware.trainer(
        run.here,
        run.folder,
        command,
        callbacks=callbacks,
        loggers=[MetricsFile(run.folder, run.step, run.validated), *trackers] if run.leads else [],
        max_steps=schedule.max_steps,
    )
    return Ready(trainer, keeper, status)


def make_reports(run: Run) -> tuple[list[Any], list[Callback]]:
    """Build what rank 0 shows: listeners of the training log, and callbacks."""
    datamodule = run.datamodule
    progress = Progress(run.task.schedule.max_steps)
    run_log = RunLog(run.folder / "log.jsonl", len(datamodule.train_data) / datamodule.global_batch_size, run.step, run.validated)
    plots = RunPlots(run.folder, datamodule.val_data, run.published)
    counts = CountFiles(run.folder, datamodule.val_data)
    return [progress, run_log, DataAdvice(data_advice(datamodule))], [progress, counts, plots, run_log, ScoreTable()]


def fit(run: Run, ready: Ready) -> None:
    """Train; whatever happens, the tracker's run ends and the run folder says how.

    Raises:
        SystemExit: a signal stopped the run, with the status that shells give to it.
    """
    failure: BaseException | None = None
    try:
        with logging_redirect_tqdm():  # tables and lines stand above the bar
            ready.trainer.fit(run.task, datamodule=run.datamodule)
    except BaseException as error:
        failure = explained(run, error)
        if isinstance(error, StoppedError):
            raise SystemExit(finish_stopped(run, error)) from error
        if failure is not error:
            raise failure from error
        raise
    finally:
        leave(run.here)
        if ready.status is not None:
            ready.status.end(ready.trainer.global_step, failure)
        close(ready.trainer.loggers, failed=failure is not None)


def explained(run: Run, error: BaseException) -> BaseException:
    """Return what to tell the user instead of an error that lacks memory or disk space; other errors as they are."""
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        return error.__context__  # before the first step, where Lightning still has Ctrl-C, and makes an exit status 1 of it
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return not_written(Path(error.filename or run.folder), error)
    if not isinstance(error, Exception) or isinstance(error, InputError):
        return error
    data, hardware = run.datamodule, run.hardware
    settings = MemorySettings(
        global_batch_size=data.global_batch_size,
        accumulate=hardware.accumulate,
        devices=hardware.processes(run.here) * run.here.nodes,
        precision=hardware.precision,
        crop_size=data.crop_size,
        inference=run.task.card.inference,
        workers=data.workers,
        cache=data.cache,
    )
    words = explain_oom(error, run.phases.phase, run.task.device, settings)
    return InputError(words) if words else error


def finish_stopped(run: Run, stopped: StoppedError) -> int:
    """Say how to go on after a signal, or ask the cluster to; return the exit status."""
    if run.here.starter is Starter.RANK_0:
        return 0  # rank 0 says it
    if run.here.rank == 0:
        log.info("%s; go on with\n  python -m fcn_lightning.train resume=%s", stopped, run.folder)
        if stopped.signum == signal.SIGUSR1:
            requeue()
    return stopped.status
