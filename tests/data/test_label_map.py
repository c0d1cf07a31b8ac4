"""Tables of one's own from file values to classes."""

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from fcn_lightning import InputError
from fcn_lightning.config import build, compose
from fcn_lightning.data.ade20k import LABELS as ADE20K
from fcn_lightning.data.camvid import LABELS as CAMVID
from fcn_lightning.data.dataset import Labels
from fcn_lightning.data.folder import read_classes
from fcn_lightning.data.label_map import reduce_zero_label, table_of, with_label_map

LABELS = Labels(("road", "car", "tree"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), (0, 1, 2))


def test_a_table_of_names_numbers_and_ignored_values() -> None:
    labels = with_label_map(LABELS, {0: "ignore", 10: "car", 11: 1, 200: "road", 255: "tree"}, "here")
    assert labels.classes == ("road", "car", "tree")
    assert labels.values == (200, 10, 255)
    assert labels.table[[0, 10, 11, 200, 255, 1]].tolist() == [255, 1, 1, 0, 2, 254]
    assert table_of(labels) == {0: "ignore", 10: "car", 11: "car", 200: "road", 255: "tree"}


def test_255_is_ignored_unless_listed_and_unnamed_classes_go() -> None:
    labels = with_label_map(LABELS, {1: "road", 2: "tree"}, "here")
    assert (labels.classes, labels.palette) == (("road", "tree"), ((0, 0, 0), (2, 2, 2)))
    assert labels.table[[1, 2, 255, 0]].tolist() == [0, 1, 255, 254]


def test_reduce_zero_label_is_the_references() -> None:
    # open-mmlab/mmsegmentation: 0 becomes 255, all else one less, and what was 255 stays ignored.
    values = [*range(151), 255]
    assert with_label_map(ADE20K, "reduce_zero_label", "here").table[values].tolist() == [255, *range(150), 255]
    assert reduce_zero_label(LABELS) == {0: "ignore", 1: "road", 2: "car", 3: "tree", 255: "ignore"}


def test_reduce_zero_label_prints_its_table(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        datamodule = build(compose("dataset=camvid", "dataset.reduce_zero_label=true").dataset)
        assert datamodule.labels.table[:12].tolist() == [255, *range(11)]
    assert "reduce_zero_label is the label_map {0: ignore, 1: Sky, 2: Building" in caplog.text
    assert "11: Bicyclist, 255: ignore}" in caplog.text


def test_the_key_of_a_data_set(tmp_path: Path) -> None:
    datamodule = build(compose("dataset=camvid", "dataset.label_map={0: Sky, 3: Road, 4: Road, 11: ignore}").dataset)
    assert datamodule.labels.classes == ("Sky", "Road")
    assert datamodule.labels.aliases == ((4, 1),)
    assert datamodule.canonical is CAMVID


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"label_map": {0: "road", 255: "car"}}, {0: "road", 255: "car"}),
        ({"reduce_zero_label": True}, {0: "ignore", 1: "road", 2: "car", 255: "ignore"}),
        ({"label_map": "reduce_zero_label"}, {0: "ignore", 1: "road", 2: "car", 255: "ignore"}),
    ],
    ids=str,
)
def test_in_a_classes_file(tmp_path: Path, content: dict[str, Any], expected: dict[int, str]) -> None:
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"classes": ["road", "car"], **content}))
    assert table_of(read_classes(tmp_path / "classes.yaml")) == expected


@pytest.mark.parametrize(
    ("label_map", "sentence"),
    [
        ({0: "raod"}, r"maps to 'raod', which is no class; write ignore, a number from 0 to 2, or one of road, car, tree"),
        ({0: 3}, r"maps to 3, which is no class"),
        ({256: "road"}, r"has the file value 256; the left side must be a pixel value from 0 to 255"),
        ({"road": 0}, r"has the file value 'road'"),
        ({}, r"must be a table such as"),
        ("reduce_zero", r"must be a table such as"),
        ({0: "road"}, r"1 classes; between 2"),
    ],
)
def test_what_is_no_table_is_said_with_its_place(label_map: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        with_label_map(LABELS, label_map, "mine.yaml")


def test_a_classes_file_that_says_it_twice(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("classes: [a, b]\nignored: [9]\nlabel_map: {0: a, 1: b}\n")
    with pytest.raises(InputError, match="says twice what the values mean"):
        read_classes(tmp_path / "classes.yaml")
