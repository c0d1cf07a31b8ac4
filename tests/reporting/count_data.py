"""Counts of made-up validations, and the files that runs keep of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from fcn_lightning.evaluation.image_counts import Counts
from fcn_lightning.reporting.count_files import write_counts

CLASSES = ("road", "tree", "sign")


def counts(gain: float = 0.0, *, images: int = 60, seed: int = 0) -> Counts:
    """Draw a network's counts; equal seeds mean the same masks, and a gain makes the network better at all but signs."""
    rng = np.random.default_rng(seed)
    true = rng.integers(1000, 50_000, (images, 3))
    better = gain * rng.uniform(0, 2, (images, 1)) * np.array([1, 2, 0])
    accuracy = np.clip(rng.normal([0.9, 0.7, 0.4], 0.05, (images, 3)) + better, 0, 1)
    intersect = (true * accuracy).astype(np.int64)
    return Counts(*map(torch.from_numpy, (np.arange(images), intersect, intersect + (true - intersect) // 2, true)))


def write(path: Path, content: Counts, folder: str = "/data/val", classes: Sequence[str] = CLASSES) -> Path:
    """Write a file as a run does."""
    write_counts(path, content, [f"{folder}/images/{index:03d}.jpg" for index in range(int(content.index.max()) + 1)], classes)
    return path
