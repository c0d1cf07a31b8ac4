"""Whole-image, sliding-window and multi-scale + flip inference.

Letters in shapes: K classes, H W size of the original image, h w size of the (resized) network input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from fcn_lightning import InputError
from fcn_lightning.models.upsample import upsample

Size = tuple[int, int]
Box = tuple[int, int, int, int]
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Network(Protocol):
    """What inference needs of a model: low-resolution logits, and how they are to be resized."""

    align_corners: bool

    def __call__(self, image: Tensor) -> Tensor:
        """Map (1, 3, h, w) to logits (1, K, h', w')."""


@dataclass(frozen=True)
class Inference:
    """How label maps are made: the "test mode" of a published row.

    Args:
        mode: "whole" image at once, or "slide" windows over it.
        crop_size: height and width of a window; slide only.
        stride: vertical and horizontal step between windows; slide only.
        tta: "none", or "ms_flip" for six scales, each also mirrored.
        precision: "fp32", or "bf16" for the network (scores are resized and compared in fp32 either way).
        pad_windows: fill windows that reach beyond a small image with zeros instead of making them smaller; slide only.
            The first release did, so the ms+flip figures of the rows of June 2020 rest on it.

    Raises:
        InputError: a value is not one of these, or does not go with the mode.
    """

    mode: str = "whole"
    crop_size: Size | None = None
    stride: Size | None = None
    tta: str = "none"
    precision: str = "fp32"
    pad_windows: bool = False

    def __post_init__(self) -> None:
        """Check the values, and make the sizes tuples."""
        for key, value, known in (
            ("inference.mode", self.mode, ("whole", "slide")),
            ("tta", self.tta, ("none", "ms_flip")),
            ("inference.precision", self.precision, tuple(PRECISIONS)),
        ):
            if value not in known:
                raise InputError(f"{key}={value} is not known; use {' or '.join(known)}")
        sizes = (self.crop_size, self.stride)
        if (self.mode == "slide") != all(size is not None for size in sizes) or (self.mode == "whole" and any(sizes)):
            raise InputError("inference.crop_size and inference.stride go with inference.mode=slide; set all three or none")
        for name in ("crop_size", "stride"):
            size = getattr(self, name)
            if size is not None and len(size) != 2:
                raise InputError(f"inference.{name}={list(size)} is not a pair; give [height, width]")
            object.__setattr__(self, name, None if size is None else (int(size[0]), int(size[1])))
        if self.crop_size and self.stride and any(s < 1 or s > c for s, c in zip(self.stride, self.crop_size, strict=True)):
            raise InputError(f"inference.stride={self.stride} must be between 1 and inference.crop_size={self.crop_size}")

    @property
    def ms_flip(self) -> bool:
        """Whether images are tested at several scales and mirrored."""
        return self.tta == "ms_flip"


def predict_scores(model: Network, images: Sequence[Tensor], size: Size, how: Inference) -> Tensor:
    """Score every pixel of one image.

    Args:
        model: in evaluation mode.
        images: the normalised image at each scale, (1, 3, h, w) each; one for `tta=none`.
        size: height and width of the original image.
        how: the test mode.

    Returns:
        (1, K, H, W), float32: logits for one scale; for ms+flip the mean of the softmax probabilities
        over all scales and mirrorings. The argmax is the label map.

    Source: open-mmlab/mmsegmentation, `EncoderDecoder.inference` and `aug_test` of release 0.11.
    """
    with torch.autocast(images[0].device.type, PRECISIONS[how.precision], enabled=how.precision != "fp32"):
        if not how.ms_flip:
            return _logits(model, images[0], size, how)
        total: Tensor | None = None
        for image in images:
            straight = _logits(model, image, size, how).softmax(1)
            mirrored = _logits(model, image.flip(3), size, how).softmax(1).flip(3)
            total = straight + mirrored if total is None else total + straight + mirrored
        if total is None:
            raise ValueError("no images to score")
        return total / (2 * len(images))


def log_scores(scores: Tensor, how: Inference) -> Tensor:
    """Turn scores into logits whose softmax is the prediction, for a loss."""
    return scores.clamp_min(torch.finfo(scores.dtype).tiny).log() if how.ms_flip else scores


def _logits(model: Network, image: Tensor, size: Size, how: Inference) -> Tensor:
    if how.crop_size and how.stride:
        logits = slide_logits(model, image, how.crop_size, how.stride, pad_windows=how.pad_windows)
    else:
        logits = whole_logits(model, image)
    return upsample(logits, size, align_corners=model.align_corners).float()


def whole_logits(model: Network, image: Tensor) -> Tensor:
    """Map (1, 3, h, w) to logits (1, K, h, w).

    They are resized to the network input's size first and to the original's by the caller: two
    interpolations, as published; a single one differs wherever the two sizes do.
    """
    height, width = image.shape[-2:]
    return upsample(model(image), (height, width), align_corners=model.align_corners)


def slide_logits(model: Network, image: Tensor, crop_size: Size, stride: Size, *, pad_windows: bool = False) -> Tensor:
    """Average the logits of overlapping windows that cover the image together.

    Args:
        model: in evaluation mode.
        image: (1, 3, h, w); where it is smaller than a window, the window is as small, without padding.
        crop_size: height and width of a window.
        stride: vertical and horizontal step.
        pad_windows: give the network full-size windows even so, with zeros to the right and below.

    Returns:
        (1, K, h, w), averaged before any softmax.

    Source: open-mmlab/mmsegmentation, `EncoderDecoder.slide_inference`.
    """
    height, width = image.shape[-2:]
    total: Tensor | None = None
    count = image.new_zeros((1, 1, height, width), dtype=torch.float32)
    for y1, x1, y2, x2 in slide_windows((height, width), crop_size, stride):
        part = image[:, :, y1:y2, x1:x2]
        if pad_windows:
            part = F.pad(part, (0, crop_size[1] - part.shape[3], 0, crop_size[0] - part.shape[2]))
        window = whole_logits(model, part)[:, :, : y2 - y1, : x2 - x1]
        if total is None:
            total = window.new_zeros((1, window.shape[1], height, width), dtype=torch.promote_types(window.dtype, torch.float32))
        total[:, :, y1:y2, x1:x2] += window
        count[:, :, y1:y2, x1:x2] += 1
    if total is None:
        raise ValueError(f"an image of {height}x{width} has no windows")
    return total / count


def slide_windows(size: Size, crop_size: Size, stride: Size) -> list[Box]:
    """List the windows y1, x1, y2, x2 that cover an image; the last of a row or column is shifted back inside."""
    spans = [_spans(*lengths) for lengths in zip(size, crop_size, stride, strict=True)]
    return [(y1, x1, y2, x2) for y1, y2 in spans[0] for x1, x2 in spans[1]]


def _spans(length: int, crop: int, stride: int) -> list[tuple[int, int]]:
    number = max(length - crop + stride - 1, 0) // stride + 1
    ends = [min(index * stride + crop, length) for index in range(number)]
    return [(max(end - crop, 0), end) for end in ends]
