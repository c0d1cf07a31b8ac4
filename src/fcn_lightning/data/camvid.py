"""`camvid`: street scenes of the Cambridge-driving Labeled Video Database, in the layout distributed for SegNet.

    images/{train,val}/*.png      labels/{train,val}/*.png      one value per pixel: 0 to 10, 11 = unlabelled

Source: Brostow et al., "Semantic object classes in video", 2009; classes as in Badrinarayanan et al., "SegNet", section 4.
"""

from collections.abc import Mapping
from typing import ClassVar

from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.dataset import Labels, SegmentationDataset
from fcn_lightning.data.pairing import pair_files

LABELS = Labels(
    classes=("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist"),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (0, 0, 192),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    values=tuple(range(11)),
    ignored=(11, 255),
)


class CamVidDataModule(SegmentationDataModule):
    """`dataset=camvid`; `root` is the folder with `images` and `labels`."""

    name = "camvid"
    canonical = LABELS
    published_counts: ClassVar[Mapping[str, int]] = {"train": 367, "val": 101}

    def build(self, split: str) -> SegmentationDataset:
        """Return the frames of "train" or "val"."""
        root = self.folder()
        return SegmentationDataset(pair_files(root / "images" / split, root / "labels" / split), self.labels)
