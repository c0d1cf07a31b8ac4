"""Which mask belongs to which image where the names are not as training wants them."""

from pathlib import Path

import numpy as np
import pytest

from fcn_lightning import InputError
from fcn_lightning.data.ade20k import ADE20KDataModule
from fcn_lightning.data.camvid import CamVidDataModule
from fcn_lightning.data.cityscapes import CityscapesDataModule
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.pascal_context import PascalContext59DataModule, PascalContextDataModule
from fcn_lightning.data.shapes import ShapesDataModule
from fcn_lightning.data.voc12aug import VOC12AugDataModule
from fcn_lightning.diagnosis.diagnosis import diagnose
from fcn_lightning.diagnosis.splits import pair_loosely
from tests.data.layouts import draw, module
from tests.diagnosis.planted import clean, codes, examine, mask_of, masks, save


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (("a.jpg", "b.jpg"), ("a.png", "b.png")),
        (("a.jpg", "b.jpg"), ("a.tif", "b.PNG")),
        (("a.jpg", "b.jpg"), ("a_mask.png", "b_mask.png")),
        (("1_sat.jpg", "2_sat.jpg", "10_sat.jpg"), ("1_mask.png", "2_mask.png", "10_mask.png")),
        (("img-1.jpg", "img-2.jpg"), ("gt-1.png", "gt-2.png")),
        (("2007_1.jpg", "2008_1.jpg"), ("2007_1_gt.png", "2008_1_gt.png")),
        (("x/a.jpg", "y/a.jpg"), ("x/a_L.png", "y/a_L.png")),
    ],
)
def test_names_that_belong_together(tmp_path: Path, images: tuple[str, ...], masks: tuple[str, ...]) -> None:
    touch(tmp_path / "i", *images)
    touch(tmp_path / "m", *masks)
    found = {(pair.image, pair.mask) for pair in pair_loosely(tmp_path / "i", tmp_path / "m")}
    assert found == {(tmp_path / "i" / image, tmp_path / "m" / mask) for image, mask in zip(images, masks, strict=True)}


def test_what_has_no_partner_is_a_pair_too(tmp_path: Path) -> None:
    touch(tmp_path / "i", "a_sat.jpg", "b_sat.jpg")
    touch(tmp_path / "m", "b_mask.png", "c_mask.png")
    pairs = pair_loosely(tmp_path / "i", tmp_path / "m")
    assert [pair.complete for pair in pairs].count(True) == 1
    assert {pair.image.name for pair in pairs} >= {"a_sat.jpg", "b_sat.jpg"}
    assert "c_mask.png" in {pair.mask.name for pair in pairs}


def test_a_folder_in_which_no_mask_is_a_png(tmp_path: Path) -> None:
    root = clean(tmp_path)
    for path in masks(root):
        save(mask_of(path), path.with_suffix(".bmp"))
        path.unlink()
    diagnosis = examine(root)
    assert codes(diagnosis) == {"mask-name"}
    assert diagnosis.findings[0].count == 10
    assert [split.masks for split in diagnosis.frequencies] == [6, 4]


def test_a_folder_with_nothing_right_says_all_at_once(tmp_path: Path) -> None:
    said = [finding.sentence for finding in examine(tmp_path).findings]
    assert len(said) == 2
    assert "classes.yaml cannot be read" in said[0]
    assert "images does not exist" in said[1]


def test_a_flat_folder_whose_masks_are_pngs_of_other_names(tmp_path: Path) -> None:
    root = clean(tmp_path)
    for kind in ("images", "masks"):
        for split in ("train", "val"):
            for path in [*(root / kind / split).iterdir()]:
                path.rename(root / kind / f"{split}{path.stem}{'_gt' if kind == 'masks' else ''}{path.suffix}")
            (root / kind / split).rmdir()
    diagnosis = examine(root)
    assert codes(diagnosis) == {"mask-name"}
    assert diagnosis.findings[0].count == 10
    assert sum(len(split.pairs) for split in diagnosis.scan.splits) == 10


def test_a_list_that_names_no_image_is_said(tmp_path: Path) -> None:
    root = clean(tmp_path)
    for kind in ("images", "masks"):
        for split in ("train", "val"):
            for path in [*(root / kind / split).iterdir()]:
                path.rename(root / kind / f"{split}{path.name}")
            (root / kind / split).rmdir()
    (root / "train.txt").write_text("train0\ntrain1\n")
    (root / "val.txt").write_text("val0.jpg\nval1.jpg\n")
    diagnosis = examine(root)
    assert codes(diagnosis) == {"split-unreadable"}
    assert "train.txt lists 'train0'" in diagnosis.findings[0].sentence
    assert [len(split.pairs) for split in diagnosis.scan.splits] == [2, 2], "and the meant ones are examined"


def test_a_split_that_is_absent_does_not_hide_the_other(tmp_path: Path) -> None:
    for path in ("images/train/a.png", "labels/train/a.png"):
        save(np.arange(48 * 64).reshape(48, 64) % 11, tmp_path / path)
    diagnosis = diagnose(module(CamVidDataModule, tmp_path), images=9, processes=1)
    assert codes(diagnosis) == {"split-unreadable"}
    assert "images/val does not exist" in diagnosis.findings[0].sentence
    assert [split.masks for split in diagnosis.frequencies] == [1, 0]


def test_nothing_to_examine(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset=shapes has no files to examine; add dataset=<name>"):
        diagnose(module(ShapesDataModule, tmp_path), images=9, processes=1)
    with pytest.raises(InputError, match="does not exist"):
        diagnose(module(CamVidDataModule, tmp_path / "nowhere"), images=9, processes=1)


def test_two_encodings_are_read_each_by_its_own_table(tmp_path: Path) -> None:
    root = draw("cityscapes", tmp_path, train=2, val=2, train_ids=True)
    for path in (root / "gtFine/val").rglob("*labelTrainIds.png"):
        path.unlink()
    diagnosis = diagnose(module(CityscapesDataModule, root), images=9, processes=1)
    assert not diagnosis.errors
    train, val = diagnosis.frequencies
    assert train.unlisted == val.unlisted == 0
    assert len(diagnosis.scan.splits[0].labels.values) == len(diagnosis.scan.splits[1].labels.values)
    assert diagnosis.scan.splits[0].labels != diagnosis.scan.splits[1].labels


@pytest.mark.parametrize("kind", [ADE20KDataModule, VOC12AugDataModule, PascalContextDataModule, PascalContext59DataModule])
def test_the_public_layouts(tmp_path: Path, kind: type[SegmentationDataModule]) -> None:
    diagnosis = diagnose(module(kind, draw(kind.name, tmp_path, train=2, val=2)), images=9, processes=1)
    assert codes(diagnosis) <= {"class-missing-train", "class-missing-val"}, "few images cannot show all classes"
    assert [split.masks for split in diagnosis.frequencies] == [4 if kind is VOC12AugDataModule else 2, 2]
    assert all(split.unlisted == 0 for split in diagnosis.frequencies)
