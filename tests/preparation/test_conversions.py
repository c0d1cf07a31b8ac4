"""What becomes of masks and lists, beyond what the command's tests show."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fcn_lightning import InputError
from fcn_lightning.data.pascal_context import CLASSES
from fcn_lightning.preparation import pascal_context, voc12aug
from fcn_lightning.preparation.layouts import LAYOUTS, layout
from fcn_lightning.preparation.pascal_context import CATEGORIES, Annotated, draw, read_annotations
from fcn_lightning.preparation.sources import look_through
from fcn_lightning.preparation.voc12aug import read_mat
from tests.data.layouts import golden_classes
from tests.preparation import published

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")

SQUARE = [[0, 0, 4, 0, 4, 3, 0, 3]]
CORNER = [[0, 0, 2, 0, 2, 3, 0, 3]]


def test_categories_are_those_of_the_reference() -> None:
    expected = golden_classes("pascal_context")["classes"]
    assert [entry["detail_id"] for entry in expected] == list(CATEGORIES)
    assert [entry["name"] for entry in expected] == [name for name, _ in CLASSES]


def test_annotations_are_drawn_in_the_order_of_the_file() -> None:
    one, two = (
        Annotated("a", "val", (3, 4), [(2, SQUARE), (458, CORNER)]),
        Annotated("a", "val", (3, 4), [(458, CORNER), (2, SQUARE)]),
    )
    assert draw(one).tolist() == [[59, 59, 1, 1]] * 3
    assert draw(two).tolist() == [[1] * 4] * 3
    assert draw(Annotated("a", "val", (3, 4), [(458, CORNER)])).tolist() == [[59, 59, 0, 0]] * 3
    assert draw(one).dtype == np.uint8


@pytest.mark.parametrize("category", [1, 457, 459, 100_000, -2])
def test_an_unknown_category_is_an_error_where_it_shows(category: int) -> None:
    with pytest.raises(InputError, match=rf"image a shows category {category}, which is none of the 60"):
        draw(Annotated("a", "val", (3, 4), [(2, SQUARE), (category, CORNER)]))
    assert draw(Annotated("a", "val", (3, 4), [(category, CORNER), (2, SQUARE)])).max() == 1


def test_a_broken_segmentation_is_named() -> None:
    with pytest.raises(InputError, match=r"trainval_merged.json: image a, category 2: the segmentation cannot be read"):
        draw(Annotated("a", "val", (3, 4), [(2, {"size": [3, 4], "counts": [1]})]))


def entry(**changes: Any) -> dict[str, Any]:
    return {"image_id": 7, "file_name": "2008_000001.jpg", "phase": "train", "height": 3, "width": 4} | changes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not the annotation file"),
        ("[]", "is not the annotation file"),
        ({"images": []}, "no key 'annos_segmentation'"),
        ({"images": [{"phase": "val"}], "annos_segmentation": []}, "no key 'image_id'"),
        ({"images": [entry(file_name="../../etc/x.jpg")], "annos_segmentation": []}, "is no name of an image"),
        ({"images": [entry(file_name="x.png")], "annos_segmentation": []}, "is no name of an image"),
        ({"images": [entry(height=10**6)], "annos_segmentation": []}, "1000000x4 pixels"),
        ({"images": [entry(width=0)], "annos_segmentation": []}, "3x0 pixels"),
        ({"images": [entry(width=float("inf"))], "annos_segmentation": []}, "is not the annotation file"),
        ({"images": [], "annos_segmentation": [{"image_id": 7, "category_id": 10**30}]}, f"{10**30} is no category"),
        ({"images": [], "annos_segmentation": [{"image_id": 7, "category_id": -1}]}, "-1 is no category"),
        ("[" * 100_000, "is not the annotation file"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "trainval_merged.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=rf"is not the annotation file of PASCAL in Detail.*{words}|{words}"):
        read_annotations(path)


def test_an_image_without_annotations_is_background(tmp_path: Path) -> None:
    path = tmp_path / "trainval_merged.json"
    path.write_text(json.dumps({"images": [entry(), entry(phase="test", image_id=8)], "annos_segmentation": []}))
    (image,) = read_annotations(path)
    assert draw(image).tolist() == [[0] * 4] * 3


def test_sbd_masks() -> None:
    mask = np.arange(21, dtype=np.uint8).reshape(3, 7)
    assert read_mat("x.mat", published.mat(mask)).tolist() == mask.tolist()
    assert read_mat("x.mat", published.mat(mask.astype(float))).dtype == np.uint8
    with pytest.raises(InputError, match=r"x.mat holds no label map of the values 0 to 20"):
        read_mat("x.mat", published.mat(mask + 1))
    with pytest.raises(InputError, match=r"benchmark.tgz: x.mat holds no GTcls.Segmentation .*; get benchmark.tgz again"):
        read_mat("x.mat", published.mat(mask)[:200])


def test_the_lists_of_voc12aug(tmp_path: Path) -> None:
    """(VOC train or SBD) without VOC val, and that without VOC train; SBD's mask of a validation image is left out."""
    folder = published.voc12aug(tmp_path / "archives", tmp_path / "drawn")
    root = tmp_path / "root"
    found = [look_through(part, folder / part.file) for part in voc12aug.PARTS]
    outputs = {output.path.relative_to(root / "VOCdevkit/VOC2012").as_posix(): output for output in voc12aug.plan(found, root)}
    lists = {name: outputs[f"ImageSets/Segmentation/{name}.txt"].content(b"").decode().split() for name in ("aug", "trainaug")}
    assert lists["aug"] == ["2008_000000", "2008_000001", "2008_000002"]
    assert lists["trainaug"] == ["2007_000000", "2007_000001", "2007_000002", *lists["aug"]]
    masks = [name for name in outputs if name.startswith("SegmentationClassAug/")]
    assert masks == [f"SegmentationClassAug/{name}.png" for name in lists["trainaug"]]
    images = [name for name in outputs if name.startswith("JPEGImages/")]
    assert len(images) == 8, "those of the detection task stay where they are"


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = published.tarred(tmp_path / "benchmark.tgz", {"benchmark_RELEASE/dataset/cls/2008_000001.mat": b""})
    found = look_through(voc12aug.SBD, path)
    with pytest.raises(InputError, match=r"benchmark.tgz holds no train.txt, which benchmark.tgz has; get it again from home"):
        found.lines("train.txt")


