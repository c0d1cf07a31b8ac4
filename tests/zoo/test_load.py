"""`load`: a run folder, a checkpoint, a published file, a row; each in its own test mode, and refused in words."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import fcn_lightning
from fcn_lightning import InputError
from fcn_lightning.data.shapes import LABELS, draw_scene
from fcn_lightning.evaluation.predictor import Predictor
from fcn_lightning.training.checkpoint import CARD
from fcn_lightning.zoo import recipes
from fcn_lightning.zoo.load import load, load_requested
from tests.conftest import ROOT
from tests.zoo.published import CONFIG_NAME, ROW, content, named_by_hash, refusal, working_state

SLIDE_ROW = "fcn_r18-d8_769x769_80k_cityscapes"  # the same network, tested in another way
GOLDEN = yaml.safe_load((ROOT / "tests/golden/mmseg_zoo.yaml").read_text())
# These rows enlarge every image to 2048 pixels: a strip stays small.
STRIP = np.random.default_rng(0).integers(0, 256, (6, 400, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(content(working_state()), path)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, with nothing reachable outside it."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("FCN_MIRRORS", "file:///nowhere")
    monkeypatch.setattr("urllib.request.OpenerDirector.open", no_network)
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    return tmp_path / "hub/checkpoints"


def no_network(*arguments: object, **options: object) -> None:
    raise OSError("no network in this test")


def holds(predictor: Predictor, path: Path) -> bool:
    """Tell whether the network has the tensors of a file."""
    file = torch.load(path, weights_only=True)["state_dict"]
    state = {key.removeprefix("model."): value for key, value in file.items()}
    own = predictor.model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], value) for key, value in state.items())


# What can be opened


@pytest.mark.parametrize("name", [ROW, CONFIG_NAME])
def test_a_row_with_a_file(weights: Path, cache: Path, name: str) -> None:
    predictor = load(name, weights=weights)
    assert holds(predictor, weights)
    assert predictor.card == recipes.card(ROW)
    assert not predictor.model.training


def test_a_run_folder_is_its_best_checkpoint(trained: Path) -> None:
    folder, best = fcn_lightning.load(trained), load(trained / "checkpoints/best.ckpt")
    assert holds(folder, trained / "checkpoints/best.ckpt")
    assert folder.card == best.card
    assert (folder.card.dataset, folder.card.labels) == ("shapes", LABELS)
    image, _ = draw_scene(np.random.default_rng(0), 80)
    assert (load(str(trained)).predict(image) == best.predict(image)).all()


def test_the_last_checkpoint(trained: Path) -> None:
    assert holds(load(trained / "checkpoints/last.ckpt"), trained / "checkpoints/last.ckpt")


def test_a_published_file_under_its_name(published: tuple[str, Path]) -> None:
    name, path = published
    predictor = load(path)
    assert holds(predictor, path)
    assert predictor.card == recipes.card(name)


@pytest.mark.parametrize("name", [ROW, CONFIG_NAME])
def test_a_row_alone_comes_from_the_cache(published: tuple[str, Path], cache: Path, name: str) -> None:
    shutil.copy(published[1], cache)
    assert holds(load(name), published[1])


def test_a_row_alone_is_fetched(published: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("FCN_MIRRORS", str(published[1].parent))
    assert holds(load(ROW), published[1])
    assert (tmp_path / "hub/checkpoints" / published[1].name).is_file()


def test_a_row_is_meant_although_a_folder_has_its_name(
    published: tuple[str, Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(published[1], cache)
    monkeypatch.chdir(tmp_path)
    Path(ROW).mkdir()
    assert holds(load(ROW, weights=published[1]), published[1])
    assert holds(load(ROW, weights=ROW), published[1])
    assert holds(load_requested(None, None, ROW), published[1])
    assert f"{ROW}/checkpoints/best.ckpt does not exist" in refusal(load, ROW), "without more, it may be a run"


# Test modes


@pytest.mark.parametrize("name", [ROW, SLIDE_ROW])
def test_the_test_mode_is_the_rows(weights: Path, name: str) -> None:
    (golden,) = (entry for entry in GOLDEN["seed_rows"] + GOLDEN["beyond_seed"] if entry["id"] == name)
    predictor = load(name, weights=weights)
    how = predictor.card.inference
    slides = golden["test_mode"] == "slide"
    assert slides == (name == SLIDE_ROW)
    assert how.mode == golden["test_mode"]
    assert (how.crop_size, how.stride) == (((769, 769), (513, 513)) if slides else (None, None))
    assert (how.tta, how.precision) == ("none", "fp32")
    assert predictor.card.base_scale == tuple(golden["test_scale_wh"])
    assert predictor.card.model["align_corners"] is predictor.model.align_corners is golden["align_corners"]
    assert len(predictor.card.labels.classes) == golden["num_classes"]


def test_the_test_mode_decides_about_the_prediction(weights: Path) -> None:
    whole, slide = (load(name, weights=weights).scores(STRIP) for name in (ROW, SLIDE_ROW))
    assert whole.shape == slide.shape == (1, 19, 6, 400)
    assert not torch.equal(whole, slide)


# Prediction


def test_a_path_and_an_array_give_the_same(weights: Path, tmp_path: Path) -> None:
    Image.fromarray(STRIP).save(tmp_path / "strip.png")
    predictor = load(ROW, weights=weights)
    label_map = predictor.predict(STRIP)
    assert label_map.shape == STRIP.shape[:2]
    assert label_map.dtype == np.uint8
    assert len(np.unique(label_map)) > 2
    assert label_map.max() < 19
    for path in (tmp_path / "strip.png", str(tmp_path / "strip.png")):
        assert (predictor.predict(path) == label_map).all()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((8, 8, 3), np.float32), r"float32 array of shape \(8, 8, 3\)"),
        (np.zeros((8, 8, 4), np.uint8), r"uint8 array of shape \(8, 8, 4\)"),
        (np.zeros((8, 8), np.uint8), r"uint8 array of shape \(8, 8\)"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"uint8 array of shape \(1, 8, 8, 3\)"),
        (np.zeros((0, 8, 3), np.uint8), r"uint8 array of shape \(0, 8, 3\)"),
        ([[[0, 0, 0]]], "list"),
    ],
    ids=["float", "alpha", "grey", "batch", "empty", "list"],
)
def test_an_array_that_is_no_image_is_refused(trained: Path, image: np.ndarray, words: str) -> None:
    with pytest.raises(
        InputError, match=rf"a {words} cannot be labelled; give a file, or an array \(height, width, 3\) of RGB uint8"
    ):
        load(trained).predict(image)


def test_a_missing_image_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.png"):
        load(trained).predict(tmp_path / "no.png")


# Refusals


def test_an_unknown_name_is_answered_with_the_row_that_may_be_meant(cache: Path, weights: Path) -> None:
    text = f"{ROW[:-1]} is no row of the zoo (did you mean {ROW}?); python -m fcn_lightning.table lists all 43"
    assert refusal(load, ROW[:-1], weights=weights) == text
    assert refusal(load, ROW[:-1]) == f"there is no file {ROW[:-1]}, and {text}"
    assert f"(did you mean {CONFIG_NAME}?)" in refusal(load, CONFIG_NAME[:-1])
    assert f"(did you mean {ROW}?)" in refusal(load, ROW, weights=ROW[:-1])
    assert refusal(load, "runs").startswith("there is no file runs, and runs is no row of the zoo; python -m fcn_lightning.table")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path}/no.pth does not exist; give checkpoint=" in refusal(load, tmp_path / "no.pth")
    assert f"{tmp_path}/no.pth does not exist; give checkpoint=" in refusal(load, ROW, weights=tmp_path / "no.pth")
    assert f"{tmp_path}/checkpoints/best.ckpt does not exist; give checkpoint=" in refusal(load, tmp_path)
    assert f"{tmp_path} is a folder; give checkpoint=" in refusal(load, ROW, weights=tmp_path)


def test_weights_go_with_a_row_only(weights: Path, trained: Path) -> None:
    for source in (trained, trained / "checkpoints/best.ckpt"):
        text = f"{source} is no row of the zoo, so weights={weights} has no use; give one of the two"
        assert refusal(load, source, weights=weights) == text


def test_a_file_of_an_unknown_row_is_refused(weights: Path, tmp_path: Path) -> None:
    assert refusal(load, weights) == (
        f"{weights} was not written by fcn_lightning, and is not named like a published file, so its row is not known; "
        "name the row too: row=<row id>, for evaluate recipe=<row id>, in Python load('<row id>', weights=...)"
    )
    torch.save({"a": torch.zeros(2)}, tmp_path / "new")
    hashed = named_by_hash(tmp_path / "new", "fcn_mine_20200604_192608")
    assert "its row is not known" in refusal(load, hashed)


def test_weights_of_another_row_are_refused(tmp_path: Path, weights: Path) -> None:
    row = "fcn_r18b-d8_512x1024_80k_cityscapes"
    assert f"{weights} does not fit the row {row}: " in refusal(load, row, weights=weights)


def test_a_row_that_cannot_be_had_names_the_place(cache: Path) -> None:
    name, text = recipes.row(ROW).file_name, refusal(load, ROW)
    for part in (f"file:///nowhere/{name} (", f"{recipes.row(ROW).checkpoint} (", f"put the file at {cache / name}", "FCN_MIRRORS"):
        assert part in text


# What a command line names


def test_a_checkpoint_is_requested(trained: Path) -> None:
    for checkpoint in (trained, trained / "checkpoints/best.ckpt"):
        assert holds(load_requested(str(checkpoint), None, None), trained / "checkpoints/best.ckpt")
    with pytest.raises(InputError, match=f"knows its own network; leave row={ROW} out"):
        load_requested(str(trained), None, ROW)


def test_weights_are_requested(published: tuple[str, Path], weights: Path, cache: Path) -> None:
    name, path = published
    shutil.copy(path, cache)
    for given, recipe in ((str(weights), name), (str(path), None), (name, None), (None, name), (name, SLIDE_ROW)):
        predictor = load_requested(None, given, recipe)
        assert holds(predictor, path)
        assert predictor.card == recipes.card(recipe or name)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ((None, None, None), "checkpoint is not set; add checkpoint=<value>, or weights=<file or id of a published row>"),
        (("a.ckpt", "w.pth", None), "checkpoint=a.ckpt and weights=w.pth are both networks; give one of the two"),
        (("a.ckpt", None, None), "a.ckpt does not exist; give checkpoint="),
        ((None, "w.pth", None), "w.pth does not exist; give checkpoint="),
        ((None, "w.pth", ROW[:-1]), f"(did you mean {ROW}?)"),
    ],
)
def test_requests_that_make_no_sense(request_: tuple[str | None, str | None, str | None], words: str) -> None:
    assert words in refusal(load_requested, *request_)


def nested(levels: int) -> object:
    """A list of a few entries that stands for 9 to the power of `levels` words."""
    value: object = "ha"
    for _ in range(levels):
        value = [value] * 9
    return value


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "target": lambda card: card | {"_target_": "os.mkdir", "_args_": ["executed"]},
    "target of the network": lambda card: card | {"model": card["model"] | {"_target_": "os.mkdir", "path": "executed"}},
    "target of the test mode": lambda card: card | {"inference": {"_target_": "os.mkdir", "path": "executed"}},
    "many words": lambda card: card | {"mean": nested(12)},
    "many words in a name": lambda card: card | {"labels": card["labels"] | {"classes": nested(12)}},
    "a long word": lambda card: card | {"dataset": "x" * 2000},
    "an object": lambda card: card | {"dataset": torch.zeros(2)},
    "no card": lambda card: "card",
    "names that are numbers": lambda card: card | {"labels": card["labels"] | {"classes": list(range(9))}},
    "a name that steers the terminal": lambda card: card | {"labels": card["labels"] | {"classes": ["\x1b[2J"] * 9}},
    "values that are words": lambda card: card | {"labels": card["labels"] | {"values": ["a"] * 9}},
    "colours of two numbers": lambda card: card | {"labels": card["labels"] | {"palette": [[1, 2]] * 9}},
    "an image size beyond reason": lambda card: card | {"base_scale": [1 << 40, 1 << 40]},
    "an image size of one number": lambda card: card | {"base_scale": [7]},
    "a depth beyond reason": lambda card: card | {"model": card["model"] | {"depth": 10**9}},
    "a window of words": lambda card: (
        card | {"inference": card["inference"] | {"mode": "slide", "crop_size": "ab", "stride": "ab"}}
    ),
    "an unknown mode": lambda card: card | {"inference": card["inference"] | {"mode": nested(2)}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_card_is_read_as_words_and_numbers_alone(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    torch.save({"state_dict": content["state_dict"], CARD: CHANGES[change](content[CARD])}, "w.ckpt")
    if change == "target":
        assert load("w.ckpt").card == load(trained).card, "an entry that nobody asks for is passed over"
    else:
        text = refusal(load, "w.ckpt")
        assert text.startswith("checkpoint w.ckpt")
        assert len(text) < 600
    assert not Path("executed").exists()
