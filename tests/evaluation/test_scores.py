"""The confusion matrix and the scores against golden values and independent counts."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_lightning.evaluation.confusion import ConfusionMatrix
from fcn_lightning.evaluation.scores import scores


def test_golden_scores(golden: dict[str, Any]) -> None:
    case = golden["iou"]
    metric = ConfusionMatrix(case["num_classes"])
    metric.update(torch.tensor(case["pred"]), torch.tensor(case["gt"]))
    confmat = metric.compute()
    assert confmat.dtype == torch.int64
    assert confmat.diagonal().tolist() == case["intersect"]
    result = scores(confmat)
    np.testing.assert_allclose(result.iou, case["IoU"], rtol=1e-6)  # the reference's are float32
    np.testing.assert_allclose(result.acc, case["Acc"], rtol=1e-6)
    assert (result.miou, result.macc, result.aacc) == pytest.approx((case["mIoU"], case["mAcc"], case["aAcc"]), rel=1e-6)
    assert result.aacc == 11 / 14
    assert str(result) == "mIoU 0.656 mAcc 0.822 aAcc 0.786"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 12))
def test_counts_equal_a_count_by_hand(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    pred, mask = rng.integers(0, classes, (2, 9, 11))
    mask[rng.random(mask.shape) < 0.2] = 255
    metric = ConfusionMatrix(classes)
    metric.update(torch.from_numpy(pred), torch.from_numpy(mask.astype(np.uint8)))
    by_hand = [[int(((mask == true) & (pred == said)).sum()) for said in range(classes)] for true in range(classes)]
    assert metric.compute().tolist() == by_hand


def test_images_are_summed_before_dividing() -> None:
    metric = ConfusionMatrix(2)
    metric.update(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 0]))
    metric.update(torch.tensor([1]), torch.tensor([1]))
    assert scores(metric.compute()).iou.tolist() == [3 / 4, 1 / 2]


def test_absent_and_only_predicted_classes() -> None:
    metric = ConfusionMatrix(3)
    metric.update(torch.tensor([0, 1]), torch.tensor([0, 0]))
    result = scores(metric.compute())
    assert result.iou[:2].tolist() == [0.5, 0.0], "a class that is only predicted counts as 0"
    assert result.iou[2].isnan()
    assert result.acc[1:].isnan().all()
    assert (result.miou, result.macc) == (0.25, 0.5)


def test_deterministic_mode_needs_no_more_memory() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        metric = ConfusionMatrix(150)
        metric.update(torch.zeros(512, 512, dtype=torch.long), torch.full((512, 512), 149))
        assert metric.compute()[149, 0] == 512 * 512
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("value", [3, 254, -1])
def test_a_label_out_of_range_is_an_error(value: int) -> None:
    with pytest.raises(ValueError, match=f"label {value} is out of range for 3 classes"):
        ConfusionMatrix(3).update(torch.tensor([0, 1]), torch.tensor([0, value]))


def test_a_prediction_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        ConfusionMatrix(3).update(torch.tensor([0, 3]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="does not fit"):
        ConfusionMatrix(3).update(torch.tensor([0]), torch.tensor([0, 1]))
