"""A small data set in which nothing is wrong, and for each finding of the doctor a hand that plants it."""

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcn_lightning.data.folder import FolderDataModule
from fcn_lightning.data.voc12aug import VOC12AugDataModule
from fcn_lightning.diagnosis.diagnosis import Diagnosis, diagnose
from tests.data.layouts import draw, module

SIZE = (48, 64)
COLORS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (230, 230, 40))
CLASSES = f"classes: [ground, tree, house, sky]\ncolors: {[list(color) for color in COLORS]}\n"
Plant = Callable[[Path], None]


def clean(root: Path) -> Path:
    """Draw six images for training and four for validation; every mask holds all four classes and an ignored line."""
    rng = np.random.default_rng(0)
    for split, number in (("train", 6), ("val", 4)):
        for index in range(number):
            cells = rng.integers(20, 235, (6, 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
            tiles = rng.permutation(np.arange(12) % 4).reshape(3, 4).repeat(16, axis=0).repeat(16, axis=1)
            tiles[0] = 255
            save(cells + rng.integers(0, 20, cells.shape), root / f"images/{split}/{index}.jpg")
            save(tiles, root / f"masks/{split}/{index}.png")
    (root / "classes.yaml").write_text(CLASSES)
    return root


def examine(root: Path, *, images: int = 100) -> Diagnosis:
    """Diagnose a `dataset=folder`."""
    return diagnose(module(FolderDataModule, root), images=images, processes=1)


def codes(diagnosis: Diagnosis) -> set[str]:
    return {finding.code for finding in diagnosis.findings}


def save(pixels: np.ndarray, path: Path, kind: str | None = None, mode: str | None = None, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint8))
    (image.convert(mode) if mode else image).save(path, kind, **options)


def mask_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def masks(root: Path, name: str = "*/*") -> list[Path]:
    return sorted((root / "masks").glob(f"{name}.png"))


def remap(table: dict[int, int], name: str = "*/*") -> Plant:
    """Give the values of masks other numbers."""
    values = np.arange(256)
    values[list(table)] = list(table.values())

    def plant(root: Path) -> None:
        for path in masks(root, name):
            save(values[mask_of(path)], path)

    return plant


def paint(root: Path, name: str = "*/*", *, ignored: tuple[int, int, int] = COLORS[0], kind: str = "PNG", **options: Any) -> None:
    """Replace masks by what they look like in the colours of the classes."""
    table = np.zeros((256, 3), np.uint8)
    table[:4], table[255] = COLORS, ignored
    for path in masks(root, name):
        save(table[mask_of(path)], path, kind, **options)


def few_bits(root: Path) -> None:
    """Write a grey PNG of four bits per pixel, as some annotation tools do; Pillow has no writer for it."""
    path = root / "masks/train/0.png"
    mask = mask_of(path) % 5  # 255 becomes 0
    rows = b"".join(b"\0" + (row[::2] << 4 | row[1::2]).astype(np.uint8).tobytes() for row in mask)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", mask.shape[1], mask.shape[0], 4, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def cut(name: str) -> Plant:
    def plant(root: Path) -> None:
        path = root / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])

    return plant


def tagged(orientation: int, *, turn_mask: bool = False) -> Plant:
    """Give an image an EXIF orientation."""

    def plant(root: Path) -> None:
        path, exif = root / "images/train/0.jpg", Image.Exif()
        exif[0x0112] = orientation
        Image.open(path).save(path, exif=exif)
        if turn_mask:
            save(np.rot90(mask_of(root / "masks/train/0.png"), -1), root / "masks/train/0.png")

    return plant


def palette_of_another_order(root: Path) -> None:
    path = root / "masks/train/0.png"
    image = Image.fromarray(mask_of(path) % 4)
    image.putpalette([channel for color in reversed(COLORS) for channel in color])
    image.save(path)


def two_classes(root: Path, change: Plant, classes: str) -> None:
    change(root)
    (root / "classes.yaml").write_text(classes)


def soft_edges(root: Path) -> None:
    """Let two labels run into each other, as drawing programs do."""
    two_classes(root, remap({1: 0, 2: 200, 3: 200, 255: 0}), "classes: [a, b]\nlabel_map: {0: a, 200: b}")
    mask = mask_of(root / "masks/train/0.png").repeat(10, 0).repeat(10, 1)
    save(np.asarray(Image.fromarray(mask).rotate(3, Image.Resampling.BICUBIC)), root / "masks/train/0.png")
    image = Image.open(root / "images/train/0.jpg")
    image.resize((640, 480)).save(root / "images/train/0.jpg")


def a_single_pixel(root: Path) -> None:
    """Leave one pixel of 18,048 to a class."""
    remap({3: 0}, "train/*")(root)
    pixels = mask_of(root / "masks/train/0.png").copy()
    pixels[5, 5] = 3
    save(pixels, root / "masks/train/0.png")


def one_value_without_classes(root: Path) -> None:
    (root / "classes.yaml").unlink()
    for path in masks(root):
        save(np.full(SIZE, 7), path)


def lost(*names: str) -> Plant:
    return lambda root: [(root / name).unlink() for name in names] and None


def also(name: str, other: str) -> Plant:
    return lambda root: shutil.copy(root / name, root / other) and None


def voc_names_without_files(root: Path) -> None:
    (root / "VOCdevkit/VOC2012/JPEGImages/2007_000000.jpg").unlink()
    (root / "VOCdevkit/VOC2012/SegmentationClass/2007_000000.png").unlink()


def examine_voc(root: Path) -> Diagnosis:
    draw("voc12aug", root)
    voc_names_without_files(root)
    return diagnose(module(VOC12AugDataModule, root), images=0, processes=1)


