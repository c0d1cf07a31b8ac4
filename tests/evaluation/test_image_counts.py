"""Counts of single images, in one process and in several, against counts by hand."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch import distributed as dist
from torch import multiprocessing as mp

from fcn_lightning.evaluation.confusion import ConfusionMatrix
from fcn_lightning.evaluation.image_counts import Counts, ImageCounts

CLASSES = 4
FIELDS = ("index", "intersect", "pred", "true")


def sample(index: int) -> tuple[Tensor, Tensor]:
    """Draw label maps of a size of their own, with ignored pixels; class 3 only ever is predicted."""
    rng = torch.Generator().manual_seed(index)
    size = (5 + index, 7)
    mask = torch.randint(0, CLASSES - 1, size, generator=rng)
    mask[0] = 255
    return torch.randint(0, CLASSES, size, generator=rng), mask


def by_hand(indices: list[int]) -> Counts:
    rows: list[list[list[int]]] = []
    for index in indices:
        pred, mask = sample(index)
        counted = mask != 255
        columns = ((pred == mask) & counted, counted, counted)
        labels = (mask, pred, mask)
        rows.append(
            [
                [int(((label == number) & where).sum()) for number in range(CLASSES)]
                for label, where in zip(labels, columns, strict=True)
            ]
        )
    table = torch.tensor(rows).reshape(-1, 3, CLASSES)
    return Counts(torch.tensor(indices, dtype=torch.int64), *table.unbind(1))


def assert_equal(ours: Counts, expected: Counts) -> None:
    for field in FIELDS:
        assert getattr(ours, field).dtype == torch.int64
        assert getattr(ours, field).tolist() == getattr(expected, field).tolist(), field


@pytest.mark.parametrize("indices", [[0], [0, 1, 2], [7, 3, 5]], ids=str)
def test_each_image_is_counted_by_itself(indices: list[int]) -> None:
    metric = ImageCounts(CLASSES)
    for index in indices:
        metric.update(*sample(index), index)
    assert_equal(metric.counts(), by_hand(sorted(indices)))


def test_the_sum_is_that_of_the_confusion_matrix() -> None:
    metric, confusion = ImageCounts(CLASSES), ConfusionMatrix(CLASSES)
    for index in range(5):
        pred, mask = sample(index)
        metric.update(pred, mask.to(torch.uint8), index)
        confusion.update(pred, mask)
    counts, confmat = metric.counts(), confusion.compute()
    assert counts.intersect.sum(0).tolist() == confmat.diagonal().tolist()
    assert counts.pred.sum(0).tolist() == confmat.sum(0).tolist()
    assert counts.true.sum(0).tolist() == confmat.sum(1).tolist()


def test_starts_again() -> None:
    metric = ImageCounts(CLASSES)
    metric.update(*sample(0), 0)
    assert len(metric.counts().index) == 1
    metric.reset()
    metric.update(*sample(2), 2)
    assert_equal(metric.counts(), by_hand([2]))


def test_no_images() -> None:
    with pytest.warns(UserWarning, match="before the ``update``"):
        counts = ImageCounts(CLASSES).counts()
    assert [getattr(counts, field).shape for field in FIELDS] == [(0,), (0, CLASSES), (0, CLASSES), (0, CLASSES)]


def test_an_image_that_is_counted_twice_is_an_error() -> None:
    metric = ImageCounts(CLASSES)
    for index in (4, 2, 4):
        metric.update(*sample(index), index)
    with pytest.raises(ValueError, match="image 4 was counted twice"):
        metric.counts()


def gather(rank: int, folder: str) -> None:
    """Count this process's share of five images, then of one, which leaves the second process without any."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60))
    metric = ImageCounts(CLASSES)
    results = []
    for number in (5, 1):
        for index in range(rank, number, 2):
            metric.update(*sample(index), index)
        results.append(metric.counts())
        metric.reset()
    torch.save([{field: getattr(counts, field) for field in FIELDS} for counts in results], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_processes_gather_all_images(tmp_path: Path) -> None:
    mp.spawn(gather, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        results = [Counts(**counts) for counts in torch.load(tmp_path / f"{rank}.pt")]
        for counts, indices in zip(results, ([0, 1, 2, 3, 4], [0]), strict=True):
            assert_equal(counts, by_hand(indices))
