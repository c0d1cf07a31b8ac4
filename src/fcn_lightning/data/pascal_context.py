"""`pascal_context`: Pascal VOC 2010 with a class for every pixel, 60 classes, or 59 without the background.

    JPEGImages/*.jpg
    SegmentationClassContext/*.png                    0 = background, 1..59 as below
    ImageSets/SegmentationContext/{train,val}.txt     image names, 4,996 and 5,104

Values are the ranks of PASCAL in Detail's category ids, which go alphabetically. open-mmlab/mmsegmentation listed the names in
another order until April 2021; checkpoints of that time predict these values and name them wrongly.

Source: Mottaghi et al., "The Role of Context for Object Detection and Semantic Segmentation in the Wild", 2014, which counts
4,998 and 5,105 images; the published annotation file gives the numbers above. Names and colours are those of
open-mmlab/mmsegmentation; bicycle and snow share a colour.
"""

from collections.abc import Mapping
from typing import ClassVar

from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.dataset import IGNORE_INDEX, Labels, SegmentationDataset
from fcn_lightning.data.pairing import pair_listed, read_list

CLASSES = (
    ("background", (120, 120, 120)),
    ("aeroplane", (180, 120, 120)),
    ("bag", (6, 230, 230)),
    ("bed", (80, 50, 50)),
    ("bedclothes", (4, 200, 3)),
    ("bench", (120, 120, 80)),
    ("bicycle", (140, 140, 140)),
    ("bird", (204, 5, 255)),
    ("boat", (230, 230, 230)),
    ("book", (4, 250, 7)),
    ("bottle", (224, 5, 255)),
    ("building", (235, 255, 7)),
    ("bus", (150, 5, 61)),
    ("cabinet", (120, 120, 70)),
    ("car", (8, 255, 51)),
    ("cat", (255, 6, 82)),
    ("ceiling", (143, 255, 140)),
    ("chair", (204, 255, 4)),
    ("cloth", (255, 51, 7)),
    ("computer", (204, 70, 3)),
    ("cow", (0, 102, 200)),
    ("cup", (61, 230, 250)),
    ("curtain", (255, 6, 51)),
    ("dog", (11, 102, 255)),
    ("door", (255, 7, 71)),
    ("fence", (255, 9, 224)),
    ("floor", (9, 7, 230)),
    ("flower", (220, 220, 220)),
    ("food", (255, 9, 92)),
    ("grass", (112, 9, 255)),
    ("ground", (8, 255, 214)),
    ("horse", (7, 255, 224)),
    ("keyboard", (255, 184, 6)),
    ("light", (10, 255, 71)),
    ("motorbike", (255, 41, 10)),
    ("mountain", (7, 255, 255)),
    ("mouse", (224, 255, 8)),
    ("person", (102, 8, 255)),
    ("plate", (255, 61, 6)),
    ("platform", (255, 194, 7)),
    ("pottedplant", (255, 122, 8)),
    ("road", (0, 255, 20)),
    ("rock", (255, 8, 41)),
    ("sheep", (255, 5, 153)),
    ("shelves", (6, 51, 255)),
    ("sidewalk", (235, 12, 255)),
    ("sign", (160, 150, 20)),
    ("sky", (0, 163, 255)),
    ("snow", (140, 140, 140)),
    ("sofa", (250, 10, 15)),
    ("table", (20, 255, 0)),
    ("track", (31, 255, 0)),
    ("train", (255, 31, 0)),
    ("tree", (255, 224, 0)),
    ("truck", (153, 255, 0)),
    ("tvmonitor", (0, 0, 255)),
    ("wall", (255, 71, 0)),
    ("water", (0, 235, 255)),
    ("window", (0, 173, 255)),
    ("wood", (31, 0, 255)),
)
LABELS = Labels(
    classes=tuple(name for name, _ in CLASSES),
    palette=tuple(color for _, color in CLASSES),
    values=tuple(range(len(CLASSES))),
)
LABELS_59 = Labels(LABELS.classes[1:], LABELS.palette[1:], LABELS.values[1:], ignored=(0, IGNORE_INDEX))


class PascalContextDataModule(SegmentationDataModule):
    """`dataset=pascal_context`; `root` is the folder VOC2010, or one that holds it or VOCdevkit/VOC2010."""

    name = "pascal_context"
    canonical = LABELS
    published_counts: ClassVar[Mapping[str, int]] = {"train": 4996, "val": 5104}

    def build(self, split: str) -> SegmentationDataset:
        """Return the images of "train" or "val"."""
        root = self.folder_with("JPEGImages", "VOC2010", "VOCdevkit/VOC2010")
        names = read_list(root / "ImageSets/SegmentationContext" / f"{split}.txt")
        return SegmentationDataset(pair_listed(names, root / "JPEGImages", root / "SegmentationClassContext"), self.labels)


class PascalContext59DataModule(PascalContextDataModule):
    """`dataset=pascal_context_59`: the same files; the background is ignored."""

    name = "pascal_context_59"
    canonical = LABELS_59