# Code -> hand that plants it, and words of its sentence.
PLANTS: dict[str, tuple[Plant, tuple[str, ...]]] = {
    "split-unreadable": (lost("classes.yaml"), ("classes.yaml cannot be read", "name the classes there")),
    "image-without-mask": (lost("masks/train/3.png"), ("1 of 10 images have no mask", "3.jpg", "3.png", "add the masks")),
    "mask-without-image": (lost("images/val/1.jpg"), ("1 of 10 masks have no image", "1.png", "add the images")),
    "mask-name": (
        lambda root: (root / "masks/train/2.png").rename(root / "masks/train/2.PNG") and None, ("2.PNG", "expected", "2.png")
    ),
    "image-broken": (cut("images/train/4.jpg"), ("1 of 10 images cannot be read", "4.jpg is truncated")),
    "mask-broken": (cut("masks/train/4.png"), ("1 of 10 masks cannot be read", "4.png is truncated")),
    "size-differs": (
        lambda root: save(mask_of(root / "masks/val/0.png")[:, 1:], root / "masks/val/0.png"),
        ("image 48x64, mask 48x63", "one size"),
    ),
    "exif-rotation": (tagged(6), ("train/0.jpg", "orientation 6, image 64x48 as read, mask 48x64", "turn the masks")),
    "exif-unclear": (tagged(3), ("orientation 3", "compare the pictures")),
    "exif-applied": (tagged(6, turn_mask=True), ("image 64x48 as read, mask 64x48",)),
    "image-mode": (
        lambda root: save(np.asarray(Image.open(root / "images/train/0.jpg")), root / "images/train/0.jpg", "PNG", "RGBA"),
        ("1 of 10 images", "mode RGBA"),
    ),
    "duplicate-across-splits": (also("images/train/1.jpg", "images/val/2.jpg"), ("train/1.jpg and", "val/2.jpg", "byte for byte")),
    "duplicate-within-split": (also("images/train/1.jpg", "images/train/2.jpg"), ("train/1.jpg and", "train/2.jpg")),
    "near-duplicate-across-splits": (
        lambda root: Image.open(root / "images/train/1.jpg").save(root / "images/val/2.jpg", quality=60),
        ("1 of 4 validation images look like one of 6", "val/2.jpg and", "train/1.jpg"),
    ),
    "mask-jpeg": (
        lambda root: save(mask_of(root / "masks/train/0.png"), root / "masks/train/0.png", "JPEG"),
        ("1 of 10 masks are compressed as JPEG", "different values", "the labels lie only 1 apart", "export them again"),
    ),
    "mask-colour": (
        lambda root: paint(root, "train/0"), ("1 of 10 masks hold colours", "[30, 200, 30] tree", "%", "fix=true")
    ),
    "mask-alpha": (
        lambda root: paint(root, "train/0", mode="RGBA"), ("1 of 10 masks have an alpha channel", "nothing transparent", "house")
    ),
    "mask-grey-as-rgb": (
        lambda root: save(mask_of(root / "masks/train/0.png"), root / "masks/train/0.png", mode="RGB"),
        ("repeat one grey value", "RGB"),
    ),
    "mask-16-bit": (
        lambda root: save(mask_of(root / "masks/train/0.png").astype(np.uint16), root / "masks/train/0.png"),
        ("16 or more bits", "values up to 255, all of which fit 8 bits"),
    ),
    "mask-few-bits": (few_bits, ("2 or 4 bits per grey pixel",)),
    "mask-smeared": (soft_edges, ("masks have soft edges", "lie around 2 (0, 200)", "resize and draw labels without smoothing")),
    "palette-order": (palette_of_another_order, ("0 has the colour of sky", "training reads the indices")),
    "labels-unclear": (one_value_without_classes, ("no class list can be drafted", "by hand")),
    "binary-255": (
        lambda root: two_classes(root, remap({1: 0, 2: 255, 3: 255}), "classes: [ground, house]"),
        ("never 1", "label_map: {0: ground, 255: house}"),
    ),
    "off-by-one": (
        remap({0: 1, 1: 2, 2: 3, 3: 4}),
        ("count from 1 to 4", "0 pixels are 0", "label_map: {0: ignore, 1: ground, 2: tree, 3: house, 4: sky, 255: ignore}"),
    ),
    "reduce-zero-label": (
        remap({0: 1, 1: 2, 2: 3, 3: 4, 255: 0}), ("0 to 4, one more than the 4 classes", "label_map: {0: ignore, 1: ground")
    ),
    "other-values": (remap({1: 50, 2: 100, 3: 200}), ("0, 50, 100, 200", "label_map: {0: ground, 50: tree, 100: house, 200: sky")),
    "unlisted-values": (remap({2: 77}, "train/1"), ("1 of 10 masks hold values", "77 (", "train/1.png", "correct the masks")),
    "class-missing-train": (remap({3: 0}, "train/*"), ("1 of 4 classes have no pixel in train: sky", "cannot be learnt")),
    "class-missing-val": (remap({1: 0}, "val/*"), ("1 of 4 classes have no pixel in val: tree", "has no score")),
    "class-rare": (a_single_pixel, ("1 of 4 classes have less than 0.01% of the labelled pixels of train: sky (1 pixels)",)),
    "mask-empty": (lambda root: save(np.full(SIZE, 255), root / "masks/train/5.png"), ("1 of 10 masks have only ignored", "5.png")),
    "mask-single-class": (lambda root: save(np.full(SIZE, 2), root / "masks/train/5.png"), ("5.png (house alone)",)),
}  # fmt: skip

# What a plant cannot help to bring along.
COMPANIONS = {"labels-unclear": {"split-unreadable"}}
