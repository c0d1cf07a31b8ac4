"""What is read of one file, against numpy and against what training reads."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_lightning.data.images import read_image
from fcn_lightning.diagnosis.convert import nearest, turn
from fcn_lightning.diagnosis.image_files import fingerprint, read_header, read_pixels
from fcn_lightning.diagnosis.mask_files import MaskFile, pack, read_mask, read_values, unpack
from fcn_lightning.diagnosis.reading import centres
from fcn_lightning.diagnosis.workers import Workers
from tests.diagnosis.planted import few_bits, save

RNG = np.random.default_rng(1)
GREY = RNG.choice([0, 1, 7, 255], (20, 30)).astype(np.uint8)
RGB = np.array([[0, 0, 0], [250, 10, 3], [9, 8, 7]], np.uint8)[RNG.integers(0, 3, (20, 30))]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
def test_the_size_is_the_one_that_training_reads(tmp_path: Path, suffix: str, orientation: int) -> None:
    path, exif = tmp_path / f"a.{suffix}", Image.Exif()
    exif[0x0112] = orientation
    options = {"tif": {"tiffinfo": {0x0112: orientation}}, "bmp": {}}.get(suffix, {"exif": exif})
    save(RGB, path, **options)
    image = read_header(path)
    assert image.size == read_image(path).shape[:2]
    assert read_pixels(path).decoded
    if suffix == "png":
        assert image.orientation == orientation
        assert image.stored == (20, 30)
        assert np.array_equal(turn(RGB[..., 0], orientation), read_image(path)[..., 0])


def check(mask: MaskFile, expected: np.ndarray) -> None:
    values, counts = np.unique(expected, return_counts=True)
    assert dict(mask.values) == dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert np.array_equal(read_values(mask.path, colored=mask.colored), expected)
    assert (mask.size, mask.distinct) == (expected.shape, len(values))


@pytest.mark.parametrize(
    ("mode", "encoding"), [("L", ""), ("P", ""), ("RGB", "mask-grey-as-rgb"), ("LA", "mask-alpha"), ("RGBA", "mask-alpha")]
)
def test_counts_of_grey_masks(tmp_path: Path, mode: str, encoding: str) -> None:
    image = Image.fromarray(GREY)
    if mode == "P":
        image.putpalette(RNG.integers(0, 256, 768).tolist())
    (image if mode == "P" else image.convert(mode)).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert (mask.mode, mask.encoding, mask.colored) == (mode, encoding, False)
    check(mask, GREY)


def test_counts_of_one_sixteen_and_four_bits(tmp_path: Path) -> None:
    Image.fromarray(GREY > 0).save(tmp_path / "one.png")
    check(read_mask(tmp_path / "one.png"), (GREY > 0).astype(np.uint8))
    save(GREY.astype(np.uint16) * 200, tmp_path / "wide.png")
    check(read_mask(tmp_path / "wide.png"), GREY.astype(np.uint16) * 200)
    save(GREY % 5, tmp_path / "masks/train/0.png")
    few_bits(tmp_path)
    assert np.asarray(Image.open(tmp_path / "masks/train/0.png")).max() > 16, "Pillow stretches the values"
    check(read_mask(tmp_path / "masks/train/0.png"), GREY % 5)


def test_counts_of_colours(tmp_path: Path) -> None:
    save(RGB, tmp_path / "m.png")
    packed = RGB.astype(int) @ [65536, 256, 1]
    check(read_mask(tmp_path / "m.png"), packed)
    noise = RNG.integers(0, 256, (100, 90, 3))  # more colours than Pillow counts
    save(noise, tmp_path / "noise.png")
    mask = read_mask(tmp_path / "noise.png")
    assert mask.distinct == len(np.unique(noise.reshape(-1, 3), axis=0)) > 8000
    assert len(mask.values) == 1024
    hidden = np.dstack([RGB, np.where(GREY == 7, 0, 255)])
    save(hidden, tmp_path / "alpha.png")
    assert read_mask(tmp_path / "alpha.png").transparent == (GREY == 7).sum()


def test_floating_point_masks_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "m.tif")
    assert "floating-point" in read_mask(tmp_path / "m.tif").problem


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_cut_image_is_found_by_its_end_without_decoding_the_good_ones(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    save(RNG.integers(0, 255, (60, 80, 3)), path)
    assert (read_header(path).problem, read_header(path).decoded) == ("", False)
    path.write_bytes(path.read_bytes() + b"data of the camera's own" * 9)
    assert read_header(path).problem == ""
    path.write_bytes(path.read_bytes()[:1500])
    assert "truncated" in read_header(path).problem
    path.write_bytes(b"")
    assert "truncated or not an image" in read_header(path).problem
    assert "truncated or not an image" in read_mask(path).problem


def test_fingerprints() -> None:
    picture = RNG.integers(0, 255, (8, 9, 3)).repeat(10, 0).repeat(10, 1).astype(np.uint8)
    same = fingerprint(picture)
    darker = fingerprint((picture * 0.8).astype(np.uint8))
    other = fingerprint(np.ascontiguousarray(picture[:, ::-1]))
    assert same is not None
    assert darker is not None
    assert other is not None
    assert (same ^ darker).bit_count() <= 2
    assert (same ^ other).bit_count() > 12
    assert fingerprint(np.full((90, 80, 3), 7, np.uint8)) is None


def test_nearest_and_centres() -> None:
    values = np.array([0, 5, 127, 128, 250], np.uint32)
    assert nearest(values, [0, 255], colored=False).tolist() == [0, 0, 0, 255, 255]
    red, blue = pack((255, 0, 0)), pack((0, 0, 255))
    assert nearest(np.array([pack((200, 9, 90))], np.uint32), [blue, red], colored=True).tolist() == [red]
    assert unpack(pack((1, 2, 3))) == (1, 2, 3)
    assert centres({0: 900, 3: 20, 255: 500, 250: 10, 128: 1}) == {0: 920, 255: 510}


def test_processes_give_what_one_gives(tmp_path: Path) -> None:
    for index in range(3):
        save((GREY + index) % 9, tmp_path / f"{index}.png")
    paths = [tmp_path / f"{index % 3}.png" for index in range(210)]
    with Workers(2) as workers:
        assert workers.map(read_mask, paths, doing="masks") == [read_mask(path) for path in paths]
