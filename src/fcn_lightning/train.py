"""Train an FCN: `python -m fcn_lightning.train dataset=camvid backbone=r18b`."""

import errno
import logging
import secrets
import signal
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fcn_lightning import InputError
from fcn_lightning.cli import command
from fcn_lightning.config import build, compose, continued, joined, plain, rank_command, run_folder
from fcn_lightning.reporting.run_state import CONFIG, FINISHED, RunLock, read_status
from fcn_lightning.training.launch import Launch, Starter, launch
from fcn_lightning.zoo.recipes import card_of, row

if TYPE_CHECKING:  # torch and Lightning are imported when training starts, so that --help answers at once
    from pytorch_lightning import Callback, Trainer
    from pytorch_lightning.loggers import Logger

    from fcn_lightning.data.datamodule import SegmentationDataModule
    from fcn_lightning.models.fcn import FCN
    from fcn_lightning.reporting.ledger import Ledger
    from fcn_lightning.reporting.status_file import StatusFile
    from fcn_lightning.training.keeper import CheckpointKeeper
    from fcn_lightning.training.losses import LossWeights
    from fcn_lightning.training.phases import PhaseNotes
    from fcn_lightning.training.signals import StoppedError
    from fcn_lightning.training.task import SegmentationTask
    from fcn_lightning.training.trainer import Hardware
    from fcn_lightning.zoo.logs import TrainingCurve

log = logging.getLogger(__name__)

SHOWN = 16  # training samples at most that the run folder shows


@command("train")
def main(config: DictConfig) -> float | None:
    """Train, validate, and leave a run folder; or go on with the run of one.

    Args:
        config: `conf/train.yaml` as composed.

    Returns:
        mIoU of the best validation, in [0, 1], for a sweep to maximise; None on all ranks but 0.
    """
    here, folder = launch(), run_folder()
    if here.starter is Starter.TORCHRUN and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise InputError("a sweep starts the ranks of each job itself; leave torchrun out and set trainer.devices=<n>")
    with RunLock(folder) if here.rank == 0 else nullcontext():
        going_on = (folder / CONFIG).is_file() and (bool(config.resume) or here.restarted)
        if here.rank:
            config = joined(folder)
        elif going_on:
            status = read_status(folder)
            if status.get("state") == FINISHED:
                log.info("%s has finished: all of its %s steps are done", folder, status["max_steps"])
                return float(status["best"]["mIoU"])
            config = continued(config, folder)
        return train(config, folder, here, going_on=going_on)


@dataclass
class Run:
    """What a run consists of.

    Args:
        config: of it, resolved.
        folder: of it.
        here: place of this process.
        hardware: where and how it computes.
        datamodule: of its data set.
        task: to be trained.
        found: checkpoint to go on from, and its content; on rank 0.
        published: log of a published run, drawn under this run's curves.
        phases: know what the run is doing.
    """

    config: DictConfig
    folder: Path
    here: Launch
    hardware: "Hardware"
    datamodule: "SegmentationDataModule"
    task: "SegmentationTask"
    found: "tuple[Path, dict[str, Any]] | None"
    published: "TrainingCurve | None"
    phases: "PhaseNotes"

    @property
    def step(self) -> int:
        """Return the optimiser steps done before."""
        return int(self.found[1]["global_step"]) if self.found else 0

    @property
    def validated(self) -> int:
        """Return the step of the last validation done before."""
        from fcn_lightning.training.checkpoint import RUN

        return int(self.found[1][RUN]["validated_step"]) if self.found else 0