def test_of_two_folders_the_fuller_one_counts(tmp_path: Path) -> None:
    for name in ("a/VOC2010/JPEGImages/1.jpg", "b/VOC2010/JPEGImages/1.jpg", "b/VOC2010/JPEGImages/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = look_through(pascal_context.VOC, tmp_path)
    assert found.names == {f"JPEGImages/{n}.jpg": f"{tmp_path}/b/VOC2010/JPEGImages/{n}.jpg" for n in (1, 2)}


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcn_lightning.preparation.layouts.find_spec", lambda name: None)
    with pytest.raises(InputError, match="with pycocotools, which is not installed; run pip install pycocotools"):
        layout("pascal_context_59")
    assert layout("camvid") is LAYOUTS["camvid"]


def test_png_masks_hold_indices(tmp_path: Path) -> None:
    from fcn_lightning.preparation.outputs import drawn, write

    mask = np.arange(60, dtype=np.uint8).reshape(6, 10)
    write([drawn(tmp_path / "new/x.png", 1, lambda: mask)])
    with Image.open(tmp_path / "new/x.png") as file:
        assert file.mode == "L"
        assert np.asarray(file).tolist() == mask.tolist()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.png"]


def test_a_matlab_file_that_unpacks_to_more_than_any_mask_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    mask = np.zeros((1200, 1000), np.uint8)
    savemat(packed, {"GTcls": {"Segmentation": mask}}, do_compression=True)
    assert len(packed.getvalue()) < 5000
    assert read_mat("x.mat", packed.getvalue()).shape == (1200, 1000)
    monkeypatch.setattr(voc12aug, "MAX_MEMBER", 1_000_000)
    with pytest.raises(InputError, match=r"x.mat holds no GTcls.Segmentation \(it unpacks to more than 1,000,000 bytes\)"):
        read_mat("x.mat", packed.getvalue())
