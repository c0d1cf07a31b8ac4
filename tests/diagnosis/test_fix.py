"""What the fix writes: a folder that training reads as the data set was meant, and nothing else is touched."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from fcn_lightning import InputError
from fcn_lightning.data.folder import FolderDataModule
from fcn_lightning.diagnosis.convert import turn
from fcn_lightning.diagnosis.fix import Fix, fix
from tests.data.layouts import module
from tests.diagnosis.planted import COLORS, PLANTS, Plant, clean, examine, lost, mask_of, masks, paint, remap, save


def mend(root: Path, out: Path) -> Fix:
    """Fix a data set, and check that the files of the old one are as before."""
    before = contents(root)
    done = fix(examine(root), out, processes=1)
    assert contents(root) == before
    return done


def contents(root: Path) -> dict[Path, str]:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()}


def labels(root: Path, split: str = "train") -> list[np.ndarray]:
    """Return the masks as training reads them."""
    dataset = module(FolderDataModule, root).build(split)
    assert not dataset.missing()
    return [dataset[index][1] for index in range(len(dataset))]


def shown(masks: list[np.ndarray]) -> list[bytes]:
    return [mask.tobytes() for mask in masks]


def every(change: Callable[[np.ndarray, Path], None]) -> Plant:
    return lambda root: [change(mask_of(path), path) for path in masks(root)] and None


def binary(root: Path) -> None:
    remap({1: 0, 2: 255, 3: 255, 255: 0})(root)
    (root / "classes.yaml").write_text("classes: [background, foreground]\n")


TABLES: dict[str, tuple[Plant, dict[int, str]]] = {
    "off-by-one": (PLANTS["off-by-one"][0], {0: "ignore", 1: "ground", 2: "tree", 3: "house", 4: "sky", 255: "ignore"}),
    "reduce-zero-label": (
        PLANTS["reduce-zero-label"][0], {0: "ignore", 1: "ground", 2: "tree", 3: "house", 4: "sky", 255: "ignore"}
    ),
    "other-values": (PLANTS["other-values"][0], {0: "ground", 50: "tree", 100: "house", 200: "sky", 255: "ignore"}),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_label_map_gives_the_labels_that_were_meant(tmp_path: Path, name: str) -> None:
    root = clean(tmp_path / "data")
    meant = shown(labels(root))
    plant, table = TABLES[name]
    plant(root)
    done = mend(root, tmp_path / "new")
    assert yaml.safe_load((tmp_path / "new/classes.yaml").read_text())["label_map"] == table
    assert shown(labels(tmp_path / "new")) == meant
    assert (done.linked, done.converted) == (10, 0)
    assert os.path.samefile(root / "masks/val/1.png", tmp_path / "new/masks/val/1.png"), "linked, not copied"
    assert os.path.samefile(root / "images/val/1.jpg", tmp_path / "new/images/val/1.jpg")
    assert examine(tmp_path / "new").findings == []


def test_foreground_as_255(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    meant = [(mask >= 2) & (mask < 255) for mask in labels(root)]
    binary(root)
    mend(root, tmp_path / "new")
    assert yaml.safe_load((tmp_path / "new/classes.yaml").read_text())["label_map"] == {0: "background", 255: "foreground"}
    assert shown(labels(tmp_path / "new")) == shown([mask.astype(np.uint8) for mask in meant])


def test_values_of_no_class_are_ignored_and_said_to_be(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    remap({2: 77}, "train/1")(root)
    before = mask_of(root / "masks/train/1.png")
    mend(root, tmp_path / "new")
    assert f"77: ignore # no class of the list; {(before == 77).sum():,} pixels" in (tmp_path / "new/classes.yaml").read_text()
    assert np.array_equal(labels(tmp_path / "new")[1] == 255, (before == 77) | (before == 255))


CONVERTED: dict[str, Plant] = {
    "colours": paint,
    "colours with alpha": lambda root: paint(root, mode="RGBA"),
    "colours in one of many": PLANTS["mask-colour"][0],
    "grey as rgb": every(lambda mask, path: save(mask, path, mode="RGB")),
    "grey with alpha": every(lambda mask, path: save(mask, path, mode="LA")),
    "16 bits": every(lambda mask, path: save(mask.astype(np.uint16), path)),
    "tiff under another name": every(lambda mask, path: save(mask, path.with_suffix(".tif")) or path.unlink()),
    "palette with indices of no class": every(lambda mask, path: paletted(9 - mask.astype(int), path)),
}  # fmt: skip


def paletted(indices: np.ndarray, path: Path) -> None:
    """Write the classes 0 to 3 as the indices 9 to 6: as many as there are classes, but in another order."""
    table = np.zeros((256, 3), np.uint8)
    table[[9, 8, 7, 6]] = COLORS
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(table.ravel().tolist())
    image.save(path)


@pytest.mark.parametrize("name", CONVERTED)
def test_a_conversion_gives_the_labels_that_were_meant(tmp_path: Path, name: str) -> None:
    root = clean(tmp_path / "data")
    for path in masks(root):  # the ignored line has no colour: the whole mask is labelled
        save(np.where(mask_of(path) == 255, 0, mask_of(path)), path)
    meant = shown(labels(root) + labels(root, "val"))
    CONVERTED[name](root)
    done = mend(root, tmp_path / "new")
    assert shown(labels(tmp_path / "new") + labels(tmp_path / "new", "val")) == meant
    assert done.inexact == 0
    assert done.converted == (1 if "one of many" in name else 10)
    assert examine(tmp_path / "new").errors == []


def test_a_colour_of_no_class_is_ignored_and_counted(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    meant = shown(labels(root))
    paint(root, ignored=(0, 0, 0))
    done = mend(root, tmp_path / "new")
    assert shown(labels(tmp_path / "new")) == meant
    assert done.inexact == 10 * 64


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_smeared_colours_go_to_the_nearest_class(tmp_path: Path, kind: str) -> None:
    root = clean(tmp_path / "data")
    for path in masks(root):
        save(np.where(mask_of(path) == 255, 0, mask_of(path)), path)
    meant = np.concatenate(labels(root))
    if kind == "JPEG":
        paint(root, kind="JPEG", quality=90, subsampling=0)
    else:  # enlarged with interpolation and made small again: edges between the colours
        paint(root)
        for path in masks(root):
            image = Image.open(path)
            image.resize((96, 72), Image.Resampling.BICUBIC).resize((64, 48), Image.Resampling.BICUBIC).save(path)
    done = mend(root, tmp_path / "new")
    got = np.concatenate(labels(tmp_path / "new"))
    assert (got != meant).mean() < 0.03
    assert 0 < done.inexact < meant.size * 10 / 6


def test_a_lossy_mask_of_two_values(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    binary(root)
    meant = np.concatenate([mask_of(path) == 255 for path in masks(root, "train/*")])
    every(lambda mask, path: save(mask, path, "JPEG", quality=80))(root)
    done = mend(root, tmp_path / "new")
    assert np.array_equal(np.concatenate(labels(tmp_path / "new")), meant.astype(np.uint8))
    assert done.inexact > 0


def test_lossy_labels_too_close_to_each_other_are_left_out(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    PLANTS["mask-jpeg"][0](root)
    done = mend(root, tmp_path / "new")
    assert done.left_out == {"the labels were smeared into each other": 1}
    assert "1 pairs are left out: the labels were smeared into each other" in str(done)
    assert len(labels(tmp_path / "new")) == 5


def test_a_mask_is_turned_as_its_image_is(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    PLANTS["exif-rotation"][0](root)
    mend(root, tmp_path / "new")
    assert np.array_equal(labels(tmp_path / "new")[0], turn(mask_of(root / "masks/train/0.png"), 6))
    assert examine(tmp_path / "new").errors == []


def test_classes_are_drafted_from_values(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    remap({3: 40})(root)
    (root / "classes.yaml").unlink()
    mend(root, tmp_path / "new")
    text = (tmp_path / "new/classes.yaml").read_text()
    content = yaml.safe_load(text)
    assert content["classes"] == ["class_0", "class_1", "class_2", "class_40"]
    assert content["label_map"] == {0: "class_0", 1: "class_1", 2: "class_2", 40: "class_40", 255: "ignore"}
    assert "give the classes their own" in text
    assert examine(tmp_path / "new").findings == []


def test_classes_are_drafted_from_colours(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    paint(root)
    (root / "classes.yaml").unlink()
    mend(root, tmp_path / "new")
    content = yaml.safe_load((tmp_path / "new/classes.yaml").read_text())
    assert len(content["classes"]) == 4
    assert {tuple(color) for color in content["colors"]} == set(COLORS)
    assert np.unique(np.concatenate(labels(tmp_path / "new"))).tolist() == [0, 1, 2, 3]


def test_what_cannot_be_used_is_left_out(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    for code in ("image-without-mask", "mask-without-image", "image-broken", "size-differs"):
        PLANTS[code][0](root)
    done = mend(root, tmp_path / "new")
    assert done.left_out == {"a file is absent": 2, "a file cannot be read": 1, "the sizes differ": 1}
    assert (len(labels(tmp_path / "new")), len(labels(tmp_path / "new", "val"))) == (4, 2)
    assert examine(tmp_path / "new").findings == []


def test_a_split_without_a_usable_pair_is_refused(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    lost(*(f"masks/val/{index}.png" for index in range(4)))(root)
    with pytest.raises(InputError, match=r"no usable pair in val .*a file is absent.*by hand"):
        mend(root, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_flat_folder_keeps_its_names_and_its_splits(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    for path in [*root.glob("*/*/*")]:
        path.rename(path.parent.parent / f"{path.parent.name}_{path.name}")
    for folder in [*root.glob("*/*")]:
        if folder.is_dir():
            folder.rmdir()
    for path in (root / "masks").iterdir():
        save(mask_of(path), path.with_name(path.stem + "_mask.bmp"))
        path.unlink()
    before = examine(root).scan.splits
    mend(root, tmp_path / "new")
    for split in before:
        names = [pair.image.name for pair in split.pairs]
        assert (tmp_path / f"new/{split.name}.txt").read_text().split() == names
        assert len(labels(tmp_path / "new", split.name)) == len(names) == (8 if split.name == "train" else 2)


def test_links_are_symbolic_where_hard_ones_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = clean(tmp_path / "data")
    PLANTS["off-by-one"][0](root)

    def refuse(*paths: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.chdir(tmp_path)
    fix(examine(Path("data")), Path("new"), processes=1)
    link = tmp_path / "new/images/train/0.jpg"
    assert link.is_symlink()
    assert link.resolve() == (root / "images/train/0.jpg").resolve()
    assert examine(Path("new")).findings == []


@pytest.mark.parametrize("names", [["no", "1", "a: b #c", "ünï"], ["ignore", "same", "same", "null"]])
def test_any_class_name_survives(tmp_path: Path, names: list[str]) -> None:
    root = clean(tmp_path / "data")
    meant = shown(labels(root))
    PLANTS["off-by-one"][0](root)
    (root / "classes.yaml").write_text(yaml.safe_dump({"classes": names}))
    mend(root, tmp_path / "new")
    assert list(module(FolderDataModule, tmp_path / "new").labels.classes) == names
    assert shown(labels(tmp_path / "new")) == meant