def train(config: DictConfig, folder: Path, here: Launch, *, going_on: bool) -> float | None:
    """Do one run, or the rest of it.

    Args:
        config: of the run.
        folder: of the run.
        here: place of this process.
        going_on: the folder is this run's own already.

    Returns:
        As of `main`.
    """
    import pytorch_lightning as pl

    from fcn_lightning.reporting.console import quiet_lightning
    from fcn_lightning.reporting.report import write_report
    from fcn_lightning.training import checkpoint
    from fcn_lightning.training.determinism import choose
    from fcn_lightning.training.device import exact_fp32
    from fcn_lightning.training.phases import PhaseNotes
    from fcn_lightning.training.strategy import join
    from fcn_lightning.training.task import SegmentationTask
    from fcn_lightning.zoo.logs import read_log

    join(here)
    quiet_lightning()
    choose(config.repro)
    pl.seed_everything(config.seed, verbose=False)
    exact_fp32()
    wanted = str(config.trainer.precision)
    config.trainer.precision = build(config.trainer).resolved_precision()  # probed once, by rank 0
    if "id" in config.logger:
        config.logger.id = config.logger.id or secrets.token_hex(4)  # under which a continued run goes on
    hardware, datamodule, schedule = build(config.trainer), build(config.dataset), build(config.schedule)
    card = card_of(config, datamodule)
    processes, ms_flip = hardware.processes(here), card.inference.ms_flip
    datamodule.plan(max_steps=schedule.max_steps, ms_flip=ms_flip, accumulate=hardware.accumulate, processes=processes)
    found = checkpoint.newest(folder / "checkpoints") if going_on and not here.rank else None
    model, start = make_model(config, len(card.labels.classes), filled_later=found is not None or here.rank > 0)
    loss = weigh_loss(config, datamodule)
    task = SegmentationTask(model, card, schedule=schedule, optimizer=build(config.optimizer), loss=loss)
    published = read_log(Path(config.log)) if config.log else None
    run = Run(config, folder, here, hardware, datamodule, task, found, published, PhaseNotes())
    trainer, keeper, status = make_trainer(run)
    ledger = announce(run, trainer, start, wanted, going_on=going_on) if here.rank == 0 else None
    fit(run, trainer, status)
    if here.rank:
        return None
    write_report(folder, config.run_name, task, ledger, run.published)
    log.info("%s  %s", task.scores, folder)
    return keeper.best["mIoU"] if keeper.best else None


def make_model(config: DictConfig, num_classes: int, *, filled_later: bool) -> "tuple[FCN, str]":
    """Build the network with its start: given weights, ImageNet, or random numbers.

    Args:
        config: of the run.
        num_classes: K.
        filled_later: the weights come from a checkpoint or from rank 0.

    Returns:
        The network, and what it starts from, in words.
    """
    from fcn_lightning.zoo.weights import open_weights, start_from

    words = "ImageNet" if config.model.pretrained else "random"
    if filled_later or config.weights:
        model = build(config.model, {"num_classes": num_classes, "pretrained": False})
    else:
        model = build(config.model, {"num_classes": num_classes})
    if config.weights and not filled_later:
        weights = open_weights(config.weights)
        words = f"{weights.path.name}: {start_from(model, weights)}"
    return model, words


def weigh_loss(config: DictConfig, datamodule: "SegmentationDataModule") -> "LossWeights":
    """Resolve the weights of the loss; those of the classes may have to be counted from the training masks."""
    from fcn_lightning.data.statistics import class_weight
    from fcn_lightning.training.losses import LossWeights

    weights = class_weight(plain(config.loss)["class_weight"], datamodule.train_data, workers=datamodule.workers)
    return LossWeights(config.loss.aux_weight, weights)


