"""The draws and the arithmetic of each pipeline step, on plain arrays; `transforms.py` makes albumentations transforms of them.

Each random step draws its parameters in one function and applies them in another, so recorded draws can be replayed.
Sizes are (height, width) in pixels, except a base scale, which is the (width, height) of published configurations.

Source of all steps: open-mmlab/mmsegmentation, mmseg/datasets/pipelines/transforms.py of release 0.11.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from fcn_lightning.data.images import UInt8

Scale = tuple[int, int]
Box = tuple[int, int, int, int]

MEAN = (123.675, 116.28, 103.53)  # of ImageNet, RGB, 0 to 255
STD = (58.395, 57.12, 57.375)

CAT_MAX_RATIO = 0.75  # a crop has two classes at least, and each below this share of the labelled pixels
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


def draw_crop(
    draws: Draws, size: tuple[int, int], crop_size: tuple[int, int], labels_in: Callable[[Box], UInt8]
) -> tuple[Box, UInt8]:
    """Draw a crop in which no class fills three quarters of the labelled pixels, if ten tries find one.

    Args:
        draws: where random numbers come from; y is drawn before x.
        size: height and width of the image to crop from.
        crop_size: height and width; where the image is smaller, the crop is as small.
        labels_in: gives the mask inside a box, 255 ignored; only what is tried needs to be computed.

    Returns:
        y1, y2, x1, x2 (ends excluded), and the mask inside.
    """
    for _ in range(CROP_TRIES):
        box = _draw_box(draws, size, crop_size)
        labels = labels_in(box)
        counts = cv2.calcHist([labels], [0], None, [256], [0, 256])[:255]  # float32, exact below 2**24 pixels
        if np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < CAT_MAX_RATIO:
            return box, labels
    box = _draw_box(draws, size, crop_size)
    return box, labels_in(box)


def _draw_box(draws: Draws, size: tuple[int, int], crop_size: tuple[int, int]) -> Box:
    y1 = int(draws.integers(0, max(size[0] - crop_size[0], 0) + 1))
    x1 = int(draws.integers(0, max(size[1] - crop_size[1], 0) + 1))
    return y1, min(y1 + crop_size[0], size[0]), x1, min(x1 + crop_size[1], size[1])


def draw_flip(draws: Draws) -> bool:
    """Draw whether to mirror, with probability one half."""
    return bool(draws.uniform(0, 1) < 0.5)


def apply_flip(pixels: UInt8, flip: bool) -> UInt8:
    """Mirror (H, W) or (H, W, 3) left to right, or not; the result lies in one piece either way."""
    return cv2.flip(pixels, 1).astype(np.uint8, copy=False) if flip else np.ascontiguousarray(pixels)


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
    early_contrast = draw.contrast if draw.contrast_first else None
    if draw.brightness is not None and early_contrast is None:
        image = _brightened(image, draw.brightness)
    elif early_contrast is not None:
        brighter = IDENTITY if draw.brightness is None else _linear(IDENTITY, 1.0, draw.brightness)
        image = _look_up(image, _linear(brighter, early_contrast, 0.0))
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


def _brightened(image: UInt8, offset: float) -> UInt8:
    """Add an offset: as a saturating sum of whole numbers, seven times as fast as a table, wherever that is the same."""
    table, shift = _linear(IDENTITY, 1.0, offset), np.floor(offset)
    if not np.array_equal(table, np.clip(IDENTITY + shift, 0, 255)):
        return _look_up(image, table)
    flat = image.reshape(image.shape[0], -1)  # OpenCV adds a number to the first channel alone
    brighter = cv2.add(flat, shift) if shift > 0 else cv2.subtract(flat, -shift)
    return brighter.reshape(image.shape).astype(np.uint8, copy=False)


def _look_up(pixels: UInt8, table: UInt8) -> UInt8:
    return cv2.LUT(pixels, table).astype(np.uint8, copy=False)  # OpenCV's types do not carry the dtype


def _in_hsv(image: UInt8, channel: int, table: UInt8) -> UInt8:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    cv2.insertChannel(_look_up(cv2.extractChannel(hsv, channel).astype(np.uint8, copy=False), table), hsv, channel)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.uint8, copy=False)


def resize(image: UInt8, scale: Scale) -> UInt8:
    """Resize (H, W, 3) to fit a scale, keeping the aspect ratio: bilinearly, without antialiasing."""
    height, width = keep_ratio_size((image.shape[0], image.shape[1]), scale)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
