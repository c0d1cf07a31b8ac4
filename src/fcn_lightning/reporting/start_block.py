"""The block before the first step: what a run is about to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl

from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.evaluation.predictor import Card
from fcn_lightning.reporting.console import loader_line
from fcn_lightning.reporting.record import device_name
from fcn_lightning.training.task import SegmentationTask


def start_block(rows: Iterable[tuple[str, str]]) -> str:
    """Lay out what a run is about to do, one aligned line per fact."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


@dataclass(frozen=True)
class Start:
    """What a run starts from, beside its parts.

    Args:
        weights: in words.
        given: they were asked for, instead of the usual start.
        lr: learning rate of the first step.
        precision: that was asked for.
        rate: training samples per second that one loader process makes.
        step: optimiser steps done before, of a run that goes on.
    """

    weights: str
    given: bool
    lr: float
    precision: str
    rate: float
    step: int = 0


def network_name(card: Card) -> str:
    """Return the choices of `backbone` and `head` that a network was built with, as r18b-d8."""
    model = card.model
    return f"r{model['depth']}{'' if model['deep_stem'] else 'b'}-d{8 if model['output_stride'] == 8 else 6}"


def describe(folder: Path, trainer: pl.Trainer, task: SegmentationTask, datamodule: SegmentationDataModule, start: Start) -> str:
    """Say what is about to happen.

    Args:
        folder: of the run.
        trainer: built, not started.
        task: to be trained.
        datamodule: of the data set.
        start: what the run starts from.
    """
    steps, batch = task.schedule.max_steps, datamodule.global_batch_size
    train, val = len(datamodule.train_data), len(datamodule.val_data)
    parameters = sum(parameter.numel() for parameter in task.model.parameters())
    network = f"FCN {network_name(task.card)}, {parameters / 1e6:.1f} M parameters"
    test = task.card.inference
    rows = [
        ("data", f"{datamodule.name}: {train} training, {val} validation images, {len(task.card.labels.classes)} classes"),
        ("model", network if start.given else f"{network}, {start.weights} start"),
        ("device", device_line(trainer, start.precision)),
        ("loader", loader_line(datamodule.workers, start.rate)),
        ("batch", batch_line(trainer, datamodule)),
        (
            "schedule",
            f"{steps} steps = {steps * batch / train:.1f} epochs, lr {start.lr}, "
            f"validation every {task.schedule.val_interval} ({test.mode}, {test.precision})",
        ),
        ("run folder", str(folder)),
    ]
    if start.step:
        rows.append(("continued", f"at step {start.step} of {steps}"))
    if task.loss.class_weight is not None:
        weights = zip(task.card.labels.classes, task.loss.class_weight.tolist(), strict=True)
        rows.append(("class weights", ", ".join(f"{name} {weight:.3g}" for name, weight in weights)))
    if start.given:
        rows.insert(2, ("weights", start.weights))
    return start_block(rows)


def device_line(trainer: pl.Trainer, wanted: str) -> str:
    """Say where the run computes, with how many processes, and how precisely."""
    precision = str(trainer.precision)
    if wanted == "16-mixed" and precision != "16-mixed":
        precision += " (16-mixed needs a GPU)"
    processes = f"{trainer.world_size} processes on " if trainer.world_size > 1 else ""
    machines = f" each of {trainer.num_nodes} machines" if trainer.num_nodes > 1 else ""
    return f"{processes}{device_name(trainer.strategy.root_device)}{machines}, {precision}"


def batch_line(trainer: pl.Trainer, datamodule: SegmentationDataModule) -> str:
    """Say how many crops a step sees, how they are shared, and of how many BatchNorm's statistics are where that is fewer."""
    batch, (height, width) = datamodule.global_batch_size, datamodule.crop_size
    line = f"{batch} crops of {height}x{width} in all"
    parts = trainer.world_size * trainer.accumulate_grad_batches
    if parts == 1:
        return line
    shares = [f"{trainer.world_size} processes"] * (trainer.world_size > 1)
    shares += [f"{trainer.accumulate_grad_batches} parts one after the other"] * (trainer.accumulate_grad_batches > 1)
    seen = norm_batch(trainer, batch)
    note = f"; BatchNorm's statistics are of {seen} of them" if seen != batch else "; BatchNorm's statistics are of all of them"
    return f"{line}, in {' and '.join(shares)}{note}"


def norm_batch(trainer: pl.Trainer, batch: int) -> int:
    """Return the images that BatchNorm's statistics of one forward pass are of.

    Args:
        trainer: built.
        batch: images per optimiser step.
    """
    apart = 1 if trainer.strategy.root_device.type == "cuda" else trainer.world_size  # GPUs synchronise their statistics
    return batch // trainer.accumulate_grad_batches // apart
