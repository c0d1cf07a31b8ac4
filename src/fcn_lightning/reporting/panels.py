"""Sample panels: image, ground truth, prediction and errors side by side; colour maps and overlays."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fcn_lightning.data.dataset import IGNORE_INDEX, Color
from fcn_lightning.data.images import UInt8

GAP = 4  # white pixels between the parts
ERROR = (220, 30, 30)
CORRECT = (235, 235, 235)
HATCH = 6  # period of the stripes on ignored pixels
MIN_SIDE = 192  # smaller panels are enlarged so that a person can see something


def colorize(label_map: UInt8, palette: Sequence[Color]) -> UInt8:
    """Paint a label map (H, W) with the palette; ignored pixels are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    colored: UInt8 = table[label_map]
    return colored


def overlay(image: UInt8, label_map: UInt8, palette: Sequence[Color]) -> UInt8:
    """Blend a painted label map over its image (H, W, 3), half and half."""
    return cv2.addWeighted(image, 0.5, colorize(label_map, palette), 0.5, 0)  # type: ignore[return-value]  # stub lacks the dtype


def stripes(shape: tuple[int, int], *, falling: bool = False) -> NDArray[np.bool_]:
    """Return diagonal stripes to hatch with.

    Args:
        shape: height and width.
        falling: from the upper left to the lower right; otherwise from the lower left to the upper right.
    """
    y, x = np.indices(shape)
    striped: NDArray[np.bool_] = (y + (-x if falling else x)) % HATCH < HATCH // 2
    return striped


def panel(image: UInt8, mask: UInt8, pred: UInt8, palette: Sequence[Color]) -> UInt8:
    """Put image, ground truth, prediction and errors in a row.

    Errors are red; pixels that are not scored are hatched.

    Args:
        image: (H, W, 3) RGB.
        mask: (H, W), true classes or 255.
        pred: (H, W), predicted classes.
        palette: K colours.

    Returns:
        (h, w, 3).
    """
    ignored = mask == IGNORE_INDEX
    errors = np.where((mask == pred)[..., None], CORRECT, ERROR).astype(np.uint8)
    truth = colorize(mask, palette)
    hatch = np.where(stripes((mask.shape[0], mask.shape[1])), 90, 160).astype(np.uint8)
    for part in (truth, errors):
        part[ignored] = hatch[ignored, None]
    gap = np.full((mask.shape[0], GAP, 3), 255, np.uint8)
    row = np.concatenate([image, gap, truth, gap, colorize(pred, palette), gap, errors], axis=1)
    factor = max(1, -(-MIN_SIDE // mask.shape[0]))
    return row.repeat(factor, axis=0).repeat(factor, axis=1)
