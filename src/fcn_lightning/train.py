"""Train an FCN: `python -m fcn_lightning.train dataset=camvid backbone=r18b`."""

import logging
import secrets
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
    from pytorch_lightning import Trainer

    from fcn_lightning.data.datamodule import SegmentationDataModule
    from fcn_lightning.models.fcn import FCN
    from fcn_lightning.reporting.ledger import Ledger
    from fcn_lightning.reporting.training_run import Run
    from fcn_lightning.training.losses import LossWeights

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
            if status.get("state") == FINISHED and not (config.resume and Path(config.resume).is_file()):
                log.info("%s has finished: all of its %s steps are done", folder, status["max_steps"])
                return float(status["best"]["mIoU"])
            config = continued(config, folder)
        return train(config, folder, here, going_on=going_on)


@dataclass(frozen=True)
class Words:
    """What the configuration of a run does not say any more when the run is announced.

    Args:
        start: what the network starts from.
        precision: that was asked for.
    """

    start: str
    precision: str


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
    from fcn_lightning.reporting.training_run import fit, make_ready
    from fcn_lightning.training.determinism import choose
    from fcn_lightning.training.device import exact_fp32
    from fcn_lightning.training.strategy import join

    join(here)
    quiet_lightning()
    choose(config.repro)
    pl.seed_everything(config.seed, verbose=False)
    exact_fp32()
    run, words = assemble(config, folder, here, going_on=going_on)
    trackers = [build(config.logger, {"folder": str(folder)})] if config.logger and run.leads else []
    ready = make_ready(run, rank_command("train", folder), trackers)
    ledger = announce(config, run, ready.trainer, words, going_on=going_on) if run.leads else None
    fit(run, ready)
    if not run.leads:
        return None
    write_report(folder, config.run_name, run.task, ledger, run.published)
    log.info("%s  %s", run.task.scores, folder)
    return ready.keeper.best["mIoU"] if ready.keeper.best else None


def assemble(config: DictConfig, folder: Path, here: Launch, *, going_on: bool) -> "tuple[Run, Words]":
    """Build the parts of a run, and write into its configuration what `auto` came out as.

    Args:
        config: of the run.
        folder: of the run.
        here: place of this process.
        going_on: the folder is this run's own already.
    """
    from fcn_lightning.reporting.training_run import Run
    from fcn_lightning.training import checkpoint
    from fcn_lightning.training.task import SegmentationTask
    from fcn_lightning.zoo.logs import read_log

    wanted = str(config.trainer.precision)
    config.trainer.precision = build(config.trainer).resolved_precision()  # probed once, by rank 0
    if "id" in config.logger:
        config.logger.id = config.logger.id or secrets.token_hex(4)  # under which a continued run goes on
    hardware, datamodule, schedule = build(config.trainer), build(config.dataset), build(config.schedule)
    card = card_of(config, datamodule)
    processes, ms_flip = hardware.processes(here), card.inference.ms_flip
    datamodule.plan(max_steps=schedule.max_steps, ms_flip=ms_flip, accumulate=hardware.accumulate, processes=processes)
    found = None
    if going_on and not here.rank:
        named = bool(config.resume) and Path(config.resume).is_file()
        found = checkpoint.chosen(Path(config.resume)) if named else checkpoint.newest(folder / "checkpoints")
    model, start = make_model(config, len(card.labels.classes), filled_later=found is not None or here.rank > 0)
    loss = weigh_loss(config, datamodule)
    run = Run(
        folder=folder,
        here=here,
        hardware=hardware,
        datamodule=datamodule,
        task=SegmentationTask(model, card, schedule=schedule, optimizer=build(config.optimizer), loss=loss),
        seed=config.seed,
        nonfinite=config.nonfinite,
        save_interval=config.saving.interval,
        keep_validated=config.saving.keep_validated,
        row=config.row.id if config.row else None,
        published=read_log(Path(config.log)) if config.log else None,
        found=found,
    )
    return run, Words(start, wanted)


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


def announce(config: DictConfig, run: "Run", trainer: "Trainer", words: Words, *, going_on: bool) -> "Ledger | None":
    """Check what can be wrong, make the run folder this run's own, and say what is about to happen.

    Args:
        config: of the run.
        run: put together.
        trainer: of the run.
        words: what the configuration does not say any more.
        going_on: the folder is this run's own already.

    Returns:
        How the run differs from the row that it was started from, if any.
    """
    from fcn_lightning.reporting import record
    from fcn_lightning.reporting.data_sheets import keep, training_sheet
    from fcn_lightning.reporting.loggers import log_config
    from fcn_lightning.reporting.start_block import Start, describe

    folder, datamodule = run.folder, run.datamodule
    datamodule.check_first_samples()
    sheet, rate = training_sheet(datamodule, range(min(datamodule.global_batch_size, SHOWN)))
    ledger = find_deviations(config, run, trainer, words.start)
    if run.task.loss.class_weight is not None:
        config.loss.class_weight = run.task.loss.class_weight.tolist()  # so that other ranks need not count again
    overrides = HydraConfig.get().overrides.task
    if going_on:
        record.reclaim(folder, OmegaConf.to_yaml(config, resolve=True), overrides, run.step)
    else:
        record.claim(folder, OmegaConf.to_yaml(config, resolve=True), overrides)
    if not (folder / "data.json").is_file():  # also where the start before this one was killed
        keep(sheet, folder, trainer.loggers)
        device = record.device_name(trainer.strategy.root_device)
        record.write_environment(folder, device, processes=trainer.world_size, machines=trainer.num_nodes)
        record.write_data(folder, {"train": datamodule.train_data, "val": datamodule.val_data})
    log_config(trainer.loggers, plain(config))
    begin = Start(
        words.start, given=bool(config.weights), lr=config.optimizer.lr, precision=words.precision, rate=rate, step=run.step
    )
    log.info(describe(folder, trainer, run.task, datamodule, begin))
    if ledger:
        ledger.write(folder / "deviations.json")
        log.info(ledger)
    return ledger


def find_deviations(config: DictConfig, run: "Run", trainer: "Trainer", start: str) -> "Ledger | None":
    """List how a run that was started from a recipe differs from the published row; None without a recipe."""
    from fcn_lightning.reporting.ledger import Setting, make_ledger
    from fcn_lightning.reporting.start_block import norm_batch

    weights = run.task.loss.class_weight
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


if __name__ == "__main__":
    main()
