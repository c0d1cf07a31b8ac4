"""How often each class occurs in a data set, and the class weights that follow from it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from fcn_lightning import InputError
from fcn_lightning.data.dataset import IGNORE_INDEX, SegmentationDataset

log = logging.getLogger(__name__)

Counts = NDArray[np.int64]
NONE = "none"
CHUNK = 32  # masks per message of a worker process


@dataclass(frozen=True)
class Statistics:
    """Exact counts over the masks of a split.

    Args:
        pixels: (K,), of each class.
        pixels_where_present: (K,), labelled pixels of the images in which the class occurs.
        images: (K,), images in which the class occurs.
        num_images: in all.
    """

    pixels: Counts
    pixels_where_present: Counts
    images: Counts
    num_images: int

    @property
    def pixel_frequency(self) -> NDArray[np.float64]:
        """(K,): share of all labelled pixels, in [0, 1]."""
        return self.pixels / max(int(self.pixels.sum()), 1)

    @property
    def image_frequency(self) -> NDArray[np.float64]:
        """(K,): share of the images that hold the class, in [0, 1]."""
        return self.images / max(self.num_images, 1)


def count(dataset: SegmentationDataset, *, workers: int) -> Statistics:
    """Read all masks and count.

    Args:
        dataset: whose masks are read.
        workers: processes that read.

    Raises:
        InputError: a mask is broken or holds unlisted values.
    """
    log.info("counting the classes in %d masks", len(dataset))
    loader: DataLoader[Counts] = DataLoader(_Histograms(dataset), batch_size=CHUNK, num_workers=workers, collate_fn=np.stack)
    histograms = np.concatenate(list(loader))[:, : len(dataset.labels.classes)]
    present = histograms > 0
    return Statistics(
        pixels=histograms.sum(0),
        pixels_where_present=(present * histograms.sum(1, keepdims=True)).sum(0),
        images=present.sum(0),
        num_images=len(histograms),
    )


def median_frequency(statistics: Statistics) -> list[float]:
    """Return the median frequency over each class's frequency, counted in the images where the class occurs.

    A class that never occurs gets weight 1, which nothing reads.

    Source: Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels", 2015, section 6.3.2.
    """
    present = statistics.pixels > 0
    frequency = statistics.pixels[present] / statistics.pixels_where_present[present]
    weights = np.ones(len(present))
    weights[present] = np.median(frequency) / frequency
    return [float(weight) for weight in weights]


def inverse_log(statistics: Statistics) -> list[float]:
    """Return 1 / ln(1.02 + p) for each class's share p of the pixels; between 1.4 and 50.5.

    Source: Paszke et al., "ENet", 2016, section 5.2.
    """
    return [float(weight) for weight in 1 / np.log(1.02 + statistics.pixel_frequency)]


FORMULAS = {"median_frequency": median_frequency, "inverse_log": inverse_log}


def class_weight(choice: str | Sequence[float], dataset: SegmentationDataset, *, workers: int) -> list[float] | None:
    """Resolve `loss.class_weight`.

    Args:
        choice: "none", "median_frequency", "inverse_log", or one number per class.
        dataset: of the training split, which the two formulas count.
        workers: processes that count.

    Returns:
        K weights, or None for "none".

    Raises:
        InputError: the choice is none of these, or a mask cannot be counted.
    """
    if choice == NONE:
        return None
    if isinstance(choice, str):
        if choice not in FORMULAS:
            raise InputError(f"loss.class_weight={choice} is not known; use {NONE}, {', '.join(FORMULAS)}, or a list of numbers")
        return FORMULAS[choice](count(dataset, workers=workers))
    classes = dataset.labels.classes
    weights = [float(weight) for weight in choice]
    if len(weights) != len(classes) or min(weights) < 0 or not any(weights):
        raise InputError(
            f"loss.class_weight has {len(weights)} numbers, the smallest {min(weights, default=0)}; give one from 0 for each of "
            f"the {len(classes)} classes ({', '.join(classes[:5])}, ...)"
        )
    return weights


class _Histograms(Dataset[Counts]):
    """Class counts of each mask; only masks are read."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Counts:
        mask = self.dataset.mask(index)
        return cv2.calcHist([mask], [0], None, [IGNORE_INDEX], [0, IGNORE_INDEX]).astype(np.int64).ravel()
