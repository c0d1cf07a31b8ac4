"""Train an FCN: `python -m fcn_lightning.train dataset=camvid backbone=r18b`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fcn_lightning.cli import command
from fcn_lightning.config import build, plain, run_folder

if TYPE_CHECKING:  # torch and Lightning are imported when training starts, so that --help answers at once
    from pytorch_lightning import Trainer
    from pytorch_lightning.loggers import Logger

    from fcn_lightning.data.datamodule import SegmentationDataModule
    from fcn_lightning.training.task import SegmentationTask

log = logging.getLogger(__name__)


@command("train")
def main(config: DictConfig) -> None:
    """Train, validate, and leave a run folder.

    Args:
        config: `conf/train.yaml` as composed.
    """
    import pytorch_lightning as pl

    from fcn_lightning.evaluation.predictor import Card
    from fcn_lightning.reporting import record
    from fcn_lightning.reporting.console import quiet_lightning
    from fcn_lightning.reporting.loggers import log_config
    from fcn_lightning.training.device import exact_fp32
    from fcn_lightning.training.task import SegmentationTask

    quiet_lightning()
    pl.seed_everything(config.seed, verbose=False)
    exact_fp32()
    folder = run_folder()
    schedule, inference = build(config.schedule), build(config.inference)
    datamodule = build(config.dataset)
    datamodule.plan(max_steps=schedule.max_steps, ms_flip=inference.ms_flip)
    datamodule.check_first_samples()
    labels = datamodule.val_data.labels
    model = build(config.model, {"num_classes": len(labels.classes)})

    scalars = {key: value for key, value in plain(config.model).items() if key != "pretrained"}
    card = Card(scalars, datamodule.name, labels, datamodule.base_scale, inference)
    task = SegmentationTask(model, card, schedule=schedule, optimizer=plain(config.optimizer), aux_weight=config.loss.aux_weight)
    trainer = make_trainer(config, folder, task, datamodule)

    # What can be wrong has been said by now; from here on the run leaves traces.
    record.claim(folder, OmegaConf.to_yaml(config, resolve=True), HydraConfig.get().overrides.task)
    record.write_environment(folder, record.device_name(trainer.strategy.root_device))
    record.write_data(folder, {"train": datamodule.train_data, "val": datamodule.val_data})
    log_config(trainer.loggers, plain(config))
    log.info(describe(config, folder, trainer, task, datamodule))
    fit(trainer, task, datamodule)
    log.info("%s  %s", task.scores, folder)


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


def make_trainer(config: DictConfig, folder: Path, task: "SegmentationTask", datamodule: "SegmentationDataModule") -> "Trainer":
    """Build Lightning's trainer with this run's callbacks and loggers.

    Args:
        config: `conf/train.yaml` as composed.
        folder: the run's.
        task: to be trained.
        datamodule: set up.
    """
    import pytorch_lightning as pl

    from fcn_lightning.reporting.console import Progress, ScoreTable
    from fcn_lightning.reporting.published_log import PublishedLog
    from fcn_lightning.reporting.run_plots import RunPlots
    from fcn_lightning.training.callbacks import CheckpointKeeper, LastStepValidation, TrainingLog
    from fcn_lightning.training.device import accelerator, training_precision

    progress = Progress()
    chosen = accelerator(config.trainer.accelerator)
    published = PublishedLog(folder / "log.jsonl", len(datamodule.train_data) / datamodule.global_batch_size)
    return pl.Trainer(
        accelerator=chosen,
        devices=1,
        precision=training_precision(config.trainer.precision, chosen),  # type: ignore[arg-type]  # Lightning checks the string
        max_steps=task.schedule.max_steps,
        val_check_interval=min(task.schedule.val_interval, task.schedule.max_steps),
        logger=make_loggers(config, folder),
        callbacks=[
            progress,
            LastStepValidation(),
            CheckpointKeeper(folder / "checkpoints"),
            RunPlots(folder, datamodule.val_data),
            published,
            ScoreTable(),
            # Last: what the others take is not time per step.
            TrainingLog(config.trainer.log_interval, [progress, published]),
        ],
        default_root_dir=folder,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the stream of samples is rank-aware itself
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def make_loggers(config: DictConfig, folder: Path) -> "list[Logger]":
    """Build the trackers: metrics.csv always, and the chosen one beside it."""
    from pytorch_lightning.loggers import CSVLogger

    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    if config.logger:
        loggers.append(build(config.logger, {"folder": str(folder)}))
    return loggers


def describe(
    config: DictConfig, folder: Path, trainer: "Trainer", task: "SegmentationTask", datamodule: "SegmentationDataModule"
) -> str:
    """Say what is about to happen: the block before the first step."""
    from fcn_lightning.reporting.console import start_block
    from fcn_lightning.reporting.record import device_name

    steps, batch = task.schedule.max_steps, datamodule.global_batch_size
    parameters = sum(parameter.numel() for parameter in task.model.parameters())
    choices = HydraConfig.get().runtime.choices
    return start_block(
        [
            (
                "data",
                f"{datamodule.name}: {len(datamodule.train_data)} training, {len(datamodule.val_data)} validation images, "
                f"{len(task.card.labels.classes)} classes",
            ),
            (
                "model",
                f"FCN {choices['backbone']}-{choices['head']}, {parameters / 1e6:.1f} M parameters, "
                f"{'ImageNet' if config.model.pretrained else 'random'} start",
            ),
            ("device", f"{device_name(trainer.strategy.root_device)}, {trainer.precision}, {datamodule.workers} loader processes"),
            ("batch", f"{batch} crops of {datamodule.crop_size[0]}x{datamodule.crop_size[1]} in all"),
            (
                "schedule",
                f"{steps} steps = {steps * batch / len(datamodule.train_data):.1f} epochs, lr {config.optimizer.lr}, "
                f"validation every {task.schedule.val_interval} ({task.card.inference.mode}, {task.card.inference.precision})",
            ),
            ("run folder", str(folder)),
        ]
    )


if __name__ == "__main__":
    main()
