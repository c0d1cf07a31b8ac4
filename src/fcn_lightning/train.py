"""Train an FCN: `python -m fcn_lightning.train dataset=camvid backbone=r18b`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fcn_lightning.cli import command
from fcn_lightning.config import build, compose, plain, run_folder
from fcn_lightning.zoo.recipes import card_of, row

if TYPE_CHECKING:  # torch and Lightning are imported when training starts, so that --help answers at once
    from pytorch_lightning import Callback, Trainer
    from pytorch_lightning.loggers import Logger

    from fcn_lightning.data.datamodule import SegmentationDataModule
    from fcn_lightning.models.fcn import FCN
    from fcn_lightning.reporting.ledger import Ledger
    from fcn_lightning.training.losses import LossWeights
    from fcn_lightning.training.task import SegmentationTask
    from fcn_lightning.zoo.logs import TrainingCurve

log = logging.getLogger(__name__)

SHOWN = 16  # training samples at most that the run folder shows


@command("train")
def main(config: DictConfig) -> None:
    """Train, validate, and leave a run folder.

    Args:
        config: `conf/train.yaml` as composed.
    """
    import pytorch_lightning as pl

    from fcn_lightning.reporting import record
    from fcn_lightning.reporting.console import quiet_lightning
    from fcn_lightning.reporting.data_sheets import keep, training_sheet
    from fcn_lightning.reporting.loggers import log_config
    from fcn_lightning.reporting.report import write_report
    from fcn_lightning.training.device import exact_fp32
    from fcn_lightning.training.task import SegmentationTask
    from fcn_lightning.zoo.logs import read_log

    quiet_lightning()
    pl.seed_everything(config.seed, verbose=False)
    exact_fp32()
    folder = run_folder()
    schedule = build(config.schedule)
    datamodule = build(config.dataset)
    card = card_of(config, datamodule)
    datamodule.plan(max_steps=schedule.max_steps, ms_flip=card.inference.ms_flip)
    datamodule.check_first_samples()
    sheet, rate = training_sheet(datamodule, range(min(datamodule.global_batch_size, SHOWN)))
    model, start = make_model(config, len(card.labels.classes))
    loss = weigh_loss(config, datamodule)
    task = SegmentationTask(model, card, schedule=schedule, optimizer=build(config.optimizer), loss=loss)
    published = read_log(Path(config.log)) if config.log else None
    trainer = make_trainer(config, folder, task, datamodule, published)
    ledger = find_deviations(config, start, trainer, datamodule, loss)

    # What can be wrong has been said by now; from here on the run leaves traces.
    record.claim(folder, OmegaConf.to_yaml(config, resolve=True), HydraConfig.get().overrides.task)
    record.write_environment(folder, record.device_name(trainer.strategy.root_device))
    record.write_data(folder, {"train": datamodule.train_data, "val": datamodule.val_data})
    log_config(trainer.loggers, plain(config))
    keep(sheet, folder, trainer.loggers)
    log.info(describe(config, folder, trainer, task, datamodule, start, rate))
    if ledger:
        ledger.write(folder / "deviations.json")
        log.info(ledger)
    fit(trainer, task, datamodule)
    write_report(folder, config.run_name, task, ledger, published)
    log.info("%s  %s", task.scores, folder)


def make_model(config: DictConfig, num_classes: int) -> "tuple[FCN, str]":
    """Build the network with its start: given weights, ImageNet, or random numbers.

    Args:
        config: `conf/train.yaml` as composed.
        num_classes: K.

    Returns:
        The network, and what it starts from, in words.
    """
    from fcn_lightning.zoo.weights import open_weights, start_from

    if not config.weights:
        return build(config.model, {"num_classes": num_classes}), "ImageNet" if config.model.pretrained else "random"
    model = build(config.model, {"num_classes": num_classes, "pretrained": False})
    weights = open_weights(config.weights)
    return model, f"{weights.path.name}: {start_from(model, weights)}"


def weigh_loss(config: DictConfig, datamodule: "SegmentationDataModule") -> "LossWeights":
    """Resolve the weights of the loss; those of the classes may have to be counted from the training masks."""
    from fcn_lightning.data.statistics import class_weight
    from fcn_lightning.training.losses import LossWeights

    weights = class_weight(plain(config.loss)["class_weight"], datamodule.train_data, workers=datamodule.workers)
    return LossWeights(config.loss.aux_weight, weights)


def find_deviations(
    config: DictConfig, start: str, trainer: "Trainer", datamodule: "SegmentationDataModule", loss: "LossWeights"
) -> "Ledger | None":
    """List how a run that was started from a recipe differs from the published row; None without a recipe."""
    from fcn_lightning.reporting.ledger import Setting, make_ledger

    if not config.row:
        return None
    setting = Setting(
        precision=str(trainer.precision),
        processes=trainer.world_size,
        start=start,
        datamodule=datamodule,
        class_weight=loss.class_weight,
    )
    return make_ledger(row(config.row.id), plain(compose(f"recipe={config.row.id}")), plain(config), setting)


def fit(trainer: "Trainer", task: "SegmentationTask", datamodule: "SegmentationDataModule") -> None:
    """Train; whatever happens, the tracker's run ends and says whether it failed."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from fcn_lightning.reporting.loggers import close

    failed = True
    try:
        with logging_redirect_tqdm():  # tables and lines stand above the bar
            trainer.fit(task, datamodule=datamodule)
        failed = False
    finally:
        close(trainer.loggers, failed=failed)


