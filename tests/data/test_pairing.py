"""Which files belong together, and that every public layout yields batches."""

from pathlib import Path

import pytest

from fcn_lightning import InputError
from fcn_lightning.config import build, compose
from fcn_lightning.data.dataset import Pair
from fcn_lightning.data.pairing import pair_files, pair_listed, read_list
from tests.data.layouts import draw


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_file_without_a_partner_is_half_a_pair(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    touch(images, "a.jpg", "x/c.jpg", "a-b.jpg")
    touch(masks, "a.png", "x/b.png", "a.jpg", "notes.txt")
    assert pair_files(images, masks) == [
        Pair(images / "a-b.jpg", masks / "a-b.png"),
        Pair(images / "a.jpg", masks / "a.png"),
        Pair(images / "x/b.jpg", masks / "x/b.png"),
        Pair(images / "x/c.jpg", masks / "x/c.png"),
    ]


def test_endings_tell_masks_from_their_neighbours(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    touch(images, "a_image.png", "other.png")
    touch(masks, "a_ids.png", "a_color.png")
    expected = [Pair(images / "a_image.png", masks / "a_ids.png")]
    assert pair_files(images, masks, image_ending="_image.png", mask_ending="_ids.png") == expected


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..", "..\\b", "\\\\host\\b", "C:\\b", "c:/b", "a\0b"]
)
def test_a_list_does_not_lead_out_of_the_data_set(tmp_path: Path, name: str) -> None:
    path = tmp_path / "train.txt"
    path.write_text(f"a\n\n  {name} \n")
    with pytest.raises(InputError, match=r"train.txt line 3 names .*, which points outside the data set; write a name relative"):
        read_list(path)
    path.write_text("a..b\n...\n.x/c\na b:c\n")
    assert read_list(path) == ["a..b", "...", ".x/c", "a b:c"]


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    for pair in (lambda: pair_files(images, masks), lambda: pair_listed(["a"], images, masks)):
        with pytest.raises(InputError, match=r"masks does not exist; set dataset.root"):
            pair()
    touch(masks, "a.png")
    with pytest.raises(InputError, match=r"no images \(of any format\) in .*images; set dataset.root"):
        pair_files(images, masks)
    touch(images, "a.jpg")
    (masks / "a.png").rename(masks / "a.bmp")
    with pytest.raises(InputError, match=r"no masks \(.png\) in .*masks; set dataset.root"):
        pair_files(images, masks)


@pytest.mark.parametrize("name", ["cityscapes", "cityscapes_769", "ade20k", "voc12aug", "pascal_context", "pascal_context_59"])
def test_a_batch_of_every_public_layout(name: str, tmp_path: Path) -> None:
    small = ("dataset.base_scale=[56,40]", "dataset.crop_size=[32,32]", "dataset.global_batch_size=2", "dataset.workers=0")
    data = build(compose(f"dataset={name}", f"dataset.root={draw(name, tmp_path)}", *small).dataset)
    data.plan(max_steps=1, ms_flip=False)
    data.check_first_samples()
    (batch,) = data.train_dataloader()
    assert batch["image"].shape == (2, 32, 32, 3)
    assert set(batch["mask"].unique().tolist()) <= {*range(len(data.labels.classes)), 255}
    assert len(batch["mask"].unique()) > 2
    assert [sample["mask"].shape for sample in data.val_dataloader()] == [(40, 56)]
    assert set(data.published_counts) == {"train", "val"}
