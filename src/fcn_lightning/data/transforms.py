"""The training and test pipelines of the reference as albumentations transforms: the only module that knows albumentations.

The steps themselves are in `steps.py`.
"""

import random
from collections.abc import Sequence
from typing import Any, Protocol

import albumentations as A
import cv2
import numpy as np
from albumentations.pytorch import ToTensorV2
from torch import Tensor

from fcn_lightning.data import steps
from fcn_lightning.data.images import UInt8
from fcn_lightning.data.steps import Box, Float32, Photometric, Scale

MS_RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of the published ms+flip figures: there is no 2.0


class Transform(Protocol):
    """What a pipeline is used as: albumentations' Compose."""

    def set_random_state(self, random_generator: np.random.Generator, py_random: random.Random) -> None:
        """Set what the next sample is drawn from."""

    def __call__(self, *, image: UInt8, mask: UInt8 | None = None) -> dict[str, Any]:
        """Transform a sample."""


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
        return {"scale": steps.draw_scale(self.random_generator, self.base_scale, self.ratio_range)}

    def apply(self, img: UInt8, scale: Scale, **params: Any) -> UInt8:
        """Resize the image."""
        return steps.resize(img, scale, cv2.INTER_LINEAR)

    def apply_to_mask(self, mask: UInt8, scale: Scale, **params: Any) -> UInt8:
        """Resize the mask."""
        return steps.resize(mask, scale, cv2.INTER_NEAREST)


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
        return {"box": steps.draw_crop_box(self.random_generator, data["mask"], self.crop_size)}

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
        return {"draw": steps.draw_photometric(self.random_generator)}

    def apply(self, img: UInt8, draw: Photometric, **params: Any) -> UInt8:
        """Distort the image."""
        return steps.apply_photometric(img, draw)


class Normalization(A.ImageOnlyTransform):
    """Normalise to the last bit as the reference does; albumentations' own differs there in a quarter of the values."""

    def __init__(self) -> None:
        """Apply always."""
        super().__init__(p=1.0)

    def apply(self, img: UInt8, **params: Any) -> Float32:
        """Normalise the image."""
        return steps.normalize(img)


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
            Normalization(),
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
        scales = [steps.scaled(base_scale, ratio) for ratio in ratios]
        self.pipelines = [A.Compose([KeepRatioResize(scale), Normalization(), ToTensorV2()]) for scale in scales]

    def __call__(self, image: UInt8) -> list[Tensor]:
        """Map (H, W, 3) RGB uint8 to one (3, h, w) float32 per scale."""
        return [pipeline(image=image)["image"] for pipeline in self.pipelines]
