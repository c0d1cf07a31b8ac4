"""The reference's training and test steps as albumentations transforms: the only module that knows albumentations.

Each random step draws its parameters in one function and applies them in another, so recorded draws can be replayed.
Sizes are (height, width) in pixels, except a base scale, which is the (width, height) of published configurations.

Source of all steps: open-mmlab/mmsegmentation, mmseg/datasets/pipelines/transforms.py of release 0.11.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import albumentations as A
import cv2
import numpy as np
from albumentations.pytorch import ToTensorV2
from torch import Tensor

from fcn_lightning.data.images import UInt8

Scale = tuple[int, int]
Box = tuple[int, int, int, int]

MEAN = (123.675, 116.28, 103.53)  # of ImageNet, RGB, 0 to 255
STD = (58.395, 57.12, 57.375)
MS_RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of the published ms+flip figures: there is no 2.0
CAT_MAX_RATIO = 0.75  # a crop has two classes at least, and each below this share of the labelled pixels
IDENTITY = np.arange(256, dtype=np.uint8)
CROP_TRIES = 10  # boxes tested for class balance; the one after that is taken as it is


class Transform(Protocol):
    """What a pipeline is used as: albumentations' Compose."""

    def set_random_state(self, random_generator: np.random.Generator, py_random: random.Random) -> None:
        """Set what the next sample is drawn from."""

    def __call__(self, *, image: UInt8, mask: UInt8 | None = None) -> dict[str, Any]:
        """Transform a sample."""


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


class KeepRatioResize(A.DualTransform):
    """Resize to fit a scale: the image bilinearly without antialiasing, the mask by nearest neighbour.

    Args:
        base_scale: (width, height).
        ratio_range: multiply the base scale by a ratio drawn from this range; (1, 1) for the test.
    """

    def __init__(self, base_scale: Scale, ratio_range: tuple[float, float] = (1.0, 1.0)) -> None:
        """Apply always."""
        super().__init__(p=1.0)
        self.base_scale = base_scale
        self.ratio_range = ratio_range

    def get_params(self) -> dict[str, Any]:
        """Draw the scale."""
        return {"scale": draw_scale(self.random_generator, self.base_scale, self.ratio_range)}

    def apply(self, img: UInt8, scale: Scale, **params: Any) -> UInt8:
        """Resize the image."""
        return _resize(img, scale, cv2.INTER_LINEAR)

    def apply_to_mask(self, mask: UInt8, scale: Scale, **params: Any) -> UInt8:
        """Resize the mask."""
        return _resize(mask, scale, cv2.INTER_NEAREST)


def _resize(pixels: UInt8, scale: Scale, interpolation: int) -> UInt8:
    height, width = keep_ratio_size((pixels.shape[0], pixels.shape[1]), scale)
    return cv2.resize(pixels, (width, height), interpolation=interpolation).astype(np.uint8, copy=False)


class BalancedCrop(A.DualTransform):
    """Crop a box that no single class dominates; an image smaller than the crop stays smaller.

    Args:
        crop_size: height and width.
    """

    def __init__(self, crop_size: tuple[int, int]) -> None:
        """Apply always."""
        super().__init__(p=1.0)
        self.crop_size = crop_size

    @property
    def targets_as_params(self) -> list[str]:
        """Name what the draw depends on."""
        return ["mask"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the box."""
        return {"box": draw_crop_box(self.random_generator, data["mask"], self.crop_size)}

    def apply(self, img: UInt8, box: Box, **params: Any) -> UInt8:
        """Crop the image."""
        return img[box[0] : box[1], box[2] : box[3]]

    def apply_to_mask(self, mask: UInt8, box: Box, **params: Any) -> UInt8:
        """Crop the mask."""
        return mask[box[0] : box[1], box[2] : box[3]]


class PhotometricDistortion(A.ImageOnlyTransform):
    """Distort brightness, contrast, saturation and hue at random."""

    def __init__(self) -> None:
        """Apply always; each step inside happens with probability one half."""
        super().__init__(p=1.0)

    def get_params(self) -> dict[str, Any]:
        """Draw the distortion."""
        return {"draw": draw_photometric(self.random_generator)}

    def apply(self, img: UInt8, draw: Photometric, **params: Any) -> UInt8:
        """Distort the image."""
        return apply_photometric(img, draw)


def train_transform(base_scale: Scale, ratio_range: tuple[float, float], crop_size: tuple[int, int]) -> Transform:
    """Build the training pipeline: resize, crop, flip, distort, normalise, pad, to tensor.

    The padding comes after normalisation, so the border has the mean colour; its label is 255.
    Call it with image (H, W, 3) RGB uint8 and mask (H, W) uint8 after `set_random_state`, never
    `set_random_seed`: that gives every step the same numbers.
    """
    pipeline: Transform = A.Compose(
        [
            KeepRatioResize(base_scale, ratio_range),
            BalancedCrop(crop_size),
            A.HorizontalFlip(p=0.5),
            PhotometricDistortion(),
            _normalize(),
            A.PadIfNeeded(*crop_size, position="top_left", border_mode=cv2.BORDER_CONSTANT, fill=0, fill_mask=255),
            ToTensorV2(),
        ]
    )
    return pipeline


class ImagePreparation:
    """The test pipeline: an image to one normalised tensor per scale; nothing is padded or cropped.

    Args:
        base_scale: (width, height) that an image is resized to fit, keeping its aspect ratio.
        ratios: the image is resized from its original to fit each ratio x base scale.
    """

    def __init__(self, base_scale: Scale, ratios: Sequence[float]) -> None:
        """Build one pipeline per scale."""
        scales = [scaled(base_scale, ratio) for ratio in ratios]
        self.pipelines = [A.Compose([KeepRatioResize(scale), _normalize(), ToTensorV2()]) for scale in scales]

    def __call__(self, image: UInt8) -> list[Tensor]:
        """Map (H, W, 3) RGB uint8 to one (3, h, w) float32 per scale."""
        return [pipeline(image=image)["image"] for pipeline in self.pipelines]


def _normalize() -> A.Normalize:
    return A.Normalize(mean=MEAN, std=STD, max_pixel_value=1.0)
