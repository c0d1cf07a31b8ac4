"""Bilinear resizing of score maps: the one interpolation of loss, inference and metric."""

import torch
from torch import Tensor
from torch.nn import functional as F


def upsample(scores: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Resize score maps bilinearly, in float32 or better.

    Where PyTorch is told to repeat its results, a GPU takes `matrix_upsample`: the gradient of its usual kernel is added up
    in an order that changes, and what PyTorch puts in its place sorts all pixels.

    Args:
        scores: (B, K, h, w).
        size: height and width to reach, in pixels.
        align_corners: true for the rows trained on 769x769 crops, false for all others.

    Returns:
        (B, K, *size); the input itself where it has that size already.

    Source: open-mmlab/mmsegmentation, `resize` in mmseg/models/utils/wrappers.py.
    """
    if scores.shape[-2:] == size:
        return scores
    if scores.dtype.itemsize < 4:  # half-precision scores would lose the argmax of close classes
        scores = scores.float()
    if scores.is_cuda and torch.are_deterministic_algorithms_enabled():
        return matrix_upsample(scores, size, align_corners=align_corners)
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=align_corners)


def matrix_upsample(scores: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Resize as `upsample` does, up to rounding, by one matrix product along each side.

    Args:
        scores: (B, K, h, w), float32 or float64.
        size: height and width to reach, in pixels.
        align_corners: whether the centres of the corner pixels, or else the outer borders, stay in place.

    Returns:
        (B, K, *size), in the type of the scores also under autocast.
    """
    rows, columns = (
        _weights(length, target, scores.device, align_corners=align_corners).to(scores.dtype)
        for length, target in zip(scores.shape[-2:], size, strict=True)
    )
    with torch.autocast(scores.device.type, enabled=False):  # it would multiply in half precision
        return rows @ (scores @ columns.T)


def _weights(length: int, target: int, device: torch.device, *, align_corners: bool) -> Tensor:
    """Return what each of `length` pixels counts in each of `target` pixels, (target, length) float64."""
    position = torch.arange(target, dtype=torch.float64, device=device)
    if align_corners:
        position *= (length - 1) / max(target - 1, 1)
    else:
        position = (position + 0.5) * (length / target) - 0.5
    distance = position.clamp(0, length - 1)[:, None] - torch.arange(length, dtype=torch.float64, device=device)
    return (1 - distance.abs()).clamp_min(0)
