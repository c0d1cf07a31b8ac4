"""How fast one thread makes training samples of a given image."""

import statistics
import time
from pathlib import Path
from typing import Any

import cv2
import torch

from fcn_lightning.data.cache import SampleCache
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.dataset import SegmentationDataset
from fcn_lightning.data.pairs import Pair


def time_pipeline(datamodule: SegmentationDataModule, image: Path, label: Path, *, repeat: int) -> dict[str, Any]:
    """Time the training pipeline from files to the uint8 crop and mask, as a loader process runs it.

    Args:
        datamodule: whose settings, labels and kind of cache are used; its own files are not.
        image: to be read for every sample.
        label: its mask.
        repeat: samples that are timed, each augmented anew; one before them fills the cache and is not.

    Returns:
        median_s, min_s, max_s and repeat; images_per_s_per_core is one over the median.

    Raises:
        InputError: a file is missing or broken, or the mask holds values that the data set does not know.
    """
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    # As many samples as are read, so that they are one pass over the data.
    dataset = SegmentationDataset([Pair(image, label)] * (repeat + 1), datamodule.labels_of(label))
    dataset[0]  # what is wrong with the files is said before the cache is made
    datamodule.train_data = SampleCache(datamodule.cache).over(dataset)
    samples = datamodule.train_samples()
    samples[0]
    times = []
    for position in range(1, repeat + 1):
        start = time.perf_counter()
        samples[position]
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    return {
        "median_s": median,
        "min_s": min(times),
        "max_s": max(times),
        "repeat": repeat,
        "images_per_s_per_core": 1 / median,
    }
