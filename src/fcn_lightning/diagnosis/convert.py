"""Writing one mask anew: as a PNG with one file value per pixel.

Worker processes import this module, so it loads neither torch nor Lightning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcn_lightning.data.images import UInt8, write_png
from fcn_lightning.diagnosis.mask_files import Values, read_values

CHANNEL_BITS = (16, 8, 0)
PART = 4096  # values whose distances are computed at once


@dataclass(frozen=True)
class Conversion:
    """What is to be done with a mask.

    Args:
        source: the mask file.
        target: the PNG to write.
        colored: read it as colours.
        table: value, or colour as 0xRRGGBB -> value in the new file.
        snap: give values between the labels to the nearest one; otherwise they get `void`.
        void: value in the new file that means no class.
        orientation: EXIF orientation of the image that the mask has to follow; 1 leaves it as it is.
    """

    source: Path
    target: Path
    colored: bool
    table: Mapping[int, int]
    snap: bool
    void: int
    orientation: int


def convert(job: Conversion) -> int:
    """Write a mask anew.

    Returns:
        How many pixels held no value of the table: these were given to the nearest one, or to `void`.

    Raises:
        InputError: the mask cannot be read.
    """
    values = read_values(job.source, colored=job.colored)
    keys = np.array(sorted(job.table), np.uint32)
    new = np.array([job.table[key] for key in keys.tolist()], np.uint8)
    place = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    mask, strays = new[place], keys[place] != values
    if strays.any():
        mask[strays] = _near(values[strays], job) if job.snap else job.void
    write_png(job.target, turn(mask, job.orientation))
    return int(strays.sum())


def _near(values: Values, job: Conversion) -> UInt8:
    """Return what the nearest values of the table become; each different value is compared once."""
    found, inverse = np.unique(values, return_inverse=True)
    new = [job.table[key] for key in nearest(found, list(job.table), colored=job.colored).tolist()]
    return np.array(new, np.uint8)[inverse]


def nearest(values: Values, targets: list[int], *, colored: bool) -> Values:
    """Return for each value the nearest of some targets, by the squared distance of the channels.

    Args:
        values: (N,).
        targets: K values of the same kind.
        colored: both are colours as 0xRRGGBB.
    """
    wanted = np.array(targets, np.uint32)
    result = np.empty_like(values)
    for start in range(0, len(values), PART):
        part = values[start : start + PART]
        difference = _channels(part, colored)[:, None] - _channels(wanted, colored)
        result[start : start + PART] = wanted[np.argmin((difference**2).sum(axis=-1), axis=1)]
    return result


def turn(mask: UInt8, orientation: int) -> UInt8:
    """Turn a mask (H, W) as a reader of EXIF turns its image.

    Source: the eight orientations of the Exif standard, tag 0x0112.
    """
    if orientation >= 5:
        mask = mask.T  # 5 is the transpose; 6, 7 and 8 are its mirror images
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(mask[::rows, ::columns])


def _channels(values: Values, colored: bool) -> NDArray[np.int64]:
    shifts = np.array(CHANNEL_BITS if colored else (0,))
    channels: NDArray[np.int64] = values.astype(np.int64)[:, None] >> shifts & (255 if colored else -1)
    return channels
