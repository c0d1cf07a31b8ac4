"""Tiny data sets in the real layouts of the public ones, with their real encodings. Used by tests; holds none."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from fcn_lightning.data.datamodule import SegmentationDataModule
from tests.conftest import ROOT

Size = tuple[int, int]
Rng = np.random.Generator

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # of Cityscapes, in the order of train ids
VOID = 255


def draw(name: str, root: Path, *, train: int = 2, val: int = 1, size: Size = (40, 56), train_ids: bool = False) -> Path:
    """Draw a data set, the same at each call.

    Args:
        name: as in `dataset=<name>`.
        root: a new folder.
        train: training images; of voc12aug so many with official masks, and as many again with SBD's.
        val: validation images.
        size: height and width of each.
        train_ids: write the train ids of cityscapes beside the label ids.

    Returns:
        What belongs into `dataset.root`.
    """
    rng = np.random.default_rng(0)
    if name.startswith("cityscapes"):
        _cityscapes(root, rng, {"train": train, "val": val}, size, train_ids)
    else:
        DRAW[name](root, rng, {"train": train, "val": val}, size)
    return root


def module(kind: type[SegmentationDataModule], root: Path) -> SegmentationDataModule:
    """Build a data module for these small images."""
    return kind(base_scale=(56, 40), ratio_range=(1, 1), crop_size=(32, 32), global_batch_size=2, workers=0, seed=0, root=str(root))


def golden_classes(name: str) -> dict[str, Any]:
    """Return what the reference says about the classes of a data set."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "tests/golden/mmseg_classes.yaml").read_text())
    return content[name]


def _scene(rng: Rng, values: Sequence[int], ignored: int | None, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image and its mask of six tiles in two rows, with an ignored line between; no value fills half of it."""
    tiles = rng.choice(np.array(values), (2, 3), replace=False)
    mask = tiles[np.arange(size[0]) * 2 // size[0]][:, np.arange(size[1]) * 3 // size[1]].astype(np.uint8)
    if ignored is not None:
        mask[size[0] // 2] = ignored
    image = mask[..., None] * np.array([1, 2, 3]) % 200 + rng.integers(0, 50, (*size, 3))
    return image.astype(np.uint8), mask


def _save(path: Path, pixels: np.ndarray, palette: Sequence[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)


def _cityscapes(root: Path, rng: Rng, numbers: dict[str, int], size: Size, train_ids: bool) -> None:
    table = np.full(256, VOID, np.uint8)
    table[list(LABEL_IDS)] = range(19)
    cities = {"train": ("aachen", "bochum"), "val": ("frankfurt", "lindau")}
    for split, number in numbers.items():
        for index in range(number):
            city = cities[split][index % 2]
            stem = f"{split}/{city}/{city}_{index:06d}_000019"
            image, mask = _scene(rng, LABEL_IDS, 3, size)
            mask[0, :2] = (0, 30)  # unlabeled and trailer, which are no classes either
            _save(root / f"leftImg8bit/{stem}_leftImg8bit.png", image)
            _save(root / f"gtFine/{stem}_gtFine_labelIds.png", mask)
            # What else the download holds, and what is no label map.
            _save(root / f"gtFine/{stem}_gtFine_color.png", np.dstack([image, np.full(size, 255, np.uint8)]))
            _save(root / f"gtFine/{stem}_gtFine_instanceIds.png", mask.astype(np.uint16) * 1000)
            (root / f"gtFine/{stem}_gtFine_polygons.json").write_text("{}")
            if train_ids:
                _save(root / f"gtFine/{stem}_gtFine_labelTrainIds.png", table[mask])


def _ade20k(root: Path, rng: Rng, numbers: dict[str, int], size: Size) -> None:
    for split, folder in (("train", "training"), ("val", "validation")):
        for index in range(1, numbers[split] + 1):
            image, mask = _scene(rng, range(1, 151), 0, size)
            stem = f"{folder}/ADE_{split}_{index:08d}"
            _save(root / f"ADEChallengeData2016/images/{stem}.jpg", image)
            _save(root / f"ADEChallengeData2016/annotations/{stem}.png", mask)


def _voc12aug(root: Path, rng: Rng, numbers: dict[str, int], size: Size) -> None:
    folder = root / "VOCdevkit/VOC2012"
    palette = [channel for entry in golden_classes("voc12aug")["classes"] for channel in entry["color"]]
    palette += [224, 224, 192] * (256 - len(palette) // 3)
    # Not in the order of their names, as the order of a list is the order of the data.
    names = {split: [f"2007_{index:06d}" for index in reversed(range(number))] for split, number in numbers.items()}
    names["val"] = [name.replace("2007", "2009") for name in names["val"]]
    names["aug"] = [f"2008_{index:06d}" for index in range(numbers["train"])]
    for split, chosen in names.items():
        _list(folder / f"ImageSets/Segmentation/{split}.txt", chosen)
        for name in chosen:
            image, mask = _scene(rng, range(21), VOID, size)
            _save(folder / f"JPEGImages/{name}.jpg", image)
            if split != "aug":
                _save(folder / f"SegmentationClass/{name}.png", mask, palette)
            if split != "val":  # SBD has masks of the official images too: other ones, without void
                _save(folder / f"SegmentationClassAug/{name}.png", np.where(mask == VOID, 0, (mask + 1) % 21).astype(np.uint8))
    _list(folder / "ImageSets/Segmentation/trainaug.txt", sorted(names["aug"] + names["train"]))


def _pascal_context(root: Path, rng: Rng, numbers: dict[str, int], size: Size) -> None:
    folder = root / "VOCdevkit/VOC2010"
    for number, split in enumerate(("train", "val")):
        names = [f"200{8 + number}_{index:06d}" for index in range(numbers[split])]
        _list(folder / f"ImageSets/SegmentationContext/{split}.txt", names)
        for name in names:
            image, mask = _scene(rng, range(1, 60), 0, size)
            _save(folder / f"JPEGImages/{name}.jpg", image)
            _save(folder / f"SegmentationClassContext/{name}.png", mask)


def _list(path: Path, names: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


DRAW: dict[str, Callable[[Path, Rng, dict[str, int], Size], None]] = {
    "ade20k": _ade20k,
    "voc12aug": _voc12aug,
    "pascal_context": _pascal_context,
    "pascal_context_59": _pascal_context,
}
