"""Pascal VOC 2012 with SBD: images and official masks as they are, SBD's MATLAB files as PNGs of class indices, and two lists.

Source: open-mmlab/mmsegmentation's conversion, which takes `GTcls.Segmentation`; SBD's masks have no void border.
"""

import io
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fcn_lightning import InputError
from fcn_lightning.data.images import UInt8
from fcn_lightning.data.voc12aug import CLASSES
from fcn_lightning.preparation.archives import MAX_MEMBER
from fcn_lightning.preparation.outputs import Output, converted, copied, home, listed
from fcn_lightning.preparation.sources import Found, Part

VOC = Part(
    "VOCtrainval_11-May-2012.tar",
    "host.robots.ox.ac.uk/pascal/VOC/voc2012",
    "VOC2012",
    r"JPEGImages/\w+\.jpg|SegmentationClass/\w+\.png|ImageSets/Segmentation/(?:train|val)\.txt",
    mistaken=(
        (r"VOC2012test|VOC2012_test", "the test images, which have no masks"),
        (r"VOC20(?:0\d|10|11)|May-20(?:0\d|10|11)|25-May-2011|06-Nov-2007", "the VOC of another year"),
    ),
)
SBD = Part(
    "benchmark.tgz",
    "home.bharathh.info/pubs/codes/SBD, or www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours",
    "dataset",
    r"cls/\w+\.mat|(?:train|val)\.txt",
    mistaken=((r"SegmentationClassAug", "somebody's conversion of it, which is not needed"),),
)
PARTS = (VOC, SBD)
MAT_HEADER, MAT_COMPRESSED = 128, 15  # length of a MATLAB file's header; type of a compressed element


def plan(found: Sequence[Found], root: Path) -> list[Output]:
    """Return the images and masks that the lists name, and the lists.

    Training takes the names of VOC's train and of both lists of SBD, without those of VOC's val: 10,582, of which
    9,118 have a mask of SBD alone.

    Args:
        found: the parts, as in `PARTS`.
        root: of the data set, or the folder VOC2012 itself.
    """
    voc, sbd = found
    folder = home(root, "JPEGImages", "VOC2012", "VOCdevkit/VOC2012")
    lists = "ImageSets/Segmentation"
    train, val = (voc.lines(f"{lists}/{split}.txt") for split in ("train", "val"))
    augmented = set(sbd.lines("train.txt")) | set(sbd.lines("val.txt"))
    trainaug = sorted((set(train) | augmented) - set(val))
    aug = sorted(set(trainaug) - set(train))

    images = [f"JPEGImages/{name}.jpg" for name in sorted({*trainaug, *val})]
    official = [f"SegmentationClass/{name}.png" for name in sorted({*train, *val})]
    outputs = [copied(voc, name, folder / name) for name in (*images, *official) if name in voc.names]
    outputs += [copied(voc, f"{lists}/{split}.txt", folder / lists / f"{split}.txt") for split in ("train", "val")]
    outputs += [
        converted(sbd, f"cls/{name}.mat", folder / "SegmentationClassAug" / f"{name}.png", partial(read_mat, f"{name}.mat"))
        for name in sorted(augmented - set(val))
        if f"cls/{name}.mat" in sbd.names
    ]
    return [*outputs, listed(folder / lists / "trainaug.txt", trainaug), listed(folder / lists / "aug.txt", aug)]


def read_mat(name: str, data: bytes) -> UInt8:
    """Return the class indices of one of SBD's MATLAB files: (H, W), 0 to 20.

    Args:
        name: of the file, for messages.
        data: its content.

    Raises:
        InputError: it is no MATLAB file, or holds something else.
    """
    from scipy.io import loadmat

    try:
        _check_unpacked(data)
        pixels: Any = loadmat(io.BytesIO(data), variable_names=["GTcls"])["GTcls"][0]["Segmentation"][0]
    except Exception as error:  # scipy documents no list of what it raises on bytes that are no MATLAB file
        reason = " ".join(str(error).split())
        raise InputError(f"{SBD.file}: {name} holds no GTcls.Segmentation ({reason}); get {SBD.file} again") from error
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or not 0 <= pixels.min() <= pixels.max() < len(CLASSES):
        raise InputError(f"{SBD.file}: {name} holds no label map of the values 0 to {len(CLASSES) - 1}; get {SBD.file} again")
    return pixels.astype(np.uint8)


def _check_unpacked(data: bytes) -> None:
    """Refuse compressed variables that unpack to more than any file: scipy would take the memory for them.

    Source: MathWorks, "MAT-File Format", level 5: a header of 128 bytes, then elements of a type, a length and so many bytes.
    """
    order: Literal["little", "big"] = "little" if data[126:128] == b"IM" else "big"
    place = MAT_HEADER
    while place + 8 <= len(data):
        kind, length = (int.from_bytes(data[start : start + 4], order) for start in (place, place + 4))
        content = data[place + 8 : place + 8 + length]
        if kind == MAT_COMPRESSED and len(zlib.decompressobj().decompress(content, MAX_MEMBER + 1)) > MAX_MEMBER:
            raise ValueError(f"it unpacks to more than {MAX_MEMBER:,} bytes")
        place += 8 + length
