"""`cityscapes`: street scenes of 50 cities, 19 classes, all images 1024x2048 (height x width).

    leftImg8bit/{train,val}/<city>/<name>_leftImg8bit.png
    gtFine/{train,val}/<city>/<name>_gtFine_labelIds.png         label ids, as downloaded
    gtFine/{train,val}/<city>/<name>_gtFine_labelTrainIds.png    instead: the class numbers 0 to 18, 255 elsewhere

Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", 2016; the ids are those of its public
label table. The classes and their order are those of open-mmlab/mmsegmentation.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.dataset import IGNORE_INDEX, Labels, SegmentationDataset
from fcn_lightning.data.images import list_images
from fcn_lightning.data.pairing import pair_files

CLASSES = (  # name, label id, colour
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
IDS = tuple(label_id for _, label_id, _ in CLASSES)
LABELS = Labels(  # in label ids, which is also what the benchmark server expects
    classes=tuple(name for name, _, _ in CLASSES),
    palette=tuple(color for _, _, color in CLASSES),
    values=IDS,
    ignored=(*(label_id for label_id in range(34) if label_id not in IDS), IGNORE_INDEX),
)
TRAIN_ID_LABELS = replace(LABELS, values=tuple(range(len(CLASSES))), ignored=(IGNORE_INDEX,))

IMAGE_ENDING = "_leftImg8bit.png"
TRAIN_IDS_ENDING = "_gtFine_labelTrainIds.png"
LABEL_IDS_ENDING = "_gtFine_labelIds.png"


class CityscapesDataModule(SegmentationDataModule):
    """`dataset=cityscapes` and `dataset=cityscapes_769`; `root` is the folder with `leftImg8bit` and `gtFine`."""

    name = "cityscapes"
    canonical = LABELS
    published_counts: ClassVar[Mapping[str, int]] = {"train": 2975, "val": 500}

    def build(self, split: str) -> SegmentationDataset:
        """Return the images of "train" or "val"; both encodings of the masks give the same classes."""
        root = self.folder()
        masks = root / "gtFine" / split
        ending = TRAIN_IDS_ENDING if _has_train_ids(masks) else LABEL_IDS_ENDING
        pairs = pair_files(root / "leftImg8bit" / split, masks, image_ending=IMAGE_ENDING, mask_ending=ending)
        return SegmentationDataset(pairs, self.labels_of(pairs[0].mask))

    def labels_of(self, mask: Path) -> Labels:
        """Return the label ids' table or the train ids', which differ by the ending of the file's name."""
        return self.labels if self.label_map or mask.name.endswith(LABEL_IDS_ENDING) else TRAIN_ID_LABELS


def _has_train_ids(masks: Path) -> bool:
    """Tell whether the train ids are there; of a conversion that did not reach all files, the label ids are used."""
    names = [path.name for path in list_images(masks)]
    train_ids, label_ids = (sum(name.endswith(ending) for name in names) for ending in (TRAIN_IDS_ENDING, LABEL_IDS_ENDING))
    return train_ids > 0 and train_ids >= label_ids
