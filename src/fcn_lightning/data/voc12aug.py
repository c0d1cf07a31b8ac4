"""`voc12aug`: Pascal VOC 2012 with the additional masks of the Semantic Boundaries Dataset (SBD), 21 classes.

    JPEGImages/*.jpg
    SegmentationClass/*.png         the official masks: palette PNGs of class indices, 255 = void border
    SegmentationClassAug/*.png      SBD's masks, converted to PNGs of class indices
    ImageSets/Segmentation/train.txt, val.txt      official names, 1,464 and 1,449
    ImageSets/Segmentation/aug.txt                 SBD's names that are in neither, 9,118; trainaug.txt (both, 10,582) also does

Training takes the official masks where these exist and SBD's for the other images: SBD has no void border.

Source: Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective", 2015; Hariharan et al., "Semantic
Contours from Inverse Detectors", 2011; composed as in open-mmlab/mmsegmentation.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar

from fcn_lightning import InputError
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.dataset import Labels, SegmentationDataset
from fcn_lightning.data.pairing import pair_listed, read_list

CLASSES = (
    ("background", (0, 0, 0)),
    ("aeroplane", (128, 0, 0)),
    ("bicycle", (0, 128, 0)),
    ("bird", (128, 128, 0)),
    ("boat", (0, 0, 128)),
    ("bottle", (128, 0, 128)),
    ("bus", (0, 128, 128)),
    ("car", (128, 128, 128)),
    ("cat", (64, 0, 0)),
    ("chair", (192, 0, 0)),
    ("cow", (64, 128, 0)),
    ("diningtable", (192, 128, 0)),
    ("dog", (64, 0, 128)),
    ("horse", (192, 0, 128)),
    ("motorbike", (64, 128, 128)),
    ("person", (192, 128, 128)),
    ("pottedplant", (0, 64, 0)),
    ("sheep", (128, 64, 0)),
    ("sofa", (0, 192, 0)),
    ("train", (128, 192, 0)),
    ("tvmonitor", (0, 64, 128)),
)
LABELS = Labels(
    classes=tuple(name for name, _ in CLASSES),
    palette=tuple(color for _, color in CLASSES),
    values=tuple(range(len(CLASSES))),
)


class VOC12AugDataModule(SegmentationDataModule):
    """`dataset=voc12aug`; `root` is the folder VOC2012, or one that holds it or VOCdevkit/VOC2012."""

    name = "voc12aug"
    canonical = LABELS
    published_counts: ClassVar[Mapping[str, int]] = {"train": 10582, "val": 1449}

    def build(self, split: str) -> SegmentationDataset:
        """Return "train", the official images followed by SBD's, or "val"."""
        root = self.folder_with("JPEGImages", "VOC2012", "VOCdevkit/VOC2012")
        images, lists = root / "JPEGImages", root / "ImageSets/Segmentation"
        official = read_list(lists / f"{split}.txt")
        pairs = pair_listed(official, images, root / "SegmentationClass")
        if split == "train":
            pairs += pair_listed(_additional(lists, official), images, root / "SegmentationClassAug")
        return SegmentationDataset(pairs, self.labels)


def _additional(lists: Path, official: Collection[str]) -> list[str]:
    """Return SBD's names without the official ones, whose masks are better."""
    path = next((path for path in (lists / "aug.txt", lists / "trainaug.txt") if path.is_file()), None)
    if path is None:
        raise InputError(
            f"{lists} has neither aug.txt nor trainaug.txt; write SBD's names without those of val.txt to aug.txt there"
        )
    names, known, held_out = read_list(path), set(official), set(read_list(lists / "val.txt"))
    leaked = [name for name in names if name in held_out]
    if leaked:
        raise InputError(f"{path} names {leaked[0]!r} for training, which is for validation by val.txt; remove it from {path.name}")
    return [name for name in names if name not in known]
