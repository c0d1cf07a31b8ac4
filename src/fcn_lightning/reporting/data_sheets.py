"""Contact sheets of a data set: positions of its training stream, or images of its validation split."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pytorch_lightning.loggers import Logger

from fcn_lightning import InputError
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.images import UInt8, write_png
from fcn_lightning.reporting.contact_sheet import Sample, contact_sheet
from fcn_lightning.reporting.loggers import log_images


def training_sheet(datamodule: SegmentationDataModule, positions: range) -> tuple[UInt8, float]:
    """Draw samples of the training stream: the crops as augmented, in the order in which training reads them.

    Args:
        datamodule: of the data set.
        positions: in the stream, which has no end; at least one.

    Returns:
        The sheet, and how many samples this process makes per second.
    """
    samples, rate = training_samples(datamodule, positions)
    (width, height), (low, high), crop = datamodule.base_scale, datamodule.ratio_range, datamodule.crop_size
    title = (
        f"{datamodule.name}, positions {positions[0]} to {positions[-1]} of the training stream, seed {datamodule.seed}\n"
        f"crops of {crop[0]}x{crop[1]} from images resized to fit {width}x{height} times {low:g} to {high:g}"
    )
    return contact_sheet(samples, datamodule.labels, title), rate


def validation_sheet(datamodule: SegmentationDataModule, positions: range) -> UInt8:
    """Draw images of the validation split in their original size, in which they are scored.

    Args:
        datamodule: of the data set.
        positions: in the split; those beyond its end are left out.

    Raises:
        InputError: all are beyond its end.
    """
    dataset = datamodule.val_data
    if positions[0] >= len(dataset):
        raise InputError(f"first={positions[0]} is beyond the {len(dataset)} validation images; give 0 to {len(dataset) - 1}")
    positions = positions[: len(dataset) - positions[0]]
    pairs = [dataset[position] for position in positions]
    samples = [
        Sample(image, mask, (mask.shape[0], mask.shape[1]), _caption(position, dataset.name(position)))
        for position, (image, mask) in zip(positions, pairs, strict=True)
    ]
    title = f"{datamodule.name}, validation images {positions[0]} to {positions[-1]} of {len(dataset)} in their original size"
    return contact_sheet(samples, datamodule.labels, title)


def keep(sheet: UInt8, folder: Path, loggers: Sequence[Logger]) -> None:
    """Write a sheet of the first training samples as `samples/train.png`, and show it in the tracker.

    Args:
        sheet: (H, W, 3).
        folder: of the run.
        loggers: of the trainer.
    """
    write_png(folder / "samples" / "train.png", sheet)
    log_images(loggers, "train/samples", [sheet], step=0)


def training_samples(datamodule: SegmentationDataModule, positions: range) -> tuple[list[Sample], float]:
    """Make samples of the training stream, exactly as the loader processes do.

    Args:
        datamodule: of the data set.
        positions: in the stream; at least one.

    Returns:
        The samples, and how many of them this process makes per second. The first is not timed if there are others: it also
        loads libraries.
    """
    stream = datamodule.train_samples()
    samples, seconds = [], []
    for position in positions:
        start = time.perf_counter()
        content = stream[position]
        seconds.append(time.perf_counter() - start)
        image, mask, (height, width) = np.asarray(content["image"]), np.asarray(content["mask"]), content["size"]
        caption = _caption(position, datamodule.train_data.name(content["index"]))
        samples.append(Sample(image, mask, (int(height), int(width)), caption))
    timed = seconds[1:] or seconds
    return samples, len(timed) / sum(timed)


def _caption(position: int, name: str) -> str:
    return f"{position}  {Path(name).name}"
