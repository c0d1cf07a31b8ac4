"""Bilinear resizing of score maps: the one interpolation of loss, inference and metric."""

from torch import Tensor
from torch.nn import functional as F


def upsample(scores: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Resize score maps bilinearly, in float32 or better.

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
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=align_corners)
