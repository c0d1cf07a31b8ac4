"""The draws and the arithmetic of each pipeline step, on plain arrays; `transforms.py` makes albumentations transforms of them.

Each random step draws its parameters in one function and applies them in another, so recorded draws can be replayed.
Sizes are (height, width) in pixels, except a base scale, which is the (width, height) of published configurations.

Source of all steps: open-mmlab/mmsegmentation, mmseg/datasets/pipelines/transforms.py of release 0.11.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from fcn_lightning.data.images import UInt8

Scale = tuple[int, int]
Box = tuple[int, int, int, int]
Float32 = NDArray[np.float32]

MEAN = (123.675, 116.28, 103.53)  # of ImageNet, RGB, 0 to 255
STD = (58.395, 57.12, 57.375)

CAT_MAX_RATIO = 0.75  # a crop has two classes at least, and each below this share of the labelled pixels
# (1, 256, 3): what each value of each channel becomes, in the reference's arithmetic: float32, a division.
_VALUES = np.arange(256, dtype=np.float32)[:, None]
NORMALIZED: Float32 = ((_VALUES - np.array(MEAN, np.float32)) / np.array(STD, np.float32)).astype(np.float32)[None]
IDENTITY = np.arange(256, dtype=np.uint8)
CROP_TRIES = 10  # boxes tested for class balance; the one after that is taken as it is


class Draws(Protocol):
    """Where random numbers come from: numpy's Generator, or a replay of recorded ones."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""

    def integers(self, low: int, high: int) -> Any:
        """Return an integer in [low, high)."""


def keep_ratio_size(size: tuple[int, int], scale: Scale) -> tuple[int, int]:
    """Return the largest size with the image's aspect ratio whose sides fit the scale's, in either orientation."""
    factor = min(max(scale) / max(size), min(scale) / min(size))
    return int(size[0] * factor + 0.5), int(size[1] * factor + 0.5)


def scaled(base_scale: Scale, ratio: float) -> Scale:
    """Multiply a base scale, truncating as the reference does."""
    return int(base_scale[0] * ratio), int(base_scale[1] * ratio)


def draw_scale(draws: Draws, base_scale: Scale, ratio_range: tuple[float, float]) -> Scale:
    """Draw the scale of one training image."""
    return scaled(base_scale, float(draws.uniform(*ratio_range)))


def draw_crop_box(draws: Draws, mask: UInt8, crop_size: tuple[int, int]) -> Box:
    """Draw a crop in which no class fills three quarters of the labelled pixels, if ten tries find one.

    Args:
        draws: where random numbers come from; y is drawn before x.
        mask: (H, W), 255 ignored.
        crop_size: height and width; where the mask is smaller, the crop is as small.

    Returns:
        y1, y2, x1, x2 (ends excluded).
    """
    for _ in range(CROP_TRIES):
        box = _draw_box(draws, mask.shape, crop_size)
        counts = np.bincount(mask[box[0] : box[1], box[2] : box[3]].ravel(), minlength=256)[:255]
        if np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < CAT_MAX_RATIO:
            return box
    return _draw_box(draws, mask.shape, crop_size)


def _draw_box(draws: Draws, size: tuple[int, ...], crop_size: tuple[int, int]) -> Box:
    y1 = int(draws.integers(0, max(size[0] - crop_size[0], 0) + 1))
    x1 = int(draws.integers(0, max(size[1] - crop_size[1], 0) + 1))
    return y1, min(y1 + crop_size[0], size[0]), x1, min(x1 + crop_size[1], size[1])


@dataclass(frozen=True)
class Photometric:
    """One draw of the photometric distortion; None where a step does not happen."""

    brightness: float | None  # added, -32 to 32
    contrast: float | None  # factor, 0.5 to 1.5
    contrast_first: bool  # before the steps in HSV, or after them
    saturation: float | None  # factor, 0.5 to 1.5
    hue: int | None  # added, -18 to 17, on OpenCV's circle of 180


def draw_photometric(draws: Draws) -> Photometric:
    """Draw each step with probability one half, its parameter only if it happens, in the reference's order."""

    def coin() -> bool:
        return int(draws.integers(0, 2)) == 1

    brightness = float(draws.uniform(-32, 32)) if coin() else None
    contrast_first = coin()
    contrast = None
    if contrast_first and coin():
        contrast = float(draws.uniform(0.5, 1.5))
    saturation = float(draws.uniform(0.5, 1.5)) if coin() else None
    hue = int(draws.integers(-18, 18)) if coin() else None
    if not contrast_first and coin():
        contrast = float(draws.uniform(0.5, 1.5))
    return Photometric(brightness, contrast, contrast_first, saturation, hue)


def apply_photometric(image: UInt8, draw: Photometric) -> UInt8:
    """Distort brightness, contrast, saturation and hue of an RGB image (H, W, 3).

    Every step is a table over 256 values: float32, clipped to 0..255, truncated. The two HSV steps
    convert back and forth one after the other, because the conversion rounds.
    """
    early = IDENTITY
    if draw.brightness is not None:
        early = _linear(early, 1.0, draw.brightness)
    if draw.contrast is not None and draw.contrast_first:
        early = _linear(early, draw.contrast, 0.0)
    image = _look_up(image, early)
    if draw.saturation is not None:
        image = _in_hsv(image, 1, _linear(IDENTITY, draw.saturation, 0.0))
    if draw.hue is not None:
        image = _in_hsv(image, 0, ((IDENTITY.astype(int) + draw.hue) % 180).astype(np.uint8))
    if draw.contrast is not None and not draw.contrast_first:
        image = _look_up(image, _linear(IDENTITY, draw.contrast, 0.0))
    return image


def _linear(values: UInt8, factor: float, offset: float) -> UInt8:
    result: UInt8 = np.clip(values.astype(np.float32) * factor + offset, 0, 255).astype(np.uint8)
    return result


def _look_up(pixels: UInt8, table: UInt8) -> UInt8:
    return cv2.LUT(pixels, table).astype(np.uint8, copy=False)  # OpenCV's types do not carry the dtype


def _in_hsv(image: UInt8, channel: int, table: UInt8) -> UInt8:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., channel] = cv2.LUT(hsv[..., channel], table)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.uint8, copy=False)


def resize(pixels: UInt8, scale: Scale, interpolation: int) -> UInt8:
    """Resize (H, W) or (H, W, 3) to fit a scale, keeping the aspect ratio, with one of OpenCV's interpolations."""
    height, width = keep_ratio_size((pixels.shape[0], pixels.shape[1]), scale)
    return cv2.resize(pixels, (width, height), interpolation=interpolation).astype(np.uint8, copy=False)


def normalize(image: UInt8) -> Float32:
    """Subtract the mean and divide by the standard deviation: (H, W, 3) RGB uint8 to float32.

    Source: open-mmlab/mmsegmentation, `SegDataPreProcessor` of release 1.2.
    """
    return cv2.LUT(image, NORMALIZED).astype(np.float32, copy=False)
