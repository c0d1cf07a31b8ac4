"""Score a checkpoint or published weights: `python -m fcn_lightning.evaluate checkpoint=<file> dataset=camvid`."""

import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fcn_lightning import InputError
from fcn_lightning.cli import command
from fcn_lightning.config import build, joined, options, plain, rank_command, run_folder, typed
from fcn_lightning.training.launch import launch

if TYPE_CHECKING:  # torch and Lightning are imported when work starts, so that --help answers at once
    from pytorch_lightning import Callback, Trainer

    from fcn_lightning.data.datamodule import SegmentationDataModule
    from fcn_lightning.evaluation.predictor import Card
    from fcn_lightning.models.fcn import FCN
    from fcn_lightning.training.task import SegmentationTask

log = logging.getLogger(__name__)

# The network's card decides on these; typing one here would promise something that does not happen.
OF_TRAINING = {
    "backbone",
    "head",
    "schedule",
    "model",
    "optimizer",
    "loss",
    "logger",
    "log",
    "resume",
    "saving",
    "nonfinite",
    "repro",
}
# What decides on the test; rank 0 settles all of it for the other ranks.
OF_TEST = {
    "dataset.base_scale",
    *(f"inference.{key}" for key in ("mode", "crop_size", "stride", "tta", "precision", "pad_windows")),
}


@command("evaluate")
def main(config: DictConfig) -> None:
    """Validate a network as training does, and leave the scores in a run folder.

    Args:
        config: `conf/evaluate.yaml` as composed.
    """
    here, folder = launch(), run_folder()
    if here.rank:
        config, overrides = joined(folder), OF_TEST
    else:
        overrides = typed(HydraConfig.get().overrides.task)
        check_request(overrides)  # said before the libraries are loaded

    from fcn_lightning.reporting import record
    from fcn_lightning.reporting.console import dialect_table, quiet_lightning
    from fcn_lightning.zoo.load import load_requested

    quiet_lightning()
    predictor = load_requested(config.checkpoint, config.weights, config.row.id if config.row and not config.checkpoint else None)
    datamodule = build(config.dataset)
    card = card_to_test(config, overrides, predictor.card, datamodule)
    check_classes(card, datamodule, config.checkpoint)
    config.dataset.base_scale, config.inference = list(card.base_scale), {**config.inference, **asdict(card.inference)}
    task = validate(config, "evaluate", predictor.model, card, datamodule)
    if here.rank:
        return
    if task.scores is None or task.dialects is None:
        raise RuntimeError("validation gave no scores")
    loss = task.trainer.callback_metrics["val/loss"].item()
    record.write_scores(folder / "scores.json", task.scores, card.labels.classes, loss=loss, dialects=task.dialects)
    log.info("the same predictions, as others would count them\n%s", dialect_table(task.dialects))
    log.info("%s  %s", task.scores, folder)


def validate(config: DictConfig, verb: str, model: "FCN", card: "Card", datamodule: "SegmentationDataModule") -> "SegmentationTask":
    """Claim the run folder and score a network on the validation images, along with the other ranks.

    Args:
        config: `conf/evaluate.yaml` as composed.
        verb: the command, which the other ranks run too.
        model: the network.
        card: its classes and the test mode.
        datamodule: of the data set.

    Returns:
        The task, with `scores` and `confmat` of this validation.
    """
    from fcn_lightning.reporting import record
    from fcn_lightning.training.losses import LossWeights
    from fcn_lightning.training.strategy import join, leave
    from fcn_lightning.training.task import SegmentationTask

    here, folder, schedule = launch(), run_folder(), build(config.schedule)
    join(here)
    processes = build(config.trainer).processes(here)
    datamodule.plan(max_steps=schedule.max_steps, ms_flip=card.inference.ms_flip, processes=processes)
    optimizer, loss = build(config.optimizer), LossWeights(config.loss.aux_weight)
    task = SegmentationTask(model, card, schedule=schedule, optimizer=optimizer, loss=loss)
    trainer = make_trainer(config, rank_command(verb, folder), datamodule)
    if here.rank == 0:
        datamodule.val_data[0]  # a wrong encoding is said before the run leaves traces
        record.claim(folder, OmegaConf.to_yaml(config, resolve=True), HydraConfig.get().overrides.task)
        device = record.device_name(trainer.strategy.root_device)
        record.write_environment(folder, device, processes=trainer.world_size, machines=trainer.num_nodes)
        record.write_data(folder, {"val": datamodule.val_data})
    try:
        trainer.validate(task, datamodule=datamodule, verbose=False)
    finally:
        leave(here)
    return task


def make_trainer(config: DictConfig, command: list[str], datamodule: "SegmentationDataModule") -> "Trainer":
    """Build Lightning's trainer for one validation.

    Args:
        config: `conf/evaluate.yaml` as composed.
        command: of a further rank.
        datamodule: set up.
    """
    from fcn_lightning.reporting.console import EvaluationProgress, ScoreTable
    from fcn_lightning.reporting.run_plots import RunPlots
    from fcn_lightning.reporting.status_file import CountFiles

    here, folder, hardware = launch(), run_folder(), build(config.trainer)
    world_size = hardware.processes(here) * here.nodes
    plots = RunPlots(folder, datamodule.val_data)  # each rank draws the panels of its own images
    shown: list[Callback] = [plots]
    if here.rank == 0:
        progress = EvaluationProgress(-(-len(datamodule.val_data) // world_size))
        shown = [progress, CountFiles(folder, datamodule.val_data), plots, ScoreTable()]
    trainer: Trainer = hardware.trainer(here, folder, command, callbacks=shown, loggers=[], max_steps=-1)
    return trainer


def check_request(overrides: set[str]) -> None:
    """Refuse a command line that leaves out the data set, or promises something that does not happen.

    Raises:
        InputError: it does.
    """
    refused = sorted(key for key in overrides if key.split(".")[0] in OF_TRAINING)
    if refused:
        raise InputError(
            f"{refused[0]} belongs to training, and the network comes from checkpoint= or weights=; leave {refused[0]} out"
        )
    if not overrides & {"dataset", "recipe"}:
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


def check_classes(card: "Card", datamodule: "SegmentationDataModule", checkpoint: str | None) -> None:
    """Refuse a network of other classes.

    Those of published weights are compared by number alone: they are this package's own, not the names in the file, and
    a data set may spell them differently.

    Args:
        card: of the network.
        datamodule: of the data set.
        checkpoint: of a run of this package; None for published weights.

    Raises:
        InputError: the numbers differ, or for a checkpoint the names.
    """
    ours, theirs = datamodule.labels.classes, card.labels.classes
    if len(ours) != len(theirs) or (checkpoint and ours != theirs):
        raise InputError(
            f"{f'checkpoint {checkpoint} was' if checkpoint else 'the weights were'} trained on {card.dataset} with "
            f"{len(theirs)} classes ({', '.join(theirs[:3])}, ...), but {datamodule.name} has {len(ours)} "
            f"({', '.join(ours[:3])}, ...); give dataset={card.dataset}, or another checkpoint"
        )


if __name__ == "__main__":
    main()
