"""ADE20K: 0 means "other", and every class stands one higher in the files."""

from pathlib import Path

import numpy as np
import pytest

from fcn_lightning import InputError
from fcn_lightning.data.ade20k import LABELS, ADE20KDataModule
from fcn_lightning.data.images import read_index_map
from tests.data.layouts import VOID, draw, golden_classes, module


def test_classes_and_colours_are_the_published_ones() -> None:
    known = golden_classes("ade20k")["classes"]
    assert known[7]["name"] == "bed "
    assert LABELS.classes == tuple(entry["name"].strip() for entry in known)
    assert [list(color) for color in LABELS.palette] == [entry["color"] for entry in known]
    assert len(set(LABELS.classes)) == 150
    assert LABELS.palette[6] == LABELS.palette[48], "colours are no labels"
    assert ADE20KDataModule.published_counts == {"train": 20210, "val": 2000}


def test_labels_are_reduced_by_one() -> None:
    assert LABELS.values == tuple(entry["index"] + 1 for entry in golden_classes("ade20k")["classes"])
    assert LABELS.table[1:151].tolist() == list(range(150))
    assert LABELS.table[[0, 255]].tolist() == [255, 255]
    assert (LABELS.table[151:255] == 254).all(), "other values are errors"


def test_pairs_and_masks(tmp_path: Path) -> None:
    data = module(ADE20KDataModule, draw("ade20k", tmp_path, train=3))
    names = [Path(data.train_data.name(index)).name for index in range(3)]
    assert names == ["ADE_train_00000001.jpg", "ADE_train_00000002.jpg", "ADE_train_00000003.jpg"]
    (pair,) = data.val_data.pairs
    assert pair.image == tmp_path / "ADEChallengeData2016/images/validation/ADE_val_00000001.jpg"
    assert pair.mask == tmp_path / "ADEChallengeData2016/annotations/validation/ADE_val_00000001.png"
    image, mask = data.val_data[0]
    values = read_index_map(pair.mask).astype(int)
    assert image.shape == (40, 56, 3)
    assert (mask == np.where(values == 0, VOID, values - 1)).all()
    assert (mask[20] == VOID).all()


def test_root_may_be_the_inner_folder(tmp_path: Path) -> None:
    root = draw("ade20k", tmp_path)
    assert (
        module(ADE20KDataModule, root / "ADEChallengeData2016").build("val").pairs
        == module(ADE20KDataModule, root).build("val").pairs
    )
    with pytest.raises(InputError, match=r"holds no folder annotations, nor ADEChallengeData2016/annotations; set dataset.root="):
        module(ADE20KDataModule, root / "ADEChallengeData2016/images").build("val")


def test_missing_files(tmp_path: Path) -> None:
    data = module(ADE20KDataModule, draw("ade20k", tmp_path, val=3))
    pairs = data.build("val").pairs
    pairs[1].mask.unlink()
    with pytest.raises(
        InputError, match=r"1 of 3 images have no mask, first .*ADE_val_00000002.jpg; expected .*02.png: add the mask"
    ):
        _ = data.val_data
    pairs[2].image.unlink()
    assert data.use_present_val() == 2
    assert data.val_data.pairs == [pairs[0]]
