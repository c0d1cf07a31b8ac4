"""Files are read as the reference reads them, and broken ones are refused."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from fcn_lightning import InputError
from fcn_lightning.data import images
from fcn_lightning.data.images import open_image, read_image, read_index_map, write_png
from tests.hostile import GREY, PNG_SIGNATURE, RGB, chunk, huge_png, postscript

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


READERS = pytest.mark.parametrize("read", [read_image, read_index_map])


@READERS
@pytest.mark.parametrize("color", [GREY, RGB])
@pytest.mark.parametrize("size", [(30_000, 30_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (536_870_913, 1)])
def test_more_pixels_than_anybody_means_are_refused_by_the_header(
    tmp_path: Path, read: Callable[[Path], np.ndarray], color: int, size: tuple[int, int]
) -> None:
    path = huge_png(tmp_path / "x.png", *size, color=color)
    words = rf"x.png declares more pixels than the 536,870,912 that are read \({size[0]}x{size[1]} pixels.*; cut it into tiles"
    with pytest.raises(InputError, match=words):
        read(path)


def test_the_limit_is_above_any_image_of_sixteen_thousand_pixels_a_side(tmp_path: Path) -> None:
    images.check_size(tmp_path, (16_384, 16_384))
    images.check_size(tmp_path, (1 << 15, 1 << 14))
    with pytest.raises(InputError, match="32768x16385"):
        images.check_size(tmp_path, (1 << 15, (1 << 14) + 1))
    assert Image.MAX_IMAGE_PIXELS == images.MAX_PIXELS, "Pillow neither warns nor refuses below it"


@READERS
@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "tiff", "webp"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"icc_profile": bytes(200_000)}], ids=["plain", "progressive", "profile"]
)
def test_one_limit_holds_for_every_format_and_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], np.ndarray], kind: str, options: dict[str, Any]
) -> None:
    path = tmp_path / "x.png"  # the content counts
    Image.fromarray(PIXELS if read is read_image else PIXELS[..., 0]).save(path, kind, **options)
    monkeypatch.setattr(images, "MAX_PIXELS", 20 * 30)
    if kind != "webp" or read is read_image:  # WebP has colours, and is no mask
        assert read(path).shape[:2] == (20, 30)
    monkeypatch.setattr(images, "MAX_PIXELS", 20 * 30 - 1)
    monkeypatch.setattr(cv2, "imdecode", None)
    monkeypatch.setattr(images.imagecodecs, "png_decode", None)
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(InputError, match="30x20 pixels, width x height"):
        read(path)


@pytest.mark.parametrize(
    "before",
    [
        b"\xff\xfe\x00\x04\xff\xc0",  # a comment that holds a marker
        b"\xff\xff\xff\xfe\x00\x03x",  # with fill bytes before it
        b"\xff\xfe\xff\xff" + bytes(65_533),
        b"\xff\xd0",  # a marker without a length
        b"\x00junk\xff\x00",  # which libjpeg passes over
    ],
    ids=["marker in a comment", "fill bytes", "long comment", "restart", "junk"],
)
def test_the_size_of_a_jpeg_is_found_where_libjpeg_finds_it(tmp_path: Path, before: bytes) -> None:
    data = encoded("jpeg")
    end = 20  # of the JFIF header
    (tmp_path / "x.jpg").write_bytes(data[:end] + before + data[end:])
    assert images._declared((tmp_path / "x.jpg").read_bytes()) == (30, 20)
    assert read_image(tmp_path / "x.jpg").shape == (20, 30, 3)


@READERS
def test_a_second_header_does_not_hide_the_size(tmp_path: Path, read: Callable[[Path], np.ndarray]) -> None:
    data = VARIANTS["grey"]
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, GREY, 0, 0, 0))
    end = len(PNG_SIGNATURE) + 25
    (tmp_path / "x.png").write_bytes(data[:end] + second + data[end:])
    with pytest.raises(InputError, match=r"x\.png (declares more pixels|is truncated or not an image)"):
        read(tmp_path / "x.png")


def test_a_tiff_of_a_kind_that_only_opencv_reads_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(cv2.imencode(".tif", PIXELS.astype(np.int16))[1].tobytes())
    with pytest.raises(OSError, match="no PNG, JPEG, BMP, TIFF or WEBP"):
        open_image(tmp_path / "x.tif")
    assert read_image(tmp_path / "x.tif").shape == (20, 30, 3)


@READERS
def test_a_program_in_the_place_of_an_image_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], np.ndarray]
) -> None:
    path, ran = postscript(tmp_path / "x.png"), tmp_path / "ran"
    interpreter = tmp_path / "bin/gs"
    interpreter.parent.mkdir()
    interpreter.write_text(f"#!/bin/sh\ntouch {ran}\n")
    interpreter.chmod(0o755)
    monkeypatch.setenv("PATH", f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    with pytest.raises(InputError, match=r"x\.png is truncated or not an image"):
        read(path)
    assert not ran.exists()
    with pytest.raises(OSError, match=r"."), Image.open(path) as file:
        file.load()
    assert ran.exists(), "the file of this test does what it is refused for"


@READERS
@pytest.mark.parametrize("kind", ["gif", "ppm", "jpeg2000", "tga"])
def test_other_formats_reach_no_decoder(tmp_path: Path, read: Callable[[Path], np.ndarray], kind: str) -> None:
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "x.png", kind)
    with pytest.raises(InputError, match=r"x\.png is truncated or not an image"):
        read(tmp_path / "x.png")
