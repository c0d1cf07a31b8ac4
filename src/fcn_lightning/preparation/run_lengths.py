"""Segmentations as COCO's JSON files hold them, decoded by pycocotools."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcn_lightning import InputError


def decode(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Return which pixels belong to a segmentation.

    Args:
        segmentation: run lengths, {"size": [height, width], "counts": text or list of numbers}, or a list of polygons,
            each [x, y, x, y, x, y, ...] in pixels.
        height: of the image.
        width: of the image.

    Returns:
        (H, W).

    Raises:
        InputError: it is something else, or does not fit the image.
    """
    from pycocotools import mask

    try:
        if isinstance(segmentation, list):
            _check_polygons(segmentation, height, width)
            runs = mask.merge(mask.frPyObjects(segmentation, height, width))
        else:
            _check_runs(segmentation, height, width)
            listed = isinstance(segmentation["counts"], list)
            runs = mask.frPyObjects(segmentation, height, width) if listed else segmentation
        pixels: NDArray[np.bool_] = mask.decode(runs).astype(bool)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(f"the segmentation cannot be read ({reason}); get the published file") from error
    return pixels


def _check_polygons(polygons: list[Any], height: int, width: int) -> None:
    """Refuse what the library would crash on, or fill the memory with."""
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon needs three points or more, of two numbers each")
        if not all(math.isfinite(value) and -1 <= value <= max(height, width) + 1 for value in polygon):
            raise ValueError("a polygon lies outside the image")
    if not polygons:
        raise ValueError("no polygon")


def _check_runs(runs: Any, height: int, width: int) -> None:
    """Refuse runs that do not fill the image: the library leaves the other pixels as the memory was."""
    counts = runs["counts"]
    listed = isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
    if not listed and not isinstance(counts, str):  # the library cuts fractions off, so that a sum would say nothing
        raise ValueError("its runs are neither text nor whole numbers from 0 up")
    if list(runs["size"]) != [height, width]:
        raise ValueError(f"its size is {runs['size']}, the image's {[height, width]}")
    total = sum(counts) if isinstance(counts, list) else _total(counts.encode())
    if total != height * width:
        raise ValueError(f"its runs have {total} pixels, the image {height * width}")


def _total(text: bytes) -> int:
    """Add up compressed runs, which are stored as in `rleFrString` of cocoapi.

    A run is five bits per character, lowest first, with a flag "more" above them; from the fourth run on it is the change
    since the last but one.
    """
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(digits & 32 == 0)
    if not len(ends) or ends[-1] != len(digits) - 1 or digits.min() < 0 or digits.max() > 63:
        raise ValueError("its runs are cut off")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:
        raise ValueError("its runs are too long")
    places = np.arange(len(digits)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((digits & 31) << (5 * places), starts)
    runs -= np.where(digits[ends] & 16, 1 << (5 * lengths), 0)  # a negative change
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    if runs.min() < 0:
        raise ValueError("its runs are negative")
    return int(runs.sum())
