"""Files are read as the reference reads them, and broken ones are refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fcn_lightning import InputError
from fcn_lightning.data.images import read_image, read_index_map, write_png

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind)
    return buffer.getvalue()


def test_rgb_order(tmp_path: Path) -> None:
    write_png(tmp_path / "a/b.png", PIXELS)
    assert (read_image(tmp_path / "a/b.png") == PIXELS).all()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.png"], "no temporary file stays"


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "r.jpg", exif=exif)
    assert read_image(tmp_path / "r.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.97])
def test_truncated_images(tmp_path: Path, kind: str, share: float) -> None:
    data = encoded(kind)
    path = tmp_path / "x"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="is truncated or not an image"):
        read_image(path)
    path.write_bytes(data)
    assert read_image(path).shape == (20, 30, 3)


def test_data_after_the_end_is_no_truncation(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded("jpeg") + b"\0maker notes" * 50)
    assert read_image(path).shape == (20, 30, 3)


def test_a_palette_mask_gives_its_indices(tmp_path: Path) -> None:
    indices = RNG.integers(0, 5, (6, 7)).astype(np.uint8)
    image = Image.fromarray(indices, mode="P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9, 200, 100, 0])
    image.save(tmp_path / "p.png")
    assert (read_index_map(tmp_path / "p.png") == indices).all()


def test_a_one_bit_mask_gives_zero_and_one(tmp_path: Path) -> None:
    bits = RNG.integers(0, 2, (6, 7)).astype(bool)
    Image.fromarray(bits).save(tmp_path / "b.png")
    assert (read_index_map(tmp_path / "b.png") == bits).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint8])
def test_colour_and_16_bit_masks_are_refused(tmp_path: Path, dtype: type) -> None:
    pixels = PIXELS if dtype is np.uint8 else PIXELS[..., 0].astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    with pytest.raises(InputError, match=r"m\.png has mode .*expected one 8-bit value per pixel"):
        read_index_map(tmp_path / "m.png")


def test_truncated_mask(tmp_path: Path) -> None:
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "m.png")
    data = (tmp_path / "m.png").read_bytes()
    for keep in (0, 20, len(data) // 2):
        (tmp_path / "m.png").write_bytes(data[:keep])
        with pytest.raises(InputError, match=r"m\.png is truncated or not an image"):
            read_index_map(tmp_path / "m.png")
    with pytest.raises(InputError, match="cannot read"):
        read_index_map(tmp_path / "none.png")


def png(pixels: np.ndarray, mode: str, **save: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if image.mode == mode else image.convert(mode)).save(buffer, "png", **save)
    return buffer.getvalue()


VARIANTS = {
    "RGB": png(PIXELS, "RGB"),
    "optimised": png(PIXELS, "RGB", optimize=True),
    "with a transparent colour": png(PIXELS, "RGB", transparency=(1, 2, 3)),
    "with a rotation": png(PIXELS, "RGB", exif=Image.Exif()),
    "RGBA": png(PIXELS, "RGBA"),
    "grey": png(PIXELS[..., 0], "L"),
    "one bit": png(PIXELS[..., 0], "1"),
    "palette": png(PIXELS, "P"),
    "16 bits": cv2.imencode(".png", PIXELS.astype(np.uint16) * 257)[1].tobytes(),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_kind_of_png_has_opencvs_pixels(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.png").write_bytes(VARIANTS[name])
    expected = cv2.imdecode(np.frombuffer(VARIANTS[name], np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), expected)


@pytest.mark.parametrize("name", ["grey", "one bit", "palette"])
def test_every_kind_of_mask_has_pillows_values(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.png").write_bytes(VARIANTS[name])
    np.testing.assert_array_equal(read_index_map(tmp_path / "x.png"), np.asarray(Image.open(tmp_path / "x.png")))


def test_a_rotated_png_is_rotated_as_by_opencv(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(PIXELS, "RGB", exif=exif)
    (tmp_path / "x.png").write_bytes(data)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), expected)


@pytest.mark.parametrize("read", [read_image, read_index_map])
def test_a_flipped_byte_is_found(tmp_path: Path, read: Callable[[Path], np.ndarray]) -> None:
    data = bytearray(VARIANTS["RGB" if read is read_image else "grey"])
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(InputError, match="is truncated or not an image"):
        read(tmp_path / "x.png")
