"""ADE20K: the archive of the MIT Scene Parsing Benchmark, which is not the one of the full ADE20K."""

from collections.abc import Sequence
from pathlib import Path

from fcn_lightning.preparation.outputs import Output, copied, home
from fcn_lightning.preparation.sources import Found, Part

ARCHIVE = Part(
    "ADEChallengeData2016.zip",
    "sceneparsing.csail.mit.edu, or data.csail.mit.edu/places/ADEchallenge",
    "ADEChallengeData2016",
    r"images/(?:training|validation)/\w[^/]*\.jpg|annotations/(?:training|validation)/\w[^/]*\.png",
    mistaken=((r"ADE20K_20\d\d|_seg\.png$", "the full ADE20K, whose masks have other labels"),),
)
PARTS = (ARCHIVE,)


def plan(found: Sequence[Found], root: Path) -> list[Output]:
    """Return the images and annotations of training and validation.

    Args:
        found: the parts, as in `PARTS`.
        root: of the data set, or the folder ADEChallengeData2016 itself.
    """
    (archive,) = found
    folder = home(root, "annotations", "ADEChallengeData2016")
    return [copied(archive, name, folder / name) for name in archive.names]