def announce(run: Run, trainer: "Trainer", start: str, wanted: str, *, going_on: bool) -> "Ledger | None":
    """Check what can be wrong, make the run folder this run's own, and say what is about to happen.

    Args:
        run: put together.
        trainer: of the run.
        start: what the network starts from, in words.
        wanted: the precision that was asked for.
        going_on: the folder is this run's own already.

    Returns:
        How the run differs from the row that it was started from, if any.
    """
    from fcn_lightning.reporting import record
    from fcn_lightning.reporting.data_sheets import keep, training_sheet
    from fcn_lightning.reporting.loggers import log_config
    from fcn_lightning.reporting.start_block import Start, describe

    config, folder, datamodule = run.config, run.folder, run.datamodule
    datamodule.check_first_samples()
    sheet, rate = training_sheet(datamodule, range(min(datamodule.global_batch_size, SHOWN)))
    ledger = find_deviations(run, trainer, start)
    settle(run)
    overrides = HydraConfig.get().overrides.task
    if going_on:
        record.reclaim(folder, OmegaConf.to_yaml(config, resolve=True), overrides, run.step)
    else:
        record.claim(folder, OmegaConf.to_yaml(config, resolve=True), overrides)
        device = record.device_name(trainer.strategy.root_device)
        record.write_environment(folder, device, processes=trainer.world_size, machines=trainer.num_nodes)
        record.write_data(folder, {"train": datamodule.train_data, "val": datamodule.val_data})
        keep(sheet, folder, trainer.loggers)
    log_config(trainer.loggers, plain(config))
    begin = Start(start, given=bool(config.weights), lr=config.optimizer.lr, precision=wanted, rate=rate, step=run.step)
    log.info(describe(folder, trainer, run.task, datamodule, begin))
    if ledger:
        ledger.write(folder / "deviations.json")
        log.info(ledger)
    return ledger


def settle(run: Run) -> None:
    """Write into the configuration what was found out, so that other ranks and a continued run need not."""
    weights = run.task.loss.class_weight
    if weights is not None:
        run.config.loss.class_weight = weights.tolist()


def find_deviations(run: Run, trainer: "Trainer", start: str) -> "Ledger | None":
    """List how a run that was started from a recipe differs from the published row; None without a recipe."""
    from fcn_lightning.reporting.ledger import Setting, make_ledger
    from fcn_lightning.reporting.start_block import norm_batch

    config, weights = run.config, run.task.loss.class_weight
    if not config.row:
        return None
    setting = Setting(
        precision=str(trainer.precision),
        norm_batch=norm_batch(trainer, run.datamodule.global_batch_size),
        start=start,
        datamodule=run.datamodule,
        class_weight=None if weights is None else weights.tolist(),
    )
    return make_ledger(row(config.row.id), plain(compose(f"recipe={config.row.id}")), plain(config), setting)


