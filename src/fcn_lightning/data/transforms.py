"""The training and test pipelines of the reference as albumentations transforms: the only module that knows albumentations.

The steps themselves are in `steps.py`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import albumentations as A
import numpy as np

from fcn_lightning.data import steps
from fcn_lightning.data.images import UInt8
from fcn_lightning.data.steps import Box, Photometric, Scale
from fcn_lightning.data.windows import nearest_window, resized_window

MS_RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of the published ms+flip figures: there is no 2.0


class Transform(Protocol):
    """What a pipeline is used as: albumentations' Compose."""

    def set_random_state(self, random_generator: np.random.Generator, py_random: random.Random) -> None:
        """Set what the next sample is drawn from."""

    def __call__(self, *, image: UInt8, mask: UInt8 | None = None) -> dict[str, Any]:
        """Transform a sample."""


class StandardSteps(A.DualTransform):
    """The published augmentation: resize by a random ratio, crop, flip, distort. Only the pixels of the crop are computed.

    The image is resized bilinearly without antialiasing, the mask by nearest neighbour. The crop is one that no single class
    dominates; where the resized image is smaller, the crop is as small. The steps are one transform, because albumentations
    takes longer between two transforms than some of them take.

    Args:
        base_scale: (width, height) that the image is resized to fit, keeping its aspect ratio.
        ratio_range: the base scale is multiplied by a ratio drawn from this range.
        crop_size: height and width.
    """

    def __init__(self, base_scale: Scale, ratio_range: tuple[float, float], crop_size: tuple[int, int]) -> None:
        """Apply always."""
        super().__init__(p=1.0)
        self.base_scale = base_scale
        self.ratio_range = ratio_range
        self.crop_size = crop_size

    @property
    def targets_as_params(self) -> list[str]:
        """Name what the draw depends on."""
        return ["mask"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw everything, in the order of the steps; the mask inside the box is known by then."""
        mask: UInt8 = data["mask"]
        draws = self.random_generator
        scale = steps.draw_scale(draws, self.base_scale, self.ratio_range)
        size = steps.keep_ratio_size((mask.shape[0], mask.shape[1]), scale)
        box, labels = steps.draw_crop(draws, size, self.crop_size, partial(nearest_window, mask, size))
        flip = steps.draw_flip(draws)
        return {"size": size, "box": box, "labels": labels, "flip": flip, "draw": steps.draw_photometric(draws)}

    def apply(self, img: UInt8, size: tuple[int, int], box: Box, flip: bool, draw: Photometric, **params: Any) -> UInt8:
        """Resize, crop, flip and distort the image."""
        return steps.apply_photometric(steps.apply_flip(resized_window(img, size, box), flip), draw)

    def apply_to_mask(self, mask: UInt8, labels: UInt8, flip: bool, **params: Any) -> UInt8:
        """Flip the mask that the draw looked at."""
        return steps.apply_flip(labels, flip)


@dataclass(frozen=True)
class Augment:
    """Further albumentations transforms around the standard ones.

    Args:
        before: applied to the whole image, as read.
        after: applied to the crop, before it is padded; they may not enlarge it.
    """

    before: Sequence[A.BasicTransform] = ()
    after: Sequence[A.BasicTransform] = ()


def train_transform(
    base_scale: Scale, ratio_range: tuple[float, float], crop_size: tuple[int, int], augment: Augment | None = None
) -> Transform:
    """Build the training pipeline on uint8: resize, crop, flip, distort. Normalisation and padding come with the batch.

    Call it with image (H, W, 3) RGB uint8 and mask (H, W) uint8 after `set_random_state`, never
    `set_random_seed`: that gives every step the same numbers.
    """
    augment = augment or Augment()
    pipeline: Transform = A.Compose([*augment.before, StandardSteps(base_scale, ratio_range, crop_size), *augment.after])
    return pipeline


class ImagePreparation:
    """The test pipeline: an image to one uint8 image per scale; nothing is padded or cropped.

    Args:
        base_scale: (width, height) that an image is resized to fit, keeping its aspect ratio.
        ratios: the image is resized from its original to fit each ratio x base scale.
    """

    def __init__(self, base_scale: Scale, ratios: Sequence[float]) -> None:
        """Keep the scales."""
        self.scales = [steps.scaled(base_scale, ratio) for ratio in ratios]

    def __call__(self, image: UInt8) -> list[UInt8]:
        """Map (H, W, 3) RGB uint8 to one (h, w, 3) uint8 per scale."""
        return [steps.resize(image, scale) for scale in self.scales]
