"""What others would call the same predictions: worked by hand, and against torchmetrics as installed."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.segmentation import MeanIoU

from fcn_lightning.data.dataset import Labels
from fcn_lightning.evaluation.confusion import ConfusionMatrix
from fcn_lightning.evaluation.dialects import Dialect, dialects
from fcn_lightning.evaluation.image_counts import ImageCounts
from fcn_lightning.evaluation.inference import Inference
from fcn_lightning.evaluation.predictor import Card
from fcn_lightning.evaluation.scores import scores
from fcn_lightning.reporting.console import dialect_table
from fcn_lightning.reporting.record import write_scores
from fcn_lightning.training.losses import LossWeights
from fcn_lightning.training.optimizers import SGD
from fcn_lightning.training.schedules import PolySchedule
from fcn_lightning.training.task import SegmentationTask

# Four classes: 3 is nowhere, 2 is in the second image alone, and the third image is all 0. Intersection / union by hand:
#   image 0   class 0: 3/5     class 1: 2/4                    mIoU (3/5 + 1/2) / 2       = 11/20
#   image 1   class 0: 2/4     class 1: 1/3     class 2: 2/4   mIoU (1/2 + 1/3 + 1/2) / 3 = 4/9
#   image 2   class 0: 8/8                                     mIoU 1
#   summed    class 0: 13/17   class 1: 3/7     class 2: 2/4   sum of the three = (182 + 102 + 119) / 238 = 403/238
MASKS = torch.tensor(
    [[[0, 0, 0, 0], [1, 1, 1, 255]], [[0, 0, 0, 1], [1, 2, 2, 2]], [[0, 0, 0, 0], [0, 0, 0, 0]]],
)
PREDS = torch.tensor(
    [[[0, 0, 0, 1], [1, 1, 0, 0]], [[0, 0, 1, 1], [2, 2, 2, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]],
)
BY_HAND = {
    "mmsegmentation": 403 / 714,  # 403/238 over the 3 classes that occur
    "torchvision": math.nan,  # class 3 is 0/0, and a plain mean keeps it
    "PaddleSeg": 403 / 952,  # (403/238 + 0) over all 4 classes
    "Ultralytics": 403 / 714,  # over the 3 classes in the masks
    "torchmetrics macro Jaccard": 403 / 714,
    "micro Jaccard": 18 / 28,  # (13 + 3 + 2) / (17 + 7 + 4)
    "per-image mean": 359 / 540,  # (99/180 + 80/180 + 180/180) / 3
}


def counted(preds: Tensor, masks: Tensor, classes: int = 4) -> ConfusionMatrix:
    metric = ConfusionMatrix(classes)
    for pred, mask in zip(preds, masks, strict=True):
        metric.update(pred, mask)
    return metric


def image_miou(preds: Tensor, masks: Tensor, classes: int = 4) -> float:
    metric = ImageCounts(classes)
    for index, (pred, mask) in enumerate(zip(preds, masks, strict=True)):
        metric.update(pred, mask, index)
    return metric.counts().image_miou()


def translated(preds: Tensor, masks: Tensor, classes: int = 4) -> dict[str, float]:
    found = dialects(counted(preds, masks, classes).compute(), image_miou(preds, masks, classes))
    return {dialect.name: dialect.miou for dialect in found}


def random_images(seed: int, classes: int, *, ignored: bool) -> tuple[Tensor, Tensor]:
    """Five images; the last class is nowhere, and of each image a random class is missing."""
    rng = np.random.default_rng(seed)
    preds, masks = rng.integers(0, classes - 1, (2, 5, 7, 9))
    for pred, mask, missing in zip(preds, masks, rng.integers(0, classes - 1, 5), strict=True):
        pred[pred == missing] = mask[mask == missing] = (missing + 1) % (classes - 1)
    if ignored:
        masks[rng.random(masks.shape) < 0.2] = 255
        masks[rng.integers(5)] = 255
    return torch.from_numpy(preds), torch.from_numpy(masks)


def mean_over_images(preds: Tensor, masks: Tensor, classes: int) -> float:
    """Average images in numpy, from sets of pixels."""
    means = []
    for pred, mask in zip(preds.numpy(), masks.numpy(), strict=True):
        valid = mask != 255
        pairs = [((pred == k) & valid, (mask == k) & valid) for k in range(classes)]
        ious = [(a & b).sum() / (a | b).sum() for a, b in pairs if (a | b).any()]
        means += [np.mean(ious)] if ious else []
    return float(np.mean(means))


def test_each_dialect_by_hand() -> None:
    assert translated(PREDS, MASKS) == pytest.approx(BY_HAND, rel=1e-12, nan_ok=True)


def test_without_an_absent_class_the_sums_agree() -> None:
    result = translated(PREDS, MASKS, classes=3)
    for name in ("mmsegmentation", "torchvision", "PaddleSeg", "Ultralytics", "torchmetrics macro Jaccard"):
        assert result[name] == pytest.approx(403 / 714, rel=1e-12)


def test_a_class_that_is_only_predicted() -> None:
    confmat = torch.tensor([[2, 0, 1], [0, 1, 0], [0, 0, 0]])  # IoU 2/3, 1, 0
    result = {dialect.name: dialect.miou for dialect in dialects(confmat, 0.25)}
    assert result == pytest.approx(
        {
            "mmsegmentation": 5 / 9,
            "torchvision": 5 / 9,
            "PaddleSeg": 5 / 9,
            "Ultralytics": 5 / 6,  # class 2 is in no mask: (2/3 + 1) / 2
            "torchmetrics macro Jaccard": 5 / 9,
            "micro Jaccard": 3 / 5,  # (2 + 1 + 0) / (3 + 1 + 1)
            "per-image mean": 0.25,
        }
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(3, 9), ignored=st.booleans())
def test_jaccard_is_what_torchmetrics_gives(seed: int, classes: int, ignored: bool) -> None:
    preds, masks = random_images(seed, classes, ignored=ignored)
    result = translated(preds, masks, classes)
    for name, average in (("torchmetrics macro Jaccard", "macro"), ("micro Jaccard", "micro")):
        theirs = MulticlassJaccardIndex(classes, average=average, ignore_index=255)  # type: ignore[arg-type]
        for pred, mask in zip(preds, masks, strict=True):
            theirs.update(pred, mask)
        assert result[name] == pytest.approx(theirs.compute().item(), rel=1e-5), "theirs is float32"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(3, 9), ignored=st.booleans())
def test_mean_over_images(seed: int, classes: int, ignored: bool) -> None:
    preds, masks = random_images(seed, classes, ignored=ignored)
    by_images = translated(preds, masks, classes)["per-image mean"]
    assert by_images == pytest.approx(mean_over_images(preds, masks, classes), rel=1e-12)
    if not ignored:  # torchmetrics' own mean over images knows no ignored pixels
        theirs = MeanIoU(classes, input_format="index")
        theirs.update(preds, masks)
        assert by_images == pytest.approx(theirs.compute().item(), rel=1e-5)


def test_a_batch_counts_as_its_images() -> None:
    preds, masks = random_images(1, 5, ignored=True)
    one, many = ConfusionMatrix(5), counted(preds, masks, 5)
    one.update(preds, masks)
    assert one.compute().equal(many.compute())


def test_an_image_without_labelled_pixels_has_no_say() -> None:
    assert image_miou(PREDS[1:2], MASKS[1:2]) == pytest.approx(4 / 9)
    masks = torch.cat([MASKS[1:2], torch.full_like(MASKS[:1], 255)])
    assert image_miou(PREDS[:2].flip(0), masks) == pytest.approx(4 / 9)
    assert math.isnan(image_miou(PREDS[:1], torch.full_like(MASKS[:1], 255)))


def test_nothing_labelled_is_what_each_project_makes_of_it() -> None:
    result = translated(PREDS, torch.full_like(MASKS, 255))
    assert {name for name, miou in result.items() if math.isnan(miou)} == {
        "mmsegmentation", "torchvision", "torchmetrics macro Jaccard", "per-image mean"
    }  # fmt: skip
    assert {miou for miou in result.values() if not math.isnan(miou)} == {0.0}


def test_a_validation_keeps_its_dialects() -> None:
    labels = Labels(classes=("a", "b", "c", "d"), palette=((0, 0, 0),) * 4, values=(0, 1, 2, 3), ignored=(255,))
    model = {"depth": 18, "deep_stem": False, "output_stride": 8, "head_dilation": 1, "dropout": 0.1, "align_corners": False}
    card = Card(model, "none", labels, (32, 32), Inference())
    torch.manual_seed(0)
    schedule = PolySchedule(max_steps=1, val_interval=1, power=0.9, min_lr=0.0)
    task = SegmentationTask(card.build(), card, schedule=schedule, optimizer=SGD(0.01, 0, 0), loss=LossWeights(0.4))
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    images = [{"images": [torch.randn(1, 3, 32, 32)], "mask": torch.randint(0, 3, (24, 40)), "index": index} for index in range(2)]

    def validate(*samples: dict[str, Any]) -> dict[str, float]:
        trainer.validate(task, DataLoader(samples, batch_size=None), verbose=False)  # type: ignore[arg-type]
        assert task.dialects is not None
        return {dialect.name: dialect.miou for dialect in task.dialects}

    first, second, both = validate(images[0]), validate(images[1]), validate(*images)
    assert task.scores is not None
    assert both["mmsegmentation"] == task.scores.miou
    assert both["per-image mean"] == pytest.approx((first["mmsegmentation"] + second["mmsegmentation"]) / 2)


def test_table() -> None:
    lines = dialect_table([Dialect("one", 0.5, "because"), Dialect("a longer name", math.nan, "why not")]).splitlines()
    assert lines == [
        "counted as in    mIoU  why",
        "one             50.00  because",
        "a longer name     nan  why not",
    ]


def test_reasons_are_one_line_each() -> None:
    found = dialects(counted(PREDS, MASKS).compute(), 0.5)
    lines = dialect_table(found).splitlines()[1:]
    assert len(lines) == len(found) == len(BY_HAND)
    starts = {line.index(dialect.reason) for line, dialect in zip(lines, found, strict=True)}
    assert len(starts) == 1, "they are aligned"


def test_scores_json(tmp_path: Path) -> None:
    metric = counted(PREDS, MASKS)
    result = scores(metric.compute())
    write_scores(tmp_path / "plain.json", result, tuple("abcd"), loss=1.0)
    write_scores(
        tmp_path / "all.json", result, tuple("abcd"), loss=1.0, dialects=dialects(metric.compute(), image_miou(PREDS, MASKS))
    )
    plain, full = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "all"))
    assert full.pop("dialects") == pytest.approx(BY_HAND | {"torchvision": None})
    assert full == plain
