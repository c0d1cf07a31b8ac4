"""Resizing: the matrix products that repeat their bits on a GPU give what the usual kernel gives."""

import pytest
import torch
from torch.nn import functional as F

from fcn_lightning.models import upsample as module
from fcn_lightning.models.upsample import matrix_upsample, upsample

SIZES = [((8, 16), (64, 128)), ((97, 97), (769, 769)), ((5, 7), (33, 49)), ((12, 9), (5, 4)), ((1, 3), (7, 1)), ((4, 4), (4, 9))]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("size", "target"), SIZES, ids=str)
def test_matrix_products_equal_the_kernel(size: tuple[int, int], target: tuple[int, int], align_corners: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(1, 2, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    expected = F.interpolate(scores, target, mode="bilinear", align_corners=align_corners)
    actual = matrix_upsample(scores, target, align_corners=align_corners)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-13)
    cotangent = torch.randn(actual.shape, generator=generator, dtype=torch.float64)
    (ours,), (theirs,) = (torch.autograd.grad(out, scores, cotangent) for out in (actual, expected))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    single = matrix_upsample(scores.detach().float(), target, align_corners=align_corners)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=2e-5)


def test_autocast_does_not_round_the_matrix_products() -> None:
    scores = torch.randn(1, 3, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(matrix_upsample(scores, (9, 9), align_corners=False), matrix_upsample_outside(scores))


def matrix_upsample_outside(scores: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        return matrix_upsample(scores, (9, 9), align_corners=False)


def test_a_cpu_takes_the_kernel_also_where_results_must_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    monkeypatch.setattr(module, "matrix_upsample", None)
    scores = torch.randn(1, 3, 5, 5)
    assert torch.equal(
        upsample(scores, (9, 9), align_corners=True), F.interpolate(scores, (9, 9), mode="bilinear", align_corners=True)
    )


class OnGPU(torch.Tensor):
    """A tensor that says it lies on a GPU."""

    is_cuda = True


@pytest.mark.parametrize("strict", [False, True])
def test_a_gpu_takes_the_matrix_products_only_where_results_must_repeat(strict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: strict)
    monkeypatch.setattr(module, "matrix_upsample", lambda scores, size, *, align_corners: taken.append(size) or scores)
    upsample(torch.randn(1, 3, 5, 5).as_subclass(OnGPU), (9, 9), align_corners=False)
    assert taken == ([(9, 9)] if strict else [])
