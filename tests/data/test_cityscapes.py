"""Cityscapes: its folders of cities, and two encodings of the same masks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_lightning import InputError
from fcn_lightning.data.cityscapes import LABELS, TRAIN_ID_LABELS, CityscapesDataModule
from fcn_lightning.data.images import read_index_map
from tests.data.layouts import VOID, draw, golden_classes, module


def test_classes_and_colours_are_the_published_ones() -> None:
    known = golden_classes("cityscapes")["classes"]
    assert [list(LABELS.classes), list(map(list, LABELS.palette))] == [[c["name"] for c in known], [c["color"] for c in known]]


def test_the_label_table_maps_every_official_id() -> None:
    table = golden_classes("cityscapes")["label_table"]
    ids = [row["id"] for row in table if row["id"] >= 0]  # the licence plate's -1 is in no file
    assert sorted(ids) == list(range(34))
    assert [LABELS.table[row["id"]] for row in table if row["id"] >= 0] == [row["train_id"] for row in table if row["id"] >= 0]
    assert np.flatnonzero(LABELS.table == 254).tolist() == list(range(34, 255)), "other values are errors"
    assert LABELS.table[255] == 255


def test_submissions_hold_label_ids() -> None:
    assert LABELS.values == (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    assert CityscapesDataModule.published_counts == {"train": 2975, "val": 500}


def test_pairs_of_all_cities_in_the_order_of_their_names(tmp_path: Path) -> None:
    data = module(CityscapesDataModule, draw("cityscapes", tmp_path, train=4, val=3))
    train, val = data.train_data, data.val_data
    assert [Path(train.name(index)).relative_to(tmp_path / "leftImg8bit/train").as_posix() for index in range(4)] == [
        "aachen/aachen_000000_000019_leftImg8bit.png",
        "aachen/aachen_000002_000019_leftImg8bit.png",
        "bochum/bochum_000001_000019_leftImg8bit.png",
        "bochum/bochum_000003_000019_leftImg8bit.png",
    ]
    assert train.pairs[2].mask == tmp_path / "gtFine/train/bochum/bochum_000001_000019_gtFine_labelIds.png"
    assert len(val) == 3
    image, mask = val[0]
    assert image.shape == (40, 56, 3)
    assert mask.shape == (40, 56)
    assert (mask[20] == VOID).all(), "out of roi"
    assert mask[0, :2].tolist() == [VOID, VOID]
    assert len(np.unique(mask)) == 7


def test_label_ids_and_train_ids_give_the_same_masks(tmp_path: Path) -> None:
    by_id = module(CityscapesDataModule, draw("cityscapes", tmp_path / "a"))
    by_train_id = module(CityscapesDataModule, draw("cityscapes", tmp_path / "b", train_ids=True))
    for path in (tmp_path / "b/gtFine").rglob("*_labelIds.png"):
        path.unlink()
    for split in ("train", "val"):
        ours, theirs = by_id.build(split), by_train_id.build(split)
        assert len(ours) == len(theirs)
        assert all((ours[index][1] == theirs[index][1]).all() for index in range(len(ours)))
    assert theirs.labels == TRAIN_ID_LABELS
    assert by_train_id.labels == LABELS, "submissions hold label ids, whatever the training masks held"


def test_train_ids_are_preferred_unless_their_conversion_is_unfinished(tmp_path: Path) -> None:
    data = module(CityscapesDataModule, draw("cityscapes", tmp_path, train=3, train_ids=True))
    train = data.build("train")
    assert {pair.mask.name.rsplit("_", 1)[1] for pair in train.pairs} == {"labelTrainIds.png"}
    assert set(np.unique(read_index_map(train.pairs[0].mask))) <= {*range(19), VOID}
    train.pairs[0].mask.unlink()
    assert {pair.mask.name.rsplit("_", 1)[1] for pair in data.build("train").pairs} == {"labelIds.png"}
    assert not data.build("train").missing()


def test_other_values_are_refused(tmp_path: Path) -> None:
    data = module(CityscapesDataModule, draw("cityscapes", tmp_path))
    path = data.val_data.pairs[0].mask
    Image.fromarray(np.full((40, 56), 34, np.uint8)).save(path)
    with pytest.raises(InputError, match=r"labelIds.png holds label 34 \(2240 pixels\)"):
        data.val_data[0]


def test_a_partly_present_split(tmp_path: Path) -> None:
    root = draw("cityscapes", tmp_path, val=4)
    first, second, third, _ = module(CityscapesDataModule, root).build("val").pairs
    first.image.unlink()
    data = module(CityscapesDataModule, root)
    with pytest.raises(InputError, match=r"1 of 4 masks have no image, first .*_gtFine_labelIds.png; expected .*_leftImg8bit.png"):
        _ = data.val_data
    second.mask.unlink()
    assert data.build("val").missing() == [first, second]
    with pytest.raises(InputError, match=r"1 of 4 images have no mask, first .*_leftImg8bit.png; expected .*_gtFine_labelIds.png"):
        _ = data.val_data

    assert data.use_present_val() == 2
    assert data.val_data.pairs[0] == third
    assert [len(data.val_data), data.val_data.missing()] == [2, []]
    assert data.val_data[1][1].shape == (40, 56)
    assert len(data.train_data) == 2


def test_use_present_val_of_a_whole_and_of_an_empty_split(tmp_path: Path) -> None:
    data = module(CityscapesDataModule, draw("cityscapes", tmp_path))
    assert data.use_present_val() == 0
    assert len(data.val_data) == 1
    data.val_data.pairs[0].image.rename(tmp_path / "leftImg8bit/val/frankfurt/other_leftImg8bit.png")
    with pytest.raises(InputError, match="1 of 2 images have no mask"):
        data.use_present_val()


def test_folders_absent_or_empty(tmp_path: Path) -> None:
    data = module(CityscapesDataModule, tmp_path)
    with pytest.raises(InputError, match=r"leftImg8bit/val does not exist; set dataset.root"):
        _ = data.val_data
    draw("cityscapes", tmp_path)
    for path in tmp_path.rglob("*_labelIds.png"):
        path.unlink()
    for use in (lambda: data.val_data, data.use_present_val):
        with pytest.raises(InputError, match=r"no masks \(_gtFine_labelIds.png\) in .*gtFine/val; set dataset.root"):
            use()
    shutil.rmtree(tmp_path / "gtFine/val")
    with pytest.raises(InputError, match=r"gtFine/val does not exist"):
        data.use_present_val()
