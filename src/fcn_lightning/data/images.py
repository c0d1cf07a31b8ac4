"""Reading and writing image files: colour images through OpenCV, label maps through Pillow, plain PNGs of both through libpng.

OpenCV applies the EXIF rotation and Pillow does not, as in the reference; palette PNGs keep their indices only with Pillow.
imagecodecs' libpng sits on zlib-ng and gives the same pixels in two thirds of the time.

A file is told by its content, not by its name. What is none of five formats reaches no decoder, and neither does one whose
header declares more pixels than anybody means: the decoders would take memory for them first.
"""

import contextlib
import io
import os
import re
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
# Pillow knows many more, and hands one of them (EPS) to Ghostscript, which runs it.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
# 23,170 x 23,170: twice the pixels of an image of 16,384 x 16,384, 256 times those of Cityscapes; 1.6 GB as RGB.
MAX_PIXELS = 1 << 29
if Image.MAX_IMAGE_PIXELS is not None:  # Pillow warns from its own limit on, which is a sixth of this one
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)

PNG_SIGNATURE, JPEG_SIGNATURE = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
OTHER_SIGNATURES = (b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"RIFF")  # BMP, TIFF and BigTIFF of either byte order, WebP
JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15, which hold the size
JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
JPEG_SCAN, JPEG_END = 0xDA, 0xD9
# What Pillow raises for a file that is cut off or of another format.
UNREADABLE = (OSError, SyntaxError, ValueError)
GREY, RGB = b"\x08\x00", b"\x08\x02"  # bit depth and colour type: bytes 24 and 25 of a PNG
END_MARKERS = {b"\x89PNG": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}


def read_image(path: Path) -> UInt8:
    """Read a colour image as RGB.

    Returns:
        (H, W, 3), values 0 to 255, rotated as its EXIF data says.

    Raises:
        InputError: the file is missing, cut off, no image, or too large.

    Source: open-mmlab/mmsegmentation loads through OpenCV; here the channels come out as RGB at once.
    """
    data = _read_bytes(path)
    check_size(path, _declared(data))
    image = _decoded(path, data) if data and _is_complete(path, data) else None
    if image is None:
        raise InputError(f"image {path} is truncated or not an image ({len(data)} bytes); replace or remove it")
    return image


def read_index_map(path: Path) -> UInt8:
    """Read a label map: one file value per pixel; a palette PNG gives its indices.

    Returns:
        (H, W), values 0 to 255.

    Raises:
        InputError: the file is missing, cut off, too large, or holds colours or 16-bit values instead of indices.
    """
    data = _read_bytes(path)
    check_size(path, _declared(data))
    plain = _plain_png(path, data, GREY)
    if plain is not None:
        return plain
    try:
        with open_image(path, data) as file:
            if file.mode not in INDEX_MODES:
                raise InputError(
                    f"mask {path} has mode {file.mode}, expected one 8-bit value per pixel (mode L or P); "
                    "convert it to a single-channel PNG whose pixel values are class indices"
                )
            return np.asarray(file).astype(np.uint8)  # of a one-bit file, Pillow gives booleans
    except UNREADABLE as error:
        raise InputError(f"mask {path} is truncated or not an image ({error}); replace or remove it") from error


def open_image(path: Path, data: bytes | None = None) -> Image.Image:
    """Open an image with Pillow: its header is read, no pixel is decoded yet.

    Args:
        path: of the file.
        data: its content, where it was read already.

    Raises:
        InputError: it declares too many pixels.
        OSError, SyntaxError, ValueError: it is none of the five formats.
    """
    try:
        file = Image.open(path if data is None else io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:  # whose words are the address of an object
        raise OSError(f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from error
    except Image.DecompressionBombError as error:  # beyond twice the limit, where Pillow says only how many pixels
        found = re.search(r"\d+ pixels", str(error))
        raise InputError(_too_large(path, found[0] if found else "more than twice as many")) from error
    check_size(path, file.size)
    return file


def check_size(path: Path, size: tuple[int, int] | None) -> None:
    """Refuse an image that declares more pixels than anybody means.

    Args:
        path: of the file.
        size: (width, height) as its header says; None where nothing is known, and the decoder's own limit holds.

    Raises:
        InputError: it does.
    """
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise InputError(_too_large(path, f"{size[0]}x{size[1]} pixels, width x height"))


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


def _too_large(path: Path, declared: str) -> str:
    return f"{path} declares more pixels than the {MAX_PIXELS:,} that are read ({declared}); cut it into tiles, or remove it"


def _declared(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) by the header of a PNG or JPEG, as libpng and libjpeg would find it; None of all else."""
    if data.startswith(PNG_SIGNATURE):
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    place = len(JPEG_SIGNATURE) - 1 if data.startswith(JPEG_SIGNATURE) else len(data)
    while marker := JPEG_MARKER.search(data, place):
        code, place = marker[1][0], marker.end()
        if code in JPEG_FRAMES:
            return int.from_bytes(data[place + 5 : place + 7]), int.from_bytes(data[place + 3 : place + 5])
        if code in (JPEG_SCAN, JPEG_END):
            break
        if code not in JPEG_BARE:
            place += int.from_bytes(data[place : place + 2])
    return None


def _decoded(path: Path, data: bytes) -> UInt8 | None:
    """Decode a colour image to RGB; None where it is none."""
    plain = _plain_png(path, data, RGB)
    if plain is not None:
        return plain
    if data.startswith(OTHER_SIGNATURES):
        with contextlib.suppress(*UNREADABLE):  # OpenCV reads kinds of TIFF that Pillow does not, and has a limit of its own
            open_image(path, data).close()
    elif not data.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)):
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
    return None if image is None else image.astype(np.uint8, copy=False)


def _plain_png(path: Path, data: bytes, kind: bytes) -> UInt8 | None:
    """Decode a PNG of 8-bit grey or RGB values and nothing that would change their meaning; None for all else."""
    if not data.startswith(PNG_SIGNATURE) or data[24:26] != kind or not _is_complete(path, data):
        return None
    chunks = data[: data.find(b"IDAT")]
    if b"tRNS" in chunks or b"eXIf" in data:  # transparency, rotation
        return None
    try:
        pixels: UInt8 = imagecodecs.png_decode(data)
    except (imagecodecs.PngError, UnicodeDecodeError):  # the latter where it cannot decode libpng's own words
        return None  # the other decoders say what is wrong with it
    return pixels


def _is_complete(path: Path, data: bytes) -> bool:
    """Tell whether a file goes on to its end; OpenCV fills what is missing with grey, without an error."""
    marker = next((end for start, end in END_MARKERS.items() if data.startswith(start)), None)
    if marker is None or marker in data[-64:]:
        return True
    try:  # cameras append data of their own after the end marker: let Pillow decide
        with open_image(path, data) as file:
            file.load()
    except UNREADABLE:
        return False
    return True
