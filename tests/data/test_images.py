"""Files are read as the reference reads them, and broken ones are refused."""

import io
from pathlib import Path

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
