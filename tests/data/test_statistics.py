"""Class counts by an independent computation, and the weights by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from fcn_lightning import InputError
from fcn_lightning.config import build, compose
from fcn_lightning.data import statistics
from fcn_lightning.data.dataset import Labels, SegmentationDataset
from fcn_lightning.data.images import write_png
from fcn_lightning.data.pairs import Pair

LABELS = Labels(("a", "b", "c", "d"), ((0, 0, 0),) * 4, (0, 1, 2, 3))
MASKS = ([[0, 0, 0, 1], [255, 255, 255, 255]], [[0, 2, 2, 2], [1, 1, 255, 255]], [[0] * 4] * 2)


@pytest.fixture
def dataset(tmp_path: Path) -> SegmentationDataset:
    pairs = [Pair(tmp_path / f"{number}.jpg", tmp_path / f"{number}.png") for number in range(len(MASKS))]
    for pair, mask in zip(pairs, MASKS, strict=True):
        write_png(pair.mask, np.array(mask, np.uint8))
    return SegmentationDataset(pairs, LABELS)


@pytest.mark.parametrize("workers", [0, 2])
def test_counts(dataset: SegmentationDataset, workers: int) -> None:
    result = statistics.count(dataset, workers=workers)
    assert result.pixels.tolist() == [12, 3, 3, 0]
    assert result.images.tolist() == [3, 2, 1, 0]
    assert result.pixels_where_present.tolist() == [18, 10, 6, 0]
    assert result.pixel_frequency.tolist() == pytest.approx([12 / 18, 3 / 18, 3 / 18, 0])
    assert result.image_frequency.tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_weights_by_hand(dataset: SegmentationDataset) -> None:
    # Frequencies where present: 12/18, 3/10, 3/6; their median is 1/2.
    expected = [0.5 / (12 / 18), 0.5 / 0.3, 1, 1]
    assert statistics.class_weight("median_frequency", dataset, workers=0) == pytest.approx(expected)
    expected = [1 / math.log(1.02 + share) for share in (12 / 18, 3 / 18, 3 / 18, 0)]
    assert statistics.class_weight("inverse_log", dataset, workers=0) == pytest.approx(expected)
    assert statistics.class_weight([1, 2, 0, 0.5], dataset, workers=0) == [1, 2, 0, 0.5]
    assert statistics.class_weight("none", dataset, workers=0) is None


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("median", r"class_weight=median is not known; use none, median_frequency, inverse_log, or a list of numbers"),
        ([1, 2, 3], r"has 3 numbers, .*give one from 0 for each of the 4 classes"),
        ([1, 2, 3, -1], r"has 4 numbers, the smallest -1\.0"),
        ([0, 0, 0, 0], r"has 4 numbers, the smallest 0\.0"),
    ],
    ids=str,
)
def test_what_is_no_weight_is_refused(dataset: SegmentationDataset, choice: str | list[float], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        statistics.class_weight(choice, dataset, workers=0)


def test_drawn_scenes_are_counted_too() -> None:
    data = build(compose("dataset=shapes").dataset).build("val")
    result = statistics.count(data, workers=0)
    expected = np.stack([np.bincount(data[index][1].ravel(), minlength=9) for index in range(len(data))])
    assert result.pixels.tolist() == expected.sum(0).tolist()
