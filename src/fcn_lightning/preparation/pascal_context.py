"""Pascal Context: images of VOC 2010, and masks drawn from the annotations of PASCAL in Detail.

Source: open-mmlab/mmsegmentation's conversion, which draws all annotations of an image in the order of the file, crowds
included, and then replaces each category id by its rank among the 60 that are used. Of the Detail API nothing is needed.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcn_lightning import InputError
from fcn_lightning.data.images import UInt8
from fcn_lightning.preparation.outputs import Output, copied, drawn, home, listed
from fcn_lightning.preparation.run_lengths import decode
from fcn_lightning.preparation.sources import Found, Part

VOC = Part(
    "VOCtrainval_03-May-2010.tar",
    "host.robots.ox.ac.uk/pascal/VOC/voc2010",
    "VOC2010",
    r"JPEGImages/\w+\.jpg",
    mistaken=((r"VOC20(?:0\d|11|12)|May-20(?:09|11|12)|06-Nov-2007", "the VOC of another year"),),
)
ANNOTATIONS = Part(
    "trainval_merged.json",
    "codalabuser.blob.core.windows.net/public/trainval_merged.json, the address that PASCAL in Detail published",
    sha1="169325d9f7e9047537fedca7b04de4dddf10b881",
)
PARTS = (VOC, ANNOTATIONS)
# Category ids in PASCAL in Detail; the value in a mask is the position here, in the order of the class list.
# fmt: off
CATEGORIES = (
    0, 2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159, 162, 187,
    189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424,
    427, 440, 445, 454, 458,
)
# fmt: on
MASK_BYTES = 16 << 10  # of a drawn mask, ample
MAX_SIDE = 4096  # pixels; VOC's images have 500
MAX_CATEGORY = 1 << 16  # far above the ids in the published file


@dataclass(frozen=True)
class Annotated:
    """An image of the annotation file.

    Args:
        name: of the image file, without its ending.
        phase: "train" or "val".
        size: height and width.
        shapes: category id and segmentation of each annotation, in the order of the file.
    """

    name: str
    phase: str
    size: tuple[int, int]
    shapes: list[tuple[int, Any]]


def plan(found: Sequence[Found], root: Path) -> list[Output]:
    """Return the images and masks of "train" and "val", and their lists, sorted by name.

    Args:
        found: the parts, as in `PARTS`.
        root: of the data set, or the folder VOC2010 itself.
    """
    voc, annotations = found
    folder = home(root, "JPEGImages", "VOC2010", "VOCdevkit/VOC2010")
    images = sorted(read_annotations(annotations.path), key=lambda image: image.name)
    names = [f"JPEGImages/{image.name}.jpg" for image in images]
    outputs = [copied(voc, name, folder / name) for name in names if name in voc.names]
    outputs += [
        drawn(folder / "SegmentationClassContext" / f"{image.name}.png", MASK_BYTES, partial(draw, image)) for image in images
    ]
    for phase in ("train", "val"):
        chosen = [image.name for image in images if image.phase == phase]
        outputs.append(listed(folder / "ImageSets/SegmentationContext" / f"{phase}.txt", chosen))
    return outputs


def read_annotations(path: Path) -> list[Annotated]:
    """Read the images of the phases "train" and "val" with their annotations.

    Raises:
        InputError: the file is no such JSON.
    """
    try:
        with path.open(encoding="utf-8") as file:
            content = json.load(file, object_hook=_without_parts)
        shapes: dict[Any, list[tuple[int, Any]]] = defaultdict(list)
        for entry in content["annos_segmentation"]:
            shapes[entry["image_id"]].append((_category(entry), entry["segmentation"]))
        images = [entry for entry in content["images"] if entry["phase"] in ("train", "val")]
        return [_annotated(entry, shapes[entry["image_id"]]) for entry in images]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(f"{path} is not the annotation file of PASCAL in Detail ({reason}); get it again") from error


def draw(image: Annotated) -> UInt8:
    """Draw the mask of an image: (H, W), 0 to 59.

    Raises:
        InputError: a segmentation is broken, or a category is not one of the 60.
    """
    ids: NDArray[np.int64] = np.zeros(image.size, np.int64)
    for category, segmentation in image.shapes:
        try:
            ids[decode(segmentation, *image.size)] = category
        except InputError as error:
            raise InputError(f"{ANNOTATIONS.file}: image {image.name}, category {category}: {error}") from error
    strange = sorted(category for category in {category for category, _ in image.shapes} - set(CATEGORIES) if category in ids)
    if strange:
        raise InputError(
            f"{ANNOTATIONS.file}: image {image.name} shows category {strange[0]}, which is none of the 60; get the published file"
        )
    ranks = np.zeros(CATEGORIES[-1] + 1, np.uint8)
    ranks[list(CATEGORIES)] = range(len(CATEGORIES))
    return ranks[ids]


def _category(entry: Mapping[str, Any]) -> int:
    category = int(entry["category_id"])
    if not 0 <= category < MAX_CATEGORY:
        raise ValueError(f"{category} is no category")
    return category


def _annotated(entry: Mapping[str, Any], shapes: list[tuple[int, Any]]) -> Annotated:
    name, ending, size = *str(entry["file_name"]).rpartition(".")[::2], (int(entry["height"]), int(entry["width"]))
    if ending != "jpg" or not name.replace("_", "").isalnum():
        raise ValueError(f"{entry['file_name']!r} is no name of an image")
    if not all(0 < side <= MAX_SIDE for side in size):
        raise ValueError(f"{entry['file_name']} is said to have {size[0]}x{size[1]} pixels")
    return Annotated(name, entry["phase"], size, shapes)


def _without_parts(entry: dict[str, Any]) -> dict[str, Any]:
    """Drop the masks of body parts while the file is read: they are most of it."""
    entry.pop("parts", None)
    return entry
