"""Anybody's images and masks."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fcn_lightning import InputError
from fcn_lightning.data.folder import FolderDataModule, read_classes
from tests.conftest import write_pair


def module(root: Path) -> FolderDataModule:
    return FolderDataModule(
        base_scale=(56, 40), ratio_range=(1, 1), crop_size=(32, 32), global_batch_size=2, workers=0, seed=0, root=str(root)
    )


def names(root: Path, split: str) -> list[str]:
    dataset = module(root).build(split)
    return [Path(dataset.name(index)).stem for index in range(len(dataset))]


def test_split_folders(folder_data: Path) -> None:
    assert names(folder_data, "train") == list("012345")
    assert names(folder_data, "val") == list("012")
    image, mask = module(folder_data).build("val")[0]
    assert image.shape == (40, 56, 3)
    assert np.unique(mask).tolist() == [0, 1, 2, 255]


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for index in range(6):
        write_pair(tmp_path / "flat", f"f{index}", rng)
    (tmp_path / "flat/classes.yaml").write_text("classes: [a, b, c]\ncolors: [[1, 2, 3], [4, 5, 6], [7, 8, 9]]\nignored: [9]\n")
    return tmp_path / "flat"


def test_split_lists(flat: Path) -> None:
    (flat / "train.txt").write_text("f0.jpg\nf5.jpg\n\n")
    (flat / "val.txt").write_text("f3.jpg\n")
    assert (names(flat, "train"), names(flat, "val")) == (["f0", "f5"], ["f3"])
    (flat / "val.txt").write_text("f9.jpg\n")
    with pytest.raises(InputError, match=r"val.txt lists 'f9.jpg', which is not an image below"):
        names(flat, "val")


def test_every_fifth_image_is_for_validation_otherwise(flat: Path) -> None:
    assert names(flat, "val") == ["f4"]
    assert names(flat, "train") == ["f0", "f1", "f2", "f3", "f5"]
    for index in range(2):
        shutil.move(flat / f"images/f{index}.jpg", flat)
        shutil.move(flat / f"masks/f{index}.png", flat)
    with pytest.raises(InputError, match="4 images, too few to split"):
        names(flat, "val")


def test_classes_are_known_without_images(folder_data: Path) -> None:
    shutil.rmtree(folder_data / "images")
    assert module(folder_data).labels.classes == ("ground", "tree", "house")


def test_a_lost_file_moves_no_image_to_the_other_split(flat: Path) -> None:
    (flat / "images/f1.jpg").unlink()
    (flat / "masks/f3.png").unlink()
    assert names(flat, "val") == ["f4"]
    assert names(flat, "train") == ["f0", "f1", "f2", "f3", "f5"]
    data = module(flat)
    with pytest.raises(InputError, match=r"1 of 5 images have no mask, first .*f3.jpg; expected .*f3.png: add the mask or remove"):
        _ = data.train_data
    assert len(data.val_data) == 1


def test_a_list_decides_which_files_have_to_exist(flat: Path) -> None:
    (flat / "train.txt").write_text("f0.jpg\nf5.jpg\n")
    (flat / "val.txt").write_text("f3.jpg\nf4.jpg\n")
    for name in ("f1", "f3"):
        (flat / f"images/{name}.jpg").unlink()
    data = module(flat)
    assert len(data.train_data) == 2
    with pytest.raises(InputError, match=r"1 of 2 masks have no image, first .*f3.png; expected .*f3.jpg: add the image"):
        _ = data.val_data
    assert data.use_present_val() == 1
    assert Path(data.val_data.name(0)).name == "f4.jpg"
    (flat / "val.txt").write_text("f4.jpg\nf4.jpg\n")
    with pytest.raises(InputError, match=r"val.txt names 'f4.jpg' 2 times"):
        names(flat, "val")


def test_classes_file(flat: Path, folder_data: Path) -> None:
    labels = read_classes(flat / "classes.yaml")
    assert labels.classes == ("a", "b", "c")
    assert labels.palette[1] == (4, 5, 6)
    assert labels.ignored == (9, 255)
    made_up = read_classes(folder_data / "classes.yaml").palette
    assert len(set(made_up)) == 3, "colours are made up where none are given"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("classes: [a, b", "not valid YAML"),
        ("names: [a, b]", "needs a list `classes`"),
        ("classes: 3", "needs a list `classes`"),
        ("classes: [a, b]\ncolours: []", "nothing else"),
        ("classes: [a]", "1 classes; between 2 and"),
        ("classes: [a, b]\ncolors: [[1, 2, 3]]", "2 classes, 1 colours"),
        ("classes: [a, b]\ncolors: [red, blue]", r"colors.*three numbers"),
        ("classes: [a, b]\ncolors: [[0, 0, 0], [0, 0, 256]]", "256 is no value"),
        ("classes: [a, b]\nignored: [-1]", "-1 is no value"),
        ("classes: [a, b]\nignored: [void]", "`ignored` must be a list of mask values"),
        ("classes: [a, b]\nignored: [1]", "ignores 1, the value of class 'b'"),
        ("classes: [[a], {b: c}]", r"class 0 is not a name \(list\)"),
        ("classes: [a, ~]", r"class 1 is not a name \(NoneType\)"),
        ("classes: [a, 2001-01-01]", r"class 1 is not a name \(date\); write a word, in quotes"),
        ('classes: [a, "\\e[2J"]', "called '.x1b.2J', which is no name"),
        ("classes: [a, b]\ncolors: [[.inf, 0, 0], [0, 0, 0]]", "three numbers"),
        ("classes: [a, b]\nlabel_map: {0: [a]}", "label_map maps to"),
        ("a: &a [b, c]\nclasses: *a", "refers to an anchor"),
    ],
)
def test_bad_classes_files(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "classes.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=words) as error:
        read_classes(path)
    assert str(path) in str(error.value)
