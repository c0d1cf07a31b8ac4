"""Which files a data set names, also where training refuses them: a folder without classes, masks of other endings.

A split that cannot be built is a sentence, not an end: the other one is still worth examining.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from fcn_lightning import InputError
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.dataset import Labels
from fcn_lightning.data.folder import VAL_EVERY, FolderDataModule
from fcn_lightning.data.images import list_images
from fcn_lightning.data.pairing import pair_files, read_list
from fcn_lightning.data.pairs import Pair

SPLITS = ("train", "val")
SEPARATORS = "_-. "


@dataclass(frozen=True)
class Split:
    """The files of "train" or "val".

    Args:
        name: of the split.
        pairs: image and mask; either may be absent.
        labels: the classes; None where they cannot be read.
        images: the folder to which names of images are relative.
        listed: whether all splits share that folder, so that only a list tells them apart.
        problems: why training cannot build this split; empty where it can.
        names: mask file -> the name that training looks for, of masks that are named otherwise.
    """

    name: str
    pairs: Sequence[Pair]
    labels: Labels | None
    images: Path
    listed: bool = False
    problems: Sequence[str] = ()
    names: Mapping[Path, Path] = field(default_factory=dict)


def find_splits(data: SegmentationDataModule) -> list[Split]:
    """Return both splits of a data set with all that can be said about them.

    Raises:
        InputError: the folder of the data does not exist, or the data set has no files.
    """
    if isinstance(data, FolderDataModule):
        data.folder()
        return [_of_folder(data, name) for name in SPLITS]
    return [_of_layout(data, name) for name in SPLITS]


def pair_loosely(images: Path, masks: Path) -> list[Pair]:
    """Pair images and masks of any ending: by equal names, or by what is left of names without what all of them share.

    Returns:
        A pair for each image and for each mask without one, sorted by image.
    """
    found, labelled = (_by_name(folder) for folder in (images, masks))
    ways = [(_bare(found, *strip), _bare(labelled, *strip)) for strip in product((False, True), repeat=2)]
    found, labelled = max(ways, key=lambda way: len(set(way[0]) & set(way[1])))  # of equals the first: names as they are
    ending = next(iter(found.values())).suffix if found else ".jpg"
    pairs = [Pair(path, labelled.get(name, masks / f"{name}.png")) for name, path in found.items()]
    pairs += [Pair(images / f"{name}{ending}", path) for name, path in labelled.items() if name not in found]
    return sorted(pairs, key=lambda pair: pair.image)


def _of_layout(data: SegmentationDataModule, name: str) -> Split:
    try:
        dataset = data.build(name)
    except InputError as error:
        if not Path(data.root).is_dir():
            raise
        return Split(name, (), data.labels, Path(data.root), problems=[str(error)])
    if len(dataset) and not len(dataset.pairs):
        raise InputError(f"dataset={data.name} has no files to examine; add dataset=<name> dataset.root=<folder>")
    parents = [str(pair.image.parent) for pair in dataset.pairs]
    return Split(name, list(dataset.pairs), dataset.labels, Path(os.path.commonpath(parents)))


def _of_folder(data: FolderDataModule, name: str) -> Split:
    """Take what training would take, and repair from the loose pairs what has another name there."""
    root = data.folder()
    split_folders = (root / "images/train").is_dir() and (root / "images/val").is_dir()
    images, masks = (root / kind / name if split_folders else root / kind for kind in ("images", "masks"))
    loose = pair_loosely(images, masks)
    labels, strict, problems = None, None, []
    try:
        labels = data.labels
        strict = data.build(name).pairs
    except InputError as error:
        problems.append(str(error))
    chosen = loose if split_folders else _chosen(loose, root, name)
    pairs = chosen if strict is None else _repaired(strict, loose)
    if labels is not None and pairs and not any(pair.mask.suffix == ".png" for pair in pairs):
        problems = []  # that no mask has the right ending is a finding of its own
    if labels is None and not pairs:
        problems += _lacking(images, masks)
    return Split(name, pairs, labels, images, not split_folders, problems, _misnamed(pairs, images, masks))


def _lacking(images: Path, masks: Path) -> list[str]:
    """Say what is wrong with the folders, which training would say only once the classes are known."""
    try:
        pair_files(images, masks)
    except InputError as error:
        return [str(error)]
    return []


def _by_name(folder: Path) -> dict[str, Path]:
    """Return relative name without its suffix -> file; of two, the PNG, which training would take as the mask."""
    files = sorted(list_images(folder), key=lambda path: path.suffix == ".png")
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def _bare(files: dict[str, Path], strip_start: bool, strip_end: bool) -> dict[str, Path]:
    """Strip from all names what they share at the start or the end, up to a separator; unless two would become one."""
    last = [name.rsplit("/", 1)[-1] for name in files]
    if len(last) < 2:
        return files
    start = _shared(last) if strip_start else 0
    end = _shared([file[::-1] for file in last]) if strip_end else 0
    names = [name[: len(name) - len(file)] + file[start : len(file) - end] for name, file in zip(files, last, strict=True)]
    bare = dict(zip(names, files.values(), strict=True))
    return bare if len(bare) == len(files) else files


def _shared(names: Sequence[str]) -> int:
    """Return the length of what all names begin with, up to and with its last separator; letters beyond belong to the name."""
    low, high = min(names), max(names)
    same = next((number for number, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return max(low.rfind(separator, 0, same) for separator in SEPARATORS) + 1


def _chosen(pairs: Sequence[Pair], root: Path, name: str) -> list[Pair]:
    """Choose the pairs of a split as `FolderDataModule.build` does: by a list, else every fifth for validation."""
    path = root / f"{name}.txt"
    if path.is_file():
        try:
            listed = {Path(line).with_suffix("").as_posix() for line in read_list(path)}
        except InputError:
            return []
        return [pair for pair in pairs if pair.image.relative_to(root / "images").with_suffix("").as_posix() in listed]
    is_val = [number % VAL_EVERY == VAL_EVERY - 1 for number in range(len(pairs))]
    return [pair for pair, val in zip(pairs, is_val, strict=True) if val == (name == "val")]


def _repaired(strict: Sequence[Pair], loose: Sequence[Pair]) -> list[Pair]:
    """Replace a mask that is absent by the one that belongs to the image under another name."""
    known = {pair.image: pair.mask for pair in loose if pair.complete}
    owned = set(known.values())
    pairs = [pair if pair.mask.is_file() else Pair(pair.image, known.get(pair.image, pair.mask)) for pair in strict]
    return [pair for pair in pairs if pair.complete or pair.mask not in owned]


def _misnamed(pairs: Sequence[Pair], images: Path, masks: Path) -> dict[Path, Path]:
    wanted = {pair.mask: masks / pair.image.relative_to(images).with_suffix(".png") for pair in pairs if pair.complete}
    return {mask: name for mask, name in wanted.items() if mask != name}
