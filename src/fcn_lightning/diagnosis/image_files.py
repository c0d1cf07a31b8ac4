"""What an image file holds: its header, and all pixels where these are asked for.

Worker processes import this module, so it loads neither torch nor Lightning.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

from fcn_lightning import InputError
from fcn_lightning.data.images import END_MARKERS, UNREADABLE, UInt8, open_image, read_image

UPRIGHT, FIRST_TURNED = 1, 5  # EXIF orientations; from 5 on, width and height change places
TAIL = 64  # bytes in which an end marker has to be
FLAT = 4.0  # grey levels of deviation below which a picture has no fingerprint


@dataclass(frozen=True)
class ImageFile:
    """An image as it lies on disk.

    Args:
        path: of the file.
        problem: why it cannot be read; empty where it can.
        size: (height, width) as training reads it, with its EXIF rotation.
        orientation: EXIF orientation, 1 to 8; 1 is upright.
        mode: as Pillow names it.
        bytes: length of the file.
        decoded: whether all its pixels were read.
        fingerprint: 64-bit difference hash of a decoded image; None of one that is flat.
    """

    path: Path
    problem: str = ""
    size: tuple[int, int] = (0, 0)
    orientation: int = UPRIGHT
    mode: str = ""
    bytes: int = 0
    decoded: bool = False
    fingerprint: int | None = None

    @property
    def stored(self) -> tuple[int, int]:
        """(height, width) without the EXIF rotation."""
        return self.size if self.orientation < FIRST_TURNED else (self.size[1], self.size[0])


def read_header(path: Path) -> ImageFile:
    """Read what an image says about itself; only one that lacks its end is decoded."""
    try:
        length = path.stat().st_size
        with open_image(path) as file:
            orientation = _orientation(file)
            size = (file.height, file.width) if orientation < FIRST_TURNED else (file.width, file.height)
            image = ImageFile(path, size=size, orientation=orientation, mode=file.mode, bytes=length)
    except UNREADABLE as error:
        return ImageFile(path, f"image {path} is truncated or not an image ({error}); replace or remove it")
    except InputError as error:
        return ImageFile(path, str(error))
    return image if _has_end(path) else _decoded(image)[0]


def read_pixels(path: Path) -> ImageFile:
    """Read the header of an image and all its pixels."""
    image = read_header(path)
    if image.problem:
        return image
    image, pixels = _decoded(image)
    return image if pixels is None else replace(image, decoded=True, fingerprint=fingerprint(pixels))


def fingerprint(image: UInt8) -> int | None:
    """Return the 64-bit difference hash of an image (H, W, 3): whether each of 8x8 cells is darker than its right neighbour.

    Source: Krawetz, "Kind of Like That", 2013.
    """
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    if small.std() < FLAT:
        return None
    return int.from_bytes(np.packbits(small[:, :-1] < small[:, 1:]).tobytes(), "big")


def sha256(path: Path) -> str:
    """Return the hash of a file's content; empty of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _orientation(file: Image.Image) -> int:
    """Return the EXIF orientation that OpenCV applies: it reads no XMP, and of TIFF, Pillow's size is turned already."""
    if "exif" not in file.info:  # asking Pillow without it would decode a whole PNG
        return UPRIGHT
    exif = Image.Exif()
    exif.load(file.info["exif"])
    value = exif.get(ExifTags.Base.Orientation, UPRIGHT)
    return value if isinstance(value, int) and UPRIGHT <= value <= 8 else UPRIGHT


def _has_end(path: Path) -> bool:
    """Tell whether the end marker of a PNG or JPEG stands at the end of the file; of other formats it does not matter."""
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(-min(TAIL, path.stat().st_size), 2)
        tail = file.read()
    marker = next((end for begin, end in END_MARKERS.items() if start.startswith(begin)), None)
    return marker is None or marker in tail


def _decoded(image: ImageFile) -> tuple[ImageFile, UInt8 | None]:
    """Read the pixels; what training sees is what counts, the size included."""
    try:
        pixels = read_image(image.path)
    except InputError as error:
        return replace(image, problem=str(error)), None
    return replace(image, size=(pixels.shape[0], pixels.shape[1])), pixels
