"""Prediction through the command: files, names, sizes, formats."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcn_lightning.data.images import read_image
from fcn_lightning.data.shapes import LABELS, draw_scene
from fcn_lightning.training.checkpoint import CARD
from fcn_lightning.zoo.load import load
from tests.conftest import Run
from tests.zoo.published import CONFIG_NAME, ROW, content, names_of_classes, working_state


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for index, (name, side) in enumerate((("a.jpg", 80), ("deep/er/b.png", 50), ("c.PNG", 121))):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image, _ = draw_scene(np.random.default_rng(index), side)
        Image.fromarray(image[: side - 10]).save(path)
    return folder


def predict(run: Run, trained: Path, source: object, *overrides: str) -> list[str]:
    result = run("predict", f"checkpoint={trained}/checkpoints/best.ckpt", f"source={source}", "output=out", *overrides)
    assert result.status == 0, result.err
    return sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file())


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def test_index_colour_and_overlay_at_the_original_size(run: Run, trained: Path, photos: Path) -> None:
    files = predict(run, trained, photos)
    names = ["a.png", "c.png", "deep/er/b.png"]
    assert files == sorted(f"{kind}/{name}" for kind in ("labels", "color", "overlay") for name in names)
    image = read_image(photos / "a.jpg")
    label_map = pixels("out/labels/a.png")
    assert label_map.shape == (70, 80)
    assert (label_map == load(trained / "checkpoints/best.ckpt").predict(image)).all()
    colored = np.array(LABELS.palette, np.uint8)[label_map]
    assert (pixels("out/color/a.png") == colored).all()
    np.testing.assert_allclose(pixels("out/overlay/a.png"), (image.astype(float) + colored) / 2, atol=1)


def test_file_and_glob(run: Run, trained: Path, photos: Path) -> None:
    assert predict(run, trained, photos / "a.jpg", "format=submission") == ["a.png"]
    result = run("predict", f"checkpoint={trained}/checkpoints/best.ckpt", f"source='{photos}/**/*.png'", "output=second")
    assert result.status == 0, result.err
    assert sorted(path.name for path in Path("second/labels").iterdir()) == ["b.png"]


def test_ms_flip_and_bf16(run: Run, trained: Path, photos: Path) -> None:
    predict(run, trained, photos / "a.jpg", "tta=ms_flip", "inference.precision=bf16")
    predictor = load(trained / "checkpoints/best.ckpt").using(tta="ms_flip", precision="bf16", device="cpu")
    assert (pixels("out/labels/a.png") == predictor.predict(read_image(photos / "a.jpg"))).all()


# What the two servers expect where the network says class c: Cityscapes ids, and ADE20K's numbers from 1.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21)
ADE20K_VALUES = tuple(range(1, 10))


@pytest.mark.parametrize("values", [CITYSCAPES_IDS, ADE20K_VALUES], ids=["cityscapes", "ade20k"])
def test_submission_maps_back_through_the_label_table(
    run: Run, trained: Path, photos: Path, tmp_path: Path, values: tuple[int, ...]
) -> None:
    checkpoint = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    checkpoint[CARD]["labels"]["values"] = list(values)
    torch.save(checkpoint, tmp_path / "server.ckpt")
    result = run("predict", f"checkpoint={tmp_path}/server.ckpt", f"source={photos}/a.jpg", "output=up", "format=submission")
    assert result.status == 0, result.err
    classes = load(trained / "checkpoints/best.ckpt").predict(read_image(photos / "a.jpg"))
    written = pixels("up/a.png")
    assert written.dtype == np.uint8
    assert (written == np.array(values)[classes]).all()


def test_a_broken_image_is_named_and_the_others_are_done(run: Run, trained: Path, photos: Path) -> None:
    (photos / "bad.png").write_bytes((photos / "c.PNG").read_bytes()[:500])
    result = run("predict", f"checkpoint={trained}/checkpoints/best.ckpt", f"source={photos}", "output=out")
    assert result.status == 1
    assert "1 of 4 images could not be read, the others are in out" in result.err
    assert "bad.png is truncated" in result.err
    assert len(list(Path("out/labels").rglob("*.png"))) == 3


@pytest.fixture
def strip(tmp_path: Path) -> Path:
    """An image that stays small where a row enlarges it to 2048 pixels."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 400, 3)).astype(np.uint8)).save(tmp_path / "strip.png")
    return tmp_path / "strip.png"


@pytest.mark.parametrize("name", [ROW, CONFIG_NAME])
def test_published_weights_of_a_named_row(run: Run, strip: Path, tmp_path: Path, name: str) -> None:
    torch.save(content(working_state()), tmp_path / "w.pth")
    result = run("predict", f"weights={tmp_path}/w.pth", f"row={name}", f"source={strip}", "output=out")
    assert result.status == 0, result.err
    predictor = load(ROW, weights=tmp_path / "w.pth")
    label_map = pixels("out/labels/strip.png")
    assert len(np.unique(label_map)) > 2
    assert (label_map == predictor.predict(strip)).all()
    assert list(predictor.card.labels.classes) == names_of_classes()
    assert (pixels("out/color/strip.png") == np.array(predictor.card.labels.palette, np.uint8)[label_map]).all()


def test_published_weights_of_an_unknown_row_are_refused(run: Run, strip: Path, tmp_path: Path) -> None:
    torch.save(content(working_state()), tmp_path / "w.pth")
    for row, words in (
        (
            (),
            "w.pth was not written by fcn_lightning, and is not named like a published file, so its row is not known; ",
        ),
        ((f"row={ROW[:-1]}",), f"{ROW[:-1]} is no row of the zoo (did you mean {ROW}?)"),
        (("row=fcn_r18b-d8_512x1024_80k_cityscapes",), "w.pth does not fit the row fcn_r18b-d8_512x1024_80k_cityscapes: "),
    ):
        result = run("predict", f"weights={tmp_path}/w.pth", *row, f"source={strip}", "output=out")
        assert result.status == 1
        assert words in result.err
        assert result.err.count("\n") == 1
        assert not Path("out").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("source=nowhere", "output=o"), "source=nowhere names no image"),
        (("source={photos}", "output={photos}"), "is not empty, and nothing is overwritten"),
        (("source={photos}", "output={photos}/inside"), "lies inside source="),
        (("source={photos}", "output=o", "format=jpeg"), "format=jpeg is not known; use all or submission"),
        (("source={photos}", "output=o", "tta=flip"), "tta=flip is not known"),
        (("source={photos}", "output=o", "inference.precision=fp8"), "precision=fp8 is not known"),
        (("source={photos}", "output=o", "trainer.accelerator=tpu"), "accelerator=tpu is not known"),
        (("source={photos}",), "output is not set; add output=<value>"),
        (("source={twins}", "output=o"), "would both be written as a.png"),
    ],
)
def test_bad_requests(run: Run, trained: Path, photos: Path, tmp_path: Path, overrides: tuple[str, ...], words: str) -> None:
    for name in ("a.jpg", "a.png"):
        (tmp_path / "twins").mkdir(exist_ok=True)
        (tmp_path / "twins" / name).write_bytes((photos / "a.jpg").read_bytes())
    filled = [item.format(photos=photos, twins=tmp_path / "twins") for item in overrides]
    result = run("predict", f"checkpoint={trained}/checkpoints/best.ckpt", *filled)
    assert result.status == 1
    assert words in result.err
    assert result.err.count("\n") == 1
    assert not Path("o").exists()
    assert not (photos / "inside").exists()
