"""Pascal VOC 2012 with SBD: which mask an image gets, and in which order."""

from pathlib import Path

import numpy as np
import pytest

from fcn_lightning import InputError
from fcn_lightning.data.images import read_index_map
from fcn_lightning.data.voc12aug import LABELS, VOC12AugDataModule
from tests.data.layouts import VOID, draw, golden_classes, module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return draw("voc12aug", tmp_path, val=3)


@pytest.fixture
def voc(root: Path) -> Path:
    return root / "VOCdevkit/VOC2012"


@pytest.fixture
def lists(voc: Path) -> Path:
    return voc / "ImageSets/Segmentation"


def masks(root: Path, split: str) -> list[str]:
    """Return the masks of a split, as folder/name."""
    return [f"{pair.mask.parent.name}/{pair.mask.stem}" for pair in module(VOC12AugDataModule, root).build(split).pairs]


WHOLE = [
    "SegmentationClass/2007_000001",
    "SegmentationClass/2007_000000",
    "SegmentationClassAug/2008_000000",
    "SegmentationClassAug/2008_000001",
]


def test_classes_and_colours_are_the_published_ones() -> None:
    known = golden_classes("voc12aug")["classes"]
    assert LABELS.classes == tuple(entry["name"] for entry in known)
    assert [list(color) for color in LABELS.palette] == [entry["color"] for entry in known]
    assert LABELS.values == tuple(range(21))
    assert LABELS.table[255] == 255
    assert (LABELS.table[21:255] == 254).all(), "other values are errors"
    assert VOC12AugDataModule.published_counts == {"train": 10582, "val": 1449}


def test_official_masks_come_first_and_from_their_own_folder(root: Path, voc: Path) -> None:
    assert masks(root, "train") == WHOLE
    assert masks(root, "val") == [f"SegmentationClass/2009_00000{index}" for index in (2, 1, 0)]
    train = module(VOC12AugDataModule, root).train_data
    assert all(pair.image == voc / f"JPEGImages/{pair.mask.stem}.jpg" for pair in train.pairs)
    official, additional = train[0][1], train[2][1]
    assert (official[20] == VOID).all(), "the void border is kept"
    assert VOID not in additional
    other = read_index_map(voc / "SegmentationClassAug/2007_000001.png")
    assert (other != official).all(), "SBD's mask of the same image would have shown"


def test_palette_files_give_indices(root: Path) -> None:
    val = module(VOC12AugDataModule, root).val_data
    mask = val[0][1]
    assert len(np.unique(mask)) == 7
    assert set(np.unique(mask)) <= {*range(21), VOID}


def test_trainaug_serves_without_aug(root: Path, lists: Path) -> None:
    (lists / "aug.txt").unlink()
    assert masks(root, "train") == WHOLE
    (lists / "trainaug.txt").unlink()
    with pytest.raises(InputError, match=r"ImageSets/Segmentation has neither aug.txt nor trainaug.txt; write SBD's names"):
        masks(root, "train")
    assert len(masks(root, "val")) == 3


def test_an_aug_list_with_official_names_changes_nothing(root: Path, lists: Path) -> None:
    (lists / "trainaug.txt").rename(lists / "aug.txt")
    assert masks(root, "train") == WHOLE


def test_validation_images_are_never_trained_on(root: Path, lists: Path) -> None:
    with (lists / "aug.txt").open("a") as file:
        file.write("2009_000001\n")
    with pytest.raises(
        InputError, match=r"aug.txt names '2009_000001' for training, which is for validation by val.txt; remove it"
    ):
        masks(root, "train")


def test_root_may_be_any_of_three_folders(root: Path, voc: Path) -> None:
    for folder in (root, voc.parent, voc):
        assert masks(folder, "train") == WHOLE
    with pytest.raises(InputError, match=r"holds no folder JPEGImages, nor VOC2012/JPEGImages or VOCdevkit/VOC2012/JPEGImages"):
        masks(voc / "ImageSets", "train")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"list .*val.txt does not exist; put it there, or set dataset.root"),
        ("\n \n", r"list .*val.txt is empty; write one image name per line"),
        ("2009_000000\n2009_000001\n2009_000000\n", r"list .*val.txt names '2009_000000' 2 times; remove"),
    ],
)
def test_bad_lists(root: Path, lists: Path, content: str | None, words: str) -> None:
    (lists / "val.txt").unlink()
    if content is not None:
        (lists / "val.txt").write_text(content)
    with pytest.raises(InputError, match=words):
        masks(root, "val")


def test_lists_written_elsewhere(root: Path, lists: Path) -> None:
    (lists / "val.txt").write_bytes(b"\xef\xbb\xbf2009_000001 \r\n\r\n2009_000000")
    assert masks(root, "val") == ["SegmentationClass/2009_000001", "SegmentationClass/2009_000000"]


def test_missing_files(root: Path, voc: Path) -> None:
    data = module(VOC12AugDataModule, root)
    (voc / "JPEGImages/2009_000002.jpg").unlink()
    with pytest.raises(InputError, match=r"1 of 3 masks have no image, first .*SegmentationClass/2009_000002.png; expected"):
        _ = data.val_data
    (voc / "SegmentationClass/2009_000002.png").unlink()
    with pytest.raises(
        InputError, match=r"1 of 3 listed names have neither image nor mask, first .*2009_000002.jpg.*from the list"
    ):
        _ = data.val_data
    assert data.use_present_val() == 1
    assert [Path(data.val_data.name(index)).stem for index in range(2)] == ["2009_000001", "2009_000000"]

    (voc / "SegmentationClassAug/2008_000001.png").unlink()
    with pytest.raises(InputError, match=r"1 of 4 images have no mask, first .*2008_000001.jpg; expected .*SegmentationClassAug/"):
        _ = data.train_data
    (voc / "SegmentationClass").rename(voc / "elsewhere")
    with pytest.raises(InputError, match=r"VOC2012/SegmentationClass does not exist"):
        data.use_present_val()
