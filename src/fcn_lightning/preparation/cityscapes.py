"""Cityscapes: the images and the label ids of two archives; the label ids become classes as they are read, not here."""

from collections.abc import Sequence
from pathlib import Path

from fcn_lightning.preparation.outputs import Output, copied
from fcn_lightning.preparation.sources import Found, Part

ORIGIN = "www.cityscapes-dataset.com, Downloads, after registration"
OTHERS = (
    ("leftImg8bit_trainextra", "the images of the coarse annotations"),
    ("gtCoarse", "the coarse annotations"),
    ("gtBbox|gtCityPersons", "boxes, not label maps"),
)
IMAGES = Part("leftImg8bit_trainvaltest.zip", ORIGIN, "leftImg8bit", r"(?:train|val)/\w+/\w[^/]*_leftImg8bit\.png", mistaken=OTHERS)
MASKS = Part("gtFine_trainvaltest.zip", ORIGIN, "gtFine", r"(?:train|val)/\w+/\w[^/]*_gtFine_labelIds\.png", mistaken=OTHERS)
PARTS = (IMAGES, MASKS)


def plan(found: Sequence[Found], root: Path) -> list[Output]:
    """Return the images and label ids of "train" and "val".

    Args:
        found: the parts, as in `PARTS`.
        root: of the data set.
    """
    images, masks = found
    return [
        copied(part, name, root / folder / name)
        for part, folder in ((images, "leftImg8bit"), (masks, "gtFine"))
        for name in part.names
    ]
