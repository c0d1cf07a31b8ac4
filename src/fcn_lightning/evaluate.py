"""Score a checkpoint: `python -m fcn_lightning.evaluate checkpoint=<file> dataset=camvid`."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fcn_lightning import InputError
from fcn_lightning.cli import command
from fcn_lightning.config import build, options, plain, run_folder, typed

if TYPE_CHECKING:  # torch and Lightning are imported when work starts, so that --help answers at once
    from pytorch_lightning import Trainer

    from fcn_lightning.data.datamodule import SegmentationDataModule
    from fcn_lightning.evaluation.predictor import Card

log = logging.getLogger(__name__)

# The checkpoint decides on these; typing one here would promise something that does not happen.
OF_TRAINING = {"backbone", "head", "schedule", "model", "optimizer", "loss", "logger"}


@command("evaluate")
def main(config: DictConfig) -> None:
    """Validate a checkpoint as training does, and leave the scores in a run folder.

    Args:
        config: `conf/evaluate.yaml` as composed.
    """
    overrides = typed(HydraConfig.get().overrides.task)
    checkpoint = config.checkpoint
    check_request(overrides)  # said before the libraries are loaded

    from fcn_lightning.reporting import record
    from fcn_lightning.reporting.console import quiet_lightning
    from fcn_lightning.training.checkpoint import load
    from fcn_lightning.training.device import exact_fp32
    from fcn_lightning.training.task import SegmentationTask

    quiet_lightning()
    exact_fp32()
    predictor = load(checkpoint)
    datamodule = build(config.dataset)
    card = card_to_test(config, overrides, predictor.card, datamodule)
    schedule = build(config.schedule)
    datamodule.plan(max_steps=schedule.max_steps, ms_flip=card.inference.ms_flip)
    check_classes(card, datamodule, checkpoint)

    folder = run_folder()
    record.claim(folder, OmegaConf.to_yaml(config, resolve=True), HydraConfig.get().overrides.task)
    task = SegmentationTask(
        predictor.model, card, schedule=schedule, optimizer=plain(config.optimizer), aux_weight=config.loss.aux_weight
    )
    trainer = make_trainer(config, folder, datamodule)
    record.write_environment(folder, record.device_name(trainer.strategy.root_device))
    record.write_data(folder, {"val": datamodule.val_data})
    trainer.validate(task, datamodule=datamodule, verbose=False)
    if task.scores is None:
        raise RuntimeError("validation gave no scores")
    record.write_scores(folder / "scores.json", task.scores, card.labels.classes, loss=trainer.callback_metrics["val/loss"].item())
    log.info("%s  %s", task.scores, folder)


def make_trainer(config: DictConfig, folder: Path, datamodule: "SegmentationDataModule") -> "Trainer":
    """Build Lightning's trainer for one validation.

    Args:
        config: `conf/evaluate.yaml` as composed.
        folder: the run's.
        datamodule: set up.
    """
    import pytorch_lightning as pl

    from fcn_lightning.reporting.console import ScoreTable
    from fcn_lightning.reporting.run_plots import RunPlots
    from fcn_lightning.training.device import accelerator

    return pl.Trainer(
        accelerator=accelerator(config.trainer.accelerator),
        devices=1,
        logger=False,
        callbacks=[RunPlots(folder, datamodule.val_data), ScoreTable()],
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def check_request(overrides: set[str]) -> None:
    """Refuse a command line that leaves out the data set, or promises something that does not happen.

    Raises:
        InputError: it does.
    """
    refused = sorted(key for key in overrides if key.split(".")[0] in OF_TRAINING)
    if refused:
        raise InputError(f"{refused[0]} belongs to training, and the network comes from the checkpoint; leave {refused[0]} out")
    if "dataset" not in overrides:
        raise InputError(f"dataset is not set; add dataset=<name>, where the names are {', '.join(options()['dataset'])}")


def card_to_test(config: DictConfig, overrides: set[str], card: "Card", datamodule: "SegmentationDataModule") -> "Card":
    """Return the checkpoint's card with the test settings that were typed; the others stay as in its training.

    Args:
        config: `conf/evaluate.yaml` as composed.
        overrides: keys on the command line.
        card: of the checkpoint.
        datamodule: receives the scale at which images are tested.
    """
    if "dataset.base_scale" in overrides:
        card = replace(card, base_scale=datamodule.base_scale)
    else:
        datamodule.base_scale = card.base_scale
    wanted = {key: value for key, value in plain(config.inference).items() if f"inference.{key}" in overrides}
    if "tta" in overrides:
        wanted["tta"] = config.tta
    return replace(card, inference=replace(card.inference, **wanted))


def check_classes(card: "Card", datamodule: "SegmentationDataModule", checkpoint: str) -> None:
    """Refuse a checkpoint of other classes.

    Raises:
        InputError: the numbers or the names of the classes differ.
    """
    ours, theirs = datamodule.val_data.labels.classes, card.labels.classes
    if ours != theirs:
        raise InputError(
            f"checkpoint {checkpoint} was trained on {card.dataset} with {len(theirs)} classes ({', '.join(theirs[:3])}, ...), "
            f"but {datamodule.name} has {len(ours)} ({', '.join(ours[:3])}, ...); "
            f"give dataset={card.dataset}, or another checkpoint"
        )


if __name__ == "__main__":
    main()
