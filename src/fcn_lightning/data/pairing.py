"""Which mask belongs to which image: by the names in two folders, or by a list of names.

A pair is what a layout names; whether both of its files exist is `SegmentationDataset.missing`'s question.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fcn_lightning import InputError
from fcn_lightning.data.images import list_images
from fcn_lightning.data.pairs import Pair


def pair_files(images: Path, masks: Path, *, image_ending: str = "", mask_ending: str = ".png") -> list[Pair]:
    """Pair images and masks whose relative names agree up to their endings.

    Args:
        images: folder of images, searched recursively.
        masks: folder of masks with the same inner structure; files of another ending are overlooked.
        image_ending: how the names of images end; empty for any image suffix.
        mask_ending: how the names of masks end.

    Returns:
        A pair for each image and for each mask without one, sorted by image.

    Raises:
        InputError: a folder is missing or empty.
    """
    _require(images, masks)
    found = [path for path in list_images(images) if path.name.endswith(image_ending)]
    labelled = [path for path in list_images(masks) if path.name.endswith(mask_ending)]
    for kind, folder, ending, files in (("images", images, image_ending, found), ("masks", masks, mask_ending, labelled)):
        if not files:
            raise InputError(f"no {kind} ({ending or 'of any format'}) in {folder}; set dataset.root to a folder that holds some")

    pairs = [Pair(path, masks / f"{_key(path, images, image_ending or path.suffix)}{mask_ending}") for path in found]
    known = {pair.mask for pair in pairs}
    guess = image_ending or found[0].suffix  # of an image that is not there
    pairs += [Pair(images / f"{_key(path, masks, mask_ending)}{guess}", path) for path in labelled if path not in known]
    return sorted(pairs, key=lambda pair: pair.image)


def pair_listed(names: Sequence[str], images: Path, masks: Path) -> list[Pair]:
    """Pair the JPEG and the PNG of each name, in the order of the list, as the Pascal data sets do.

    Raises:
        InputError: a folder is missing.
    """
    _require(images, masks)
    return [Pair(images / f"{name}.jpg", masks / f"{name}.png") for name in names]


def read_list(path: Path) -> list[str]:
    """Read the names in a list file, one per line; empty lines do not count.

    Raises:
        InputError: the file is missing or empty, names something twice, or names what lies outside the data set.
    """
    if not path.is_file():
        raise InputError(f"list {path} does not exist; put it there, or set dataset.root to a complete copy of the data")
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if _points_outside(line.strip()):
            raise InputError(
                f"list {path} line {number} names {line.strip()!r:.200}, which points outside the data set; "
                "write a name relative to its folder of images, or put the file there"
            )
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise InputError(f"list {path} is empty; write one image name per line")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"list {path} names {name!r} {count} times; remove the repeated lines")
    return names


def _points_outside(name: str) -> bool:
    """Tell whether a name, read as a path of any system, is absolute or leads upwards; no name has a null character."""
    plain = name.replace("\\", "/")
    return plain.startswith("/") or "\0" in plain or ".." in plain.split("/") or re.match(r"[A-Za-z]:/", plain) is not None


def _require(*folders: Path) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"folder {folder} does not exist; set dataset.root (or the variable FCN_DATA) to where the data is")


def _key(path: Path, folder: Path, ending: str) -> str:
    return path.relative_to(folder).as_posix().removesuffix(ending)
