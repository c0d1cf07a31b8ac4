"""Reading and writing image files: colour images through OpenCV, label maps through Pillow, plain PNGs of both through libpng.

OpenCV applies the EXIF rotation and Pillow does not, as in the reference; palette PNGs keep their indices only with Pillow.
imagecodecs' libpng sits on zlib-ng and gives the same pixels in two thirds of the time.
"""

import io
import os
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fcn_lightning import InputError

UInt8 = NDArray[np.uint8]
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
INDEX_MODES = ("L", "P", "1")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = b"\x08\x00", b"\x08\x02"  # bit depth and colour type: bytes 24 and 25 of a PNG
END_MARKERS = {b"\x89PNG": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}


def read_image(path: Path) -> UInt8:
    """Read a colour image as RGB.

    Returns:
        (H, W, 3), values 0 to 255, rotated as its EXIF data says.

    Raises:
        InputError: the file is missing, cut off, or no image.

    Source: open-mmlab/mmsegmentation loads through OpenCV; here the channels come out as RGB at once.
    """
    data = _read_bytes(path)
    image = _decoded(data) if data and _is_complete(data) else None
    if image is None:
        raise InputError(f"image {path} is truncated or not an image ({len(data)} bytes); replace or remove it")
    return image


def read_index_map(path: Path) -> UInt8:
    """Read a label map: one file value per pixel; a palette PNG gives its indices.

    Returns:
        (H, W), values 0 to 255.

    Raises:
        InputError: the file is missing, cut off, or holds colours or 16-bit values instead of indices.
    """
    data = _read_bytes(path)
    plain = _plain_png(data, GREY)
    if plain is not None:
        return plain
    try:
        with Image.open(io.BytesIO(data)) as file:
            if file.mode not in INDEX_MODES:
                raise InputError(
                    f"mask {path} has mode {file.mode}, expected one 8-bit value per pixel (mode L or P); "
                    "convert it to a single-channel PNG whose pixel values are class indices"
                )
            return np.asarray(file).astype(np.uint8)  # of a one-bit file, Pillow gives booleans
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise InputError(f"mask {path} is truncated or not an image ({error}); replace or remove it") from error


def write_png(path: Path, pixels: UInt8) -> None:
    """Write (H, W) or (H, W, 3) RGB as PNG, so that the name never holds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    Image.fromarray(pixels).save(temporary, format="PNG")
    os.replace(temporary, path)


def list_images(folder: Path) -> list[Path]:
    """Return all image files below a folder, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); restore the file or remove it from the data set") from error


def _decoded(data: bytes) -> UInt8 | None:
    """Decode a colour image to RGB; None where it is none."""
    plain = _plain_png(data, RGB)
    if plain is not None:
        return plain
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return None if image is None else image.astype(np.uint8, copy=False)


def _plain_png(data: bytes, kind: bytes) -> UInt8 | None:
    """Decode a PNG of 8-bit grey or RGB values and nothing that would change their meaning; None for all else."""
    if not data.startswith(PNG_SIGNATURE) or data[24:26] != kind or not _is_complete(data):
        return None
    chunks = data[: data.find(b"IDAT")]
    if b"tRNS" in chunks or b"eXIf" in data:  # transparency, rotation
        return None
    try:
        pixels: UInt8 = imagecodecs.png_decode(data)
    except imagecodecs.PngError:
        return None  # the other decoders say what is wrong with it
    return pixels


def _is_complete(data: bytes) -> bool:
    """Tell whether a file goes on to its end; OpenCV fills what is missing with grey, without an error."""
    marker = next((end for start, end in END_MARKERS.items() if data.startswith(start)), None)
    if marker is None or marker in data[-64:]:
        return True
    try:  # cameras append data of their own after the end marker: let Pillow decide
        with Image.open(io.BytesIO(data)) as file:
            file.load()
    except (OSError, SyntaxError):
        return False
    return True
