"""Pascal Context: one set of files, with its background as a class or without."""

from pathlib import Path

import pytest

from fcn_lightning import InputError
from fcn_lightning.data.dataset import Labels
from fcn_lightning.data.images import read_index_map
from fcn_lightning.data.pascal_context import LABELS, LABELS_59, PascalContext59DataModule, PascalContextDataModule
from tests.data.layouts import VOID, draw, golden_classes, module


@pytest.mark.parametrize(("name", "labels"), [("pascal_context", LABELS), ("pascal_context_59", LABELS_59)])
def test_classes_and_colours_are_the_published_ones(name: str, labels: Labels) -> None:
    known = golden_classes(name)["classes"]
    assert labels.classes == tuple(entry["name"] for entry in known)
    assert [list(color) for color in labels.palette] == [entry["color"] for entry in known]


def test_names_follow_the_order_of_the_values() -> None:
    known = golden_classes("pascal_context")
    assert [entry["detail_id"] for entry in known["classes"]] == sorted(entry["detail_id"] for entry in known["classes"])
    assert list(LABELS.classes[1:]) == sorted(LABELS.classes[1:])
    old = known["legacy_names_before_april_2021"]
    assert sorted(LABELS.classes) == sorted(old)
    assert LABELS.classes != tuple(old)


def test_label_tables() -> None:
    assert LABELS.values == tuple(range(60))
    assert LABELS.table[255] == 255
    assert (LABELS.table[60:255] == 254).all(), "other values are errors"
    assert LABELS_59.values == tuple(range(1, 60))
    assert LABELS_59.table[[0, 255]].tolist() == [255, 255]
    assert LABELS_59.table[1:60].tolist() == list(range(59))
    assert (LABELS_59.table[60:255] == 254).all()


def test_counts_are_those_of_the_published_annotations() -> None:
    assert PascalContextDataModule.published_counts == {"train": 4996, "val": 5104}
    assert PascalContext59DataModule.published_counts == {"train": 4996, "val": 5104}
    assert (PascalContextDataModule.name, PascalContext59DataModule.name) == ("pascal_context", "pascal_context_59")


def test_the_same_files_with_and_without_background(tmp_path: Path) -> None:
    root = draw("pascal_context", tmp_path)
    whole, objects = module(PascalContextDataModule, root), module(PascalContext59DataModule, root)
    folder = root / "VOCdevkit/VOC2010"
    assert [pair.image for pair in whole.train_data.pairs] == [folder / f"JPEGImages/2008_00000{index}.jpg" for index in range(2)]
    (pair,) = whole.val_data.pairs
    assert pair.mask == folder / "SegmentationClassContext/2009_000000.png"
    assert objects.val_data.pairs == [pair]
    values = read_index_map(pair.mask)
    with_background, without = whole.val_data[0][1], objects.val_data[0][1]
    assert (with_background == values).all()
    assert (with_background[20] == 0).all()
    assert (without[values == 0] == VOID).all()
    assert (without[values > 0] == values[values > 0] - 1).all()


def test_the_order_is_the_lists(tmp_path: Path) -> None:
    root = draw("pascal_context", tmp_path, val=3)
    listing = root / "VOCdevkit/VOC2010/ImageSets/SegmentationContext/val.txt"
    listing.write_text("2009_000002\n2009_000000\n")
    val = module(PascalContextDataModule, root).val_data
    assert [Path(val.name(index)).stem for index in range(len(val))] == ["2009_000002", "2009_000000"]


def test_root_may_be_any_of_three_folders(tmp_path: Path) -> None:
    root = draw("pascal_context_59", tmp_path)
    devkit = root / "VOCdevkit"
    counts = [len(module(PascalContext59DataModule, folder).train_data) for folder in (root, devkit, devkit / "VOC2010")]
    assert counts == [2, 2, 2]


def test_missing_list_and_files(tmp_path: Path) -> None:
    root = draw("pascal_context", tmp_path, val=2)
    folder = root / "VOCdevkit/VOC2010"
    data = module(PascalContextDataModule, root)
    (folder / "SegmentationClassContext/2009_000000.png").unlink()
    with pytest.raises(InputError, match=r"1 of 2 images have no mask, first .*2009_000000.jpg; expected .*: add the mask"):
        _ = data.val_data
    assert data.use_present_val() == 1
    (folder / "JPEGImages/2009_000001.jpg").unlink()
    with pytest.raises(InputError, match=r"have no (mask|image)"):
        data.use_present_val()
    (folder / "ImageSets/SegmentationContext/val.txt").unlink()
    with pytest.raises(InputError, match=r"SegmentationContext/val.txt does not exist; put it there"):
        data.build("val")
