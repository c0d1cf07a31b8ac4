"""What a mask file holds: its encoding, and the exact count of each value.

Worker processes import this module, so it loads neither torch nor Lightning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from fcn_lightning import InputError
from fcn_lightning.data.images import INDEX_MODES, UNREADABLE, UInt8, open_image

KEPT = 1024  # values kept of a file; more are noise, and only their number matters
FEW_COLORS = 4096  # up to so many, Pillow counts colours ten times as fast as numpy sorts them
LOSSY = ("JPEG", "MPO")
GREY_BITS = {"L;2": 2, "L;4": 4}  # as Pillow names the pixels in the file

Values = NDArray[np.uint32]


@dataclass(frozen=True)
class MaskFile:
    """A mask as it lies on disk.

    Args:
        path: of the file.
        problem: why it cannot be read; empty where it can.
        size: (height, width).
        format: as Pillow names it, such as PNG.
        mode: as Pillow names it, such as L or RGB.
        encoding: code of the finding that this kind of file is; empty for one 8-bit value per pixel, which training reads.
        colored: whether `values` are colours, as 0xRRGGBB.
        values: value -> pixels, of the most frequent values.
        distinct: how many different values there are.
        transparent: pixels that the alpha channel hides.
        palette: colour of each index of a palette file, as 0xRRGGBB.
    """

    path: Path
    problem: str = ""
    size: tuple[int, int] = (0, 0)
    format: str = ""
    mode: str = ""
    encoding: str = ""
    colored: bool = False
    values: Mapping[int, int] = field(default_factory=dict)
    distinct: int = 0
    transparent: int = 0
    palette: tuple[int, ...] = ()

    @property
    def pixels(self) -> int:
        """Height times width."""
        return self.size[0] * self.size[1]

    @property
    def lossy(self) -> bool:
        """Whether compression has changed values."""
        return self.format in LOSSY


def read_mask(path: Path) -> MaskFile:
    """Read a mask of any encoding and count its values."""
    try:
        with open_image(path) as file:
            kind, bits, mode = file.format or "", _grey_bits(file), file.mode
            if mode == "F":
                return MaskFile(path, f"mask {path} holds floating-point numbers; export it with one whole number per pixel")
            values, colored = _count(file, bits)
            palette = _palette(file) if mode == "P" else ()
            transparent = file.getchannel("A").histogram()[0] if "A" in file.getbands() else 0
            kept = dict(sorted(values.items(), key=lambda item: -item[1])[:KEPT])
            return MaskFile(
                path,
                size=(file.height, file.width),
                format=kind,
                mode=mode,
                encoding=_encoding(kind, mode, bits, colored),
                colored=colored,
                values=dict(sorted(kept.items())),
                distinct=len(values),
                transparent=transparent,
                palette=palette,
            )
    except UNREADABLE as error:
        return MaskFile(path, f"mask {path} is truncated or not an image ({error}); replace or remove it")
    except InputError as error:
        return MaskFile(path, str(error))


def read_values(path: Path, *, colored: bool) -> Values:
    """Read the values of a mask as `MaskFile.values` counts them.

    Args:
        path: of the mask.
        colored: read colours, also of a palette file.

    Returns:
        (H, W).

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with open_image(path) as file:
            if colored:
                return _packed(np.asarray(file.convert("RGB")))
            bits = _grey_bits(file)
            plain = file.mode in (*INDEX_MODES, "LA") or file.mode.startswith("I")
            pixels = np.asarray(file if plain else file.convert("RGB"))
    except UNREADABLE as error:
        raise InputError(f"mask {path} is truncated or not an image ({error}); replace or remove it") from error
    first = pixels[..., 0] if pixels.ndim == 3 else pixels  # equal channels, or grey with alpha
    values: Values = np.maximum(first, 0).astype(np.uint32)
    values //= np.uint32(255 // (2**bits - 1))
    return values


def _encoding(kind: str, mode: str, bits: int, colored: bool) -> str:
    if kind in LOSSY:
        return "mask-jpeg"
    if mode in INDEX_MODES:
        return "" if bits == 8 else "mask-few-bits"
    if mode.startswith("I"):
        return "mask-16-bit"
    if mode.endswith("A"):
        return "mask-alpha"
    return "mask-colour" if colored else "mask-grey-as-rgb"


def _count(file: Image.Image, bits: int) -> tuple[dict[int, int], bool]:
    """Return value -> pixels, and whether the values are colours."""
    if file.mode in ("L", "P", "LA"):
        step = 255 // (2**bits - 1)
        bins = (file if file.mode != "LA" else file.getchannel("L")).histogram()
        return {value // step: count for value, count in enumerate(bins) if count}, False
    if file.mode == "1" or file.mode.startswith("I"):
        return _unique(np.clip(np.asarray(file).astype(np.int64), 0, None)), False
    rgb = file if file.mode == "RGB" else file.convert("RGB")
    few = [] if file.format in LOSSY else rgb.getcolors(FEW_COLORS) or []
    colors = {pack(color): count for count, color in few if isinstance(color, tuple)} or _unique(_packed(np.asarray(rgb)))
    if all(color % 0x010101 == 0 for color in colors):
        return {color & 255: count for color, count in colors.items()}, False
    return colors, True


def _unique(values: NDArray[Any]) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def pack(color: tuple[int, ...]) -> int:
    """Return (r, g, b) as 0xRRGGBB."""
    red, green, blue = color
    return red << 16 | green << 8 | blue


def unpack(color: int) -> tuple[int, int, int]:
    """Return 0xRRGGBB as (r, g, b)."""
    return color >> 16, color >> 8 & 255, color & 255


def _packed(pixels: UInt8) -> Values:
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    return (red << 16 | green << 8 | blue).astype(np.uint32)


def _palette(file: Image.Image) -> tuple[int, ...]:
    channels = file.getpalette("RGB") or []
    return tuple(pack((r, g, b)) for r, g, b in zip(channels[::3], channels[1::3], channels[2::3], strict=True))


def _grey_bits(file: Image.Image) -> int:
    """Return the bits per pixel of a grey PNG of 2 or 4, which Pillow and OpenCV stretch to 8; of all others 8."""
    raw = file.tile[0].args if isinstance(file, PngImageFile) and file.tile else None
    return GREY_BITS.get(raw, 8) if isinstance(raw, str) else 8