def make_trainer(
    config: DictConfig,
    folder: Path,
    task: "SegmentationTask",
    datamodule: "SegmentationDataModule",
    published: "TrainingCurve | None",
) -> "Trainer":
    """Build Lightning's trainer with this run's callbacks and loggers.

    Args:
        config: `conf/train.yaml` as composed.
        folder: the run's.
        task: to be trained.
        datamodule: set up.
        published: log of a published run, drawn under this run's curves.
    """
    import pytorch_lightning as pl

    from fcn_lightning.training.device import accelerator, amp_plugin, training_precision

    chosen = accelerator(config.trainer.accelerator)
    precision = training_precision(config.trainer.precision, chosen)
    amp = amp_plugin(precision, config.trainer.loss_scale, chosen)
    return pl.Trainer(
        accelerator=chosen,
        devices=1,
        precision=None if amp else precision,  # type: ignore[arg-type]  # Lightning checks the string
        plugins=[amp] if amp else None,
        max_steps=task.schedule.max_steps,
        val_check_interval=min(task.schedule.val_interval, task.schedule.max_steps),
        logger=make_loggers(config, folder),
        callbacks=make_callbacks(config, folder, datamodule, published),
        default_root_dir=folder,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the stream of samples is rank-aware itself
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def make_callbacks(
    config: DictConfig, folder: Path, datamodule: "SegmentationDataModule", published: "TrainingCurve | None"
) -> "list[Callback]":
    """Build what happens around the steps, in the order in which it happens."""
    from fcn_lightning.reporting.console import DataAdvice, Progress, ScoreTable, data_advice
    from fcn_lightning.reporting.run_log import RunLog
    from fcn_lightning.reporting.run_plots import RunPlots
    from fcn_lightning.training.callbacks import CheckpointKeeper, LastStepValidation, TrainingLog

    progress = Progress()
    run_log = RunLog(folder / "log.jsonl", len(datamodule.train_data) / datamodule.global_batch_size)
    return [
        progress,
        LastStepValidation(),
        CheckpointKeeper(folder / "checkpoints"),
        RunPlots(folder, datamodule.val_data, published),
        run_log,
        ScoreTable(),
        # Last: what the others take is not time per step.
        TrainingLog(config.trainer.log_interval, [progress, run_log, DataAdvice(data_advice(datamodule))]),
    ]


def make_loggers(config: DictConfig, folder: Path) -> "list[Logger]":
    """Build the trackers: metrics.csv always, and the chosen one beside it."""
    from pytorch_lightning.loggers import CSVLogger

    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    if config.logger:
        loggers.append(build(config.logger, {"folder": str(folder)}))
    return loggers


def describe(
    config: DictConfig,
    folder: Path,
    trainer: "Trainer",
    task: "SegmentationTask",
    datamodule: "SegmentationDataModule",
    start: str,
    rate: float,
) -> str:
    """Say what is about to happen: the block before the first step."""
    from fcn_lightning.reporting.console import loader_line, start_block
    from fcn_lightning.reporting.record import device_name

    steps, batch = task.schedule.max_steps, datamodule.global_batch_size
    train, val = len(datamodule.train_data), len(datamodule.val_data)
    parameters = sum(parameter.numel() for parameter in task.model.parameters())
    choices = HydraConfig.get().runtime.choices
    network = f"FCN {choices['backbone']}-{choices['head']}, {parameters / 1e6:.1f} M parameters"
    precision = str(trainer.precision)
    if config.trainer.precision == "16-mixed" and precision != "16-mixed":
        precision += " (16-mixed needs a GPU)"
    test = task.card.inference
    rows = [
        ("data", f"{datamodule.name}: {train} training, {val} validation images, {len(task.card.labels.classes)} classes"),
        ("model", network if config.weights else f"{network}, {start} start"),
        ("device", f"{device_name(trainer.strategy.root_device)}, {precision}"),
        ("loader", loader_line(datamodule.workers, rate)),
        ("batch", f"{batch} crops of {datamodule.crop_size[0]}x{datamodule.crop_size[1]} in all"),
        (
            "schedule",
            f"{steps} steps = {steps * batch / train:.1f} epochs, lr {config.optimizer.lr}, "
            f"validation every {task.schedule.val_interval} ({test.mode}, {test.precision})",
        ),
        ("run folder", str(folder)),
    ]
    if task.loss.class_weight is not None:
        weights = zip(task.card.labels.classes, task.loss.class_weight.tolist(), strict=True)
        rows.append(("class weights", ", ".join(f"{name} {weight:.3g}" for name, weight in weights)))
    if config.weights:
        rows.insert(2, ("weights", start))
    return start_block(rows)


if __name__ == "__main__":
    main()
