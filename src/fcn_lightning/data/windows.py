"""Resizing only the window that a crop needs, with the pixels that resizing the whole image first would give.

OpenCV places the pixels of a resized image by the ratio of the two sizes, counted from the top left corner. Resizing the part
of the image from that corner to the window's end by the same ratio therefore gives the same pixels, to the last bit, with about
half of the work. A window that starts elsewhere would need other fractions between pixels, which OpenCV cannot be asked for.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from fcn_lightning.data.images import UInt8
from fcn_lightning.data.steps import Box

MARGIN = 2  # source pixels beyond the window: bilinear interpolation looks one ahead


def resized_window(image: UInt8, size: tuple[int, int], box: Box) -> UInt8:
    """Return a window of the bilinearly resized image.

    Args:
        image: (H, W, 3).
        size: height and width of the whole image after resizing.
        box: y1, y2, x1, x2 (ends excluded) in the resized image.

    Returns:
        (y2 - y1, x2 - x1, 3); bit-equal to resizing all of it with OpenCV's `INTER_LINEAR` and cropping.
    """
    y1, y2, x1, x2 = box
    resized = _resized_corner(image, size, (y2, x2)) if corners_are_exact() else _resized(image, size)
    return resized[y1:y2, x1:x2]


def nearest_window(mask: UInt8, size: tuple[int, int], box: Box) -> UInt8:
    """Return a window of the mask resized to `size` by nearest neighbour: a lookup, for the pixels of the window alone."""
    rows = _nearest(mask.shape[0], size[0], box[0], box[1])
    columns = _nearest(mask.shape[1], size[1], box[2], box[3])
    if size[0] <= mask.shape[0]:
        window: UInt8 = mask[rows].take(columns, axis=1)
    else:  # rows repeat: gather the columns, which is the slow part, once per source row
        window = mask[rows[0] : rows[-1] + 1].take(columns, axis=1)[rows - rows[0]]
    return window


@cache
def corners_are_exact() -> bool:
    """Tell whether this OpenCV build gives a corner the pixels of the whole; where it does not, all is resized."""
    image = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    return all(_corner_is_exact(image, size) for size in ((37, 50), (61, 84), (97, 132), (122, 166)))


def _corner_is_exact(image: UInt8, size: tuple[int, int]) -> bool:
    end = size[0] // 2, size[1] // 2
    return np.array_equal(_resized_corner(image, size, end), _resized(image, size)[: end[0], : end[1]])


def _resized(image: UInt8, size: tuple[int, int]) -> UInt8:
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def _resized_corner(image: UInt8, size: tuple[int, int], end: tuple[int, int]) -> UInt8:
    """Return the top left corner of the resized image, `end` = height and width of it."""
    factors = size[0] / image.shape[0], size[1] / image.shape[1]
    source = tuple(min(whole, int(stop / factor) + MARGIN) for whole, stop, factor in zip(image.shape, end, factors, strict=False))
    target = tuple(round(side * factor) for side, factor in zip(source, factors, strict=True))
    if source == image.shape[:2] or source == target:  # at equal sizes OpenCV copies instead
        return _resized(image, size)[: end[0], : end[1]]
    corner = cv2.resize(image[: source[0], : source[1]], None, fx=factors[1], fy=factors[0], interpolation=cv2.INTER_LINEAR)
    return corner[: end[0], : end[1]].astype(np.uint8, copy=False)


def _nearest(source: int, target: int, start: int, stop: int) -> NDArray[np.intp]:
    """Return which source pixel OpenCV's `INTER_NEAREST` takes for each target pixel from start to stop."""
    ratio = 1 / (target / source)  # in this order, as OpenCV rounds it
    indices: NDArray[np.intp] = np.minimum(np.floor(np.arange(start, stop) * ratio).astype(np.intp), source - 1)
    return indices
