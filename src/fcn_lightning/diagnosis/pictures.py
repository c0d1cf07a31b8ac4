"""Thumbnails of offenders, as data URIs: the image, its mask in the colours of the classes, and where the wrong pixels are."""

import base64
import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fcn_lightning import InputError
from fcn_lightning.data.dataset import IGNORE_INDEX, UNLISTED
from fcn_lightning.data.images import UInt8, read_image
from fcn_lightning.diagnosis.findings import Offender
from fcn_lightning.diagnosis.mask_files import MaskFile, Values, read_values
from fcn_lightning.diagnosis.reading import Reading

SIDE = 200  # pixels of the longer side
NO_CLASS = (255, 0, 255)  # of values that mean nothing
MARK = (255, 0, 0)


def pictures(offender: Offender, mask: MaskFile | None, reading: Reading | None) -> list[tuple[str, str]]:
    """Draw what shows a finding.

    Args:
        offender: the files.
        mask: what is known of its mask.
        reading: what the mask holds.

    Returns:
        Caption and data URI of each picture; none of a file that cannot be read.
    """
    drawn = [(caption, _thumbnail(path)) for caption, path in (("image", offender.image), ("twin", offender.twin)) if path]
    if mask is not None and not mask.problem:
        drawn += _drawn_mask(mask, offender.wrong, reading)
    return [(caption, uri) for caption, uri in drawn if uri]


def _thumbnail(path: Path) -> str:
    try:
        image = read_image(path)
    except InputError:
        return ""
    height, width = _fitting(image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return _uri(small.astype(np.uint8, copy=False), "JPEG")


def _drawn_mask(mask: MaskFile, wrong: tuple[int, ...], reading: Reading | None) -> list[tuple[str, str]]:
    try:
        values = read_values(mask.path, colored=mask.colored)
    except InputError:  # it was readable when it was scanned
        return []
    height, width = _fitting(values.shape)
    small = values[np.arange(height) * values.shape[0] // height][:, np.arange(width) * values.shape[1] // width]
    painted = _painted(small, mask.colored, reading)
    drawn = [("mask", _uri(painted, "PNG"))]
    if wrong:
        # Each cell that holds a wrong pixel is marked, however small: the nearest pixel alone might miss it.
        where = np.isin(values, np.array(wrong, np.uint32)).astype(np.float32)
        marked = cv2.resize(where, (width, height), interpolation=cv2.INTER_AREA) > 0
        faded = (painted.astype(np.uint16) + 2 * 255) // 3
        faded[marked] = MARK
        drawn.append(("wrong pixels", _uri(faded.astype(np.uint8), "PNG")))
    return drawn


def _painted(values: Values, colored: bool, reading: Reading | None) -> UInt8:
    """Paint values in the colours of their classes; ignored pixels are black, those of no class magenta."""
    if colored:
        return np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1).astype(np.uint8)
    table = np.full((257, 3), NO_CLASS, np.uint8)
    for value in range(256):
        number = UNLISTED if reading is None else reading.class_of(value, colored=False)
        if number != UNLISTED and reading is not None:
            table[value] = (0, 0, 0) if number == IGNORE_INDEX else reading.palette[number]
    painted: UInt8 = table[np.minimum(values, 256)]
    return painted


def _fitting(size: tuple[int, ...]) -> tuple[int, int]:
    scale = SIDE / max(size)  # small ones are enlarged, so that a person can see something
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _uri(pixels: UInt8, kind: str) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
