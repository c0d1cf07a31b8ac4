"""The loss and the training accuracy in their published form."""

from typing import Any, ClassVar

import pytest
import torch
from torch.nn import functional as F

from fcn_lightning import training
from fcn_lightning.training.losses import PixelCrossEntropy, repeatable_cross_entropy


def test_golden_values(golden: dict[str, Any]) -> None:
    case = golden["cross_entropy"]
    logits = torch.tensor(case["logits_class_major"], dtype=torch.float64)[None]
    mask = torch.tensor(case["label"])[None]
    loss, acc_seg = PixelCrossEntropy(align_corners=False)(logits, mask)
    assert loss.item() == pytest.approx(case["sum_over_4"], rel=1e-7)
    assert loss.item() != pytest.approx(case["torch_default_mean_over_3"], rel=0.1)
    assert acc_seg.item() * 100 == case["acc_seg_v0_all_pixels"]
    assert loss.item() * 0.4 == pytest.approx(case["aux_loss_weight_0_4"], rel=1e-6)


def test_an_all_ignored_crop_is_zero_and_has_a_zero_gradient() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss, acc_seg = PixelCrossEntropy(align_corners=False)(logits, torch.full((2, 32, 32), 255))
    loss.backward()
    assert loss.item() == acc_seg.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("align_corners", [False, True])
def test_logits_are_resized_to_the_mask_and_ignored_pixels_lower_the_gradient(align_corners: bool) -> None:
    logits = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    mask = torch.randint(0, 3, (2, 33, 49))
    mask[:, :11] = 255
    loss, _ = PixelCrossEntropy(align_corners=align_corners)(logits, mask)
    full = F.interpolate(logits, (33, 49), mode="bilinear", align_corners=align_corners)
    per_pixel = F.cross_entropy(full, mask, ignore_index=255, reduction="none")
    torch.testing.assert_close(loss, per_pixel.mean())
    (ours,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (theirs,) = torch.autograd.grad(F.cross_entropy(full, mask, ignore_index=255), logits)
    torch.testing.assert_close(ours, theirs * (mask != 255).double().mean())


def test_half_precision_logits_give_a_float32_loss() -> None:
    loss, _ = PixelCrossEntropy(align_corners=False)(torch.randn(1, 3, 8, 8).bfloat16(), torch.zeros(1, 8, 8, dtype=torch.long))
    assert loss.dtype == torch.float32


def test_class_weights_multiply_the_pixels_and_leave_the_number_they_are_divided_by() -> None:
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.randint(0, 3, (2, 4, 4))
    mask[0, 0] = 255
    weight = [0.5, 2.0, 10.0]
    loss, acc_seg = PixelCrossEntropy(align_corners=False, class_weight=weight)(logits, mask)
    per_pixel = F.cross_entropy(logits, mask, ignore_index=255, reduction="none")
    factor = torch.tensor([*weight, *[0.0] * 253], dtype=torch.float64)[mask]
    torch.testing.assert_close(loss, (per_pixel * factor).mean())
    unweighted, same_acc = PixelCrossEntropy(align_corners=False)(logits, mask)
    assert loss != unweighted
    assert acc_seg == same_acc


def test_class_weights_are_no_part_of_a_checkpoint_and_move_with_the_module() -> None:
    module = PixelCrossEntropy(align_corners=False, class_weight=[1.0, 2.0])
    assert module.state_dict() == {}
    assert module.to(torch.float64).class_weight.dtype == torch.float64


@pytest.mark.parametrize("class_weight", [None, [0.5, 2.0, 10.0]])
def test_the_repeatable_sum_equals_the_usual_one(class_weight: list[float] | None) -> None:
    logits = torch.randn(2, 3, 16, 24, dtype=torch.float64, requires_grad=True)
    mask = torch.randint(0, 3, (2, 16, 24))
    mask[:, 3] = 255
    weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float64)
    expected = F.cross_entropy(logits, mask, weight, ignore_index=255, reduction="sum")
    actual = repeatable_cross_entropy(logits, mask, weight, ignore_index=255)
    torch.testing.assert_close(actual, expected, rtol=1e-13, atol=0)
    (ours,), (theirs,) = (torch.autograd.grad(loss, logits) for loss in (actual, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-16)


class OnGPU(torch.Tensor):
    """A tensor that says it lies on a GPU, and keeps in mind which sums of cross-entropy it was asked for."""

    is_cuda = True
    reductions: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func is F.cross_entropy:
            cls.reductions.append((kwargs or {})["reduction"])
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("strict", [False, True])
def test_a_gpu_takes_the_repeatable_sum_only_where_results_must_repeat(strict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnGPU, "reductions", [])
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: strict)
    logits, mask = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    on_gpu, _ = PixelCrossEntropy(align_corners=False)(logits.as_subclass(OnGPU), mask)
    assert OnGPU.reductions == ["none" if strict else "sum"]
    monkeypatch.setattr(training.losses, "repeatable_cross_entropy", None)  # a CPU repeats the usual sum
    on_cpu, _ = PixelCrossEntropy(align_corners=False)(logits, mask)
    torch.testing.assert_close(on_gpu.as_subclass(torch.Tensor), on_cpu)
