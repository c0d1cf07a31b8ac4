"""`folder`: anybody's images and masks, described by a `classes.yaml` beside them; no code needed.

    classes.yaml                 the class names, in the order of their values in the masks
    images/**  masks/**          a mask is a PNG with the image's relative name and one value per pixel

The splits are the folders `train` and `val` below both, where these exist; else `train.txt` and `val.txt` beside
`classes.yaml` (one relative image name per line); else every fifth image, sorted by name, is for validation.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from fcn_lightning import InputError
from fcn_lightning.data.colors import distinct_colors
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.dataset import IGNORE_INDEX, Color, Labels, SegmentationDataset
from fcn_lightning.data.label_map import REDUCE_ZERO_LABEL, with_label_map
from fcn_lightning.data.pairing import pair_files, read_list
from fcn_lightning.data.pairs import Pair
from fcn_lightning.data.yaml_file import read_yaml

log = logging.getLogger(__name__)

VAL_EVERY = 5
KEYS = {"classes", "colors", "ignored", "label_map", "reduce_zero_label"}


class FolderDataModule(SegmentationDataModule):
    """`dataset=folder`; `root` is the folder with `classes.yaml`, `images` and `masks`."""

    name = "folder"

    @cached_property
    def canonical(self) -> Labels:
        """The classes, as `classes.yaml` says."""
        return read_classes(self.folder() / "classes.yaml")

    def build(self, split: str) -> SegmentationDataset:
        """Return the images of "train" or "val"."""
        root, labels = self.folder(), self.labels
        images, masks = root / "images", root / "masks"
        if (images / "train").is_dir() and (images / "val").is_dir():
            return SegmentationDataset(pair_files(images / split, masks / split), labels)
        pairs = pair_files(images, masks)
        if (root / f"{split}.txt").is_file():
            return SegmentationDataset(_listed(pairs, images, root / f"{split}.txt"), labels)
        if split == "val":
            log.info("%s has no val folder and no val.txt: every fifth image is for validation", root)
        if len(pairs) < VAL_EVERY:
            raise InputError(
                f"{images} holds {len(pairs)} images, too few to split; make folders train and val below images and masks"
            )
        is_val = [number % VAL_EVERY == VAL_EVERY - 1 for number in range(len(pairs))]
        return SegmentationDataset([pair for pair, val in zip(pairs, is_val, strict=True) if val == (split == "val")], labels)


def read_classes(path: Path) -> Labels:
    """Read a `classes.yaml`.

    Its keys: `classes`, names in the order of their mask values from 0 up; `colors`, one [r, g, b] each,
    optional; `ignored`, mask values that mean "no class", optional, beside 255. Or, where the values are others,
    `label_map` instead of `ignored`: the table of `label_map.py`; `reduce_zero_label: true` is short for one.

    Raises:
        InputError: the file is missing or says something else.
    """
    try:
        content = read_yaml(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); name the classes there, as in `classes: [road, car]`"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("classes"), list) or not set(content) <= KEYS:
        raise InputError(
            f"{path} needs a list `classes`, and may have {', '.join(sorted(KEYS - {'classes'}))}, nothing else; correct it"
        )
    label_map = REDUCE_ZERO_LABEL if content.get("reduce_zero_label") else content.get("label_map")
    if label_map and (content.get("ignored") or {"label_map", "reduce_zero_label"} <= content.keys()):
        raise InputError(f"{path} says twice what the values mean; keep one of `ignored`, `label_map` and `reduce_zero_label`")
    classes = [_name(number, name, path) for number, name in enumerate(content["classes"])]
    ignored = content.get("ignored") or []
    if not isinstance(ignored, list) or not all(isinstance(value, int) for value in ignored):
        raise InputError(f"{path}: `ignored` must be a list of mask values, as in [255]; correct it")
    clash = sorted(set(ignored) & set(range(len(classes))))
    if clash:
        raise InputError(
            f"{path} ignores {clash[0]}, the value of class {classes[clash[0]]!r}; remove it from `ignored` or `classes`"
        )
    try:
        palette = _palette(content.get("colors"), len(classes))
        labels = Labels(tuple(classes), palette, tuple(range(len(classes))), (*ignored, IGNORE_INDEX))
        return with_label_map(labels, label_map, str(path)) if label_map else labels
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _name(number: int, name: object, path: Path) -> str:
    if not isinstance(name, str | int | float):
        raise InputError(f"{path}: class {number} is not a name ({type(name).__name__}); write a word, in quotes if need be")
    return str(name)


def _palette(colors: Sequence[Sequence[int]] | None, num_classes: int) -> tuple[Color, ...]:
    if colors is not None:
        try:
            return tuple((int(r), int(g), int(b)) for r, g, b in colors)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError("each of `colors` must be three numbers, as in [128, 64, 128]; correct it") from error
    return distinct_colors(num_classes)


def _listed(pairs: Sequence[Pair], images: Path, path: Path) -> list[Pair]:
    by_name = {str(pair.image.relative_to(images)): pair for pair in pairs}
    names = read_list(path)
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise InputError(f"{path} lists {unknown[0]!r}, which is not an image below {images}; correct the list")
    return [by_name[name] for name in names]