def fit(run: Run, trainer: "Trainer", status: "StatusFile | None") -> None:
    """Train; whatever happens, the tracker's run ends and the run folder says how.

    Raises:
        SystemExit: a signal stopped the run, with the status that shells give to it.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    from fcn_lightning.reporting.loggers import close
    from fcn_lightning.training.signals import StoppedError
    from fcn_lightning.training.strategy import leave

    failure: BaseException | None = None
    try:
        with logging_redirect_tqdm():  # tables and lines stand above the bar
            trainer.fit(run.task, datamodule=run.datamodule)
    except BaseException as error:
        failure = explained(run, error)
        if isinstance(error, StoppedError):
            raise SystemExit(finish_stopped(run, error)) from error
        if failure is not error:
            raise failure from error
        raise
    finally:
        leave(run.here)
        if status is not None:
            status.end(trainer.global_step, failure)
        close(trainer.loggers, failed=failure is not None)


def explained(run: Run, error: BaseException) -> BaseException:
    """Return what to tell the user instead of an error that lacks memory or disk space; other errors as they are."""
    from fcn_lightning.training.checkpoint import not_written
    from fcn_lightning.training.memory import MemorySettings, explain_oom

    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        return error.__context__  # before the first step, where Lightning still has Ctrl-C, and makes an exit status 1 of it
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return not_written(Path(error.filename or run.folder / "metrics.csv"), error)
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


def finish_stopped(run: Run, stopped: "StoppedError") -> int:
    """Say how to go on after a signal, or ask the cluster to; return the exit status."""
    from fcn_lightning.training.signals import requeue

    if run.here.starter is Starter.RANK_0:
        return 0  # rank 0 says it
    if run.here.rank == 0:
        log.info("%s; go on with\n  python -m fcn_lightning.train resume=%s", stopped, run.folder)
        if stopped.signum == signal.SIGUSR1:
            requeue()
    return stopped.status


def make_trainer(run: Run) -> "tuple[Trainer, CheckpointKeeper, StatusFile | None]":
    """Build the trainer with what happens around the steps, in the order in which it happens.

    Args:
        run: put together.

    Returns:
        The trainer; and of its callbacks the one that saves, and the one that writes how the run stands, on rank 0.
    """
    from fcn_lightning.reporting.run_plots import RunPlots
    from fcn_lightning.reporting.status_file import StatusFile
    from fcn_lightning.training.callbacks import SpareTime, StepSeed, TrainingLog, Validation
    from fcn_lightning.training.guards import FiniteGuard, step_samples
    from fcn_lightning.training.keeper import CheckpointKeeper, Resumption
    from fcn_lightning.training.signals import StopSignals

    config, leads = run.config, run.here.rank == 0
    schedule = run.task.schedule
    guard = FiniteGuard(config.nonfinite, partial(step_samples, run.datamodule), interval=run.hardware.log_interval)
    keeper = CheckpointKeeper(
        run.folder / "checkpoints",
        guard,
        config.row.id if config.row else None,
        interval=config.checkpoint.interval,
        keep_validated=config.checkpoint.keep_validated,
    )
    status = StatusFile(run.folder, schedule.max_steps, keeper) if leads else None
    validation = Validation(schedule)
    listeners, shown = make_reports(run) if leads else ([], [RunPlots(run.folder, run.datamodule.val_data)])
    training_log = TrainingLog(run.hardware.log_interval, listeners)
    callbacks: list[Callback] = [StepSeed(config.seed), Resumption(validation, keeper, *(run.found or ())), guard, *shown]
    # What is said comes before it is saved: a run that was killed in between says it again, and none is left out.
    callbacks += [training_log, keeper, *([status] if status is not None else []), SpareTime(training_log)]
    # Then what may end the loop, and the validation.
    callbacks += [StopSignals(run.here, keeper), run.phases, validation]
    trainer = run.hardware.trainer(
        run.here,
        run.folder,
        rank_command("train", run.folder),
        callbacks=callbacks,
        loggers=make_loggers(run) if leads else [],
        max_steps=schedule.max_steps,
    )
    return trainer, keeper, status


def make_reports(run: Run) -> "tuple[list[Any], list[Callback]]":
    """Build what rank 0 shows: listeners of the training log, and callbacks."""
    from fcn_lightning.reporting.console import DataAdvice, Progress, ScoreTable, data_advice
    from fcn_lightning.reporting.run_log import RunLog
    from fcn_lightning.reporting.run_plots import RunPlots
    from fcn_lightning.reporting.status_file import CountFiles

    datamodule = run.datamodule
    progress = Progress(run.task.schedule.max_steps)
    run_log = RunLog(run.folder / "log.jsonl", len(datamodule.train_data) / datamodule.global_batch_size, run.step, run.validated)
    plots = RunPlots(run.folder, datamodule.val_data, run.published)
    counts = CountFiles(run.folder, datamodule.val_data)
    return [progress, run_log, DataAdvice(data_advice(datamodule))], [progress, counts, plots, run_log, ScoreTable()]


def make_loggers(run: Run) -> "list[Logger]":
    """Build the trackers: metrics.csv always, and the chosen one beside it."""
    from fcn_lightning.reporting.loggers import MetricsFile

    loggers: list[Logger] = [MetricsFile(run.folder, run.step, run.validated)]
    if run.config.logger:
        loggers.append(build(run.config.logger, {"folder": str(run.folder)}))
    return loggers


if __name__ == "__main__":
    main()
