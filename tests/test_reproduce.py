"""A row's number is certified when weights, data and number are the published ones, and for nothing less."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fcn_lightning import reproduce
from fcn_lightning.data.cityscapes import CityscapesDataModule
from fcn_lightning.evaluation.predictor import Card
from fcn_lightning.zoo import recipes
from tests.conftest import Result, Run
from tests.data.layouts import draw
from tests.zoo import published

NAME = "fcn_r18-d8_512x1024_80k_cityscapes"
MEASURED: dict[str, float] = {}
Publish = Callable[..., Path]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cityscapes with two validation images, as if these were all."""
    monkeypatch.setattr(CityscapesDataModule, "published_counts", {"train": 2, "val": 2})
    return draw("cityscapes", tmp_path / "data", val=2)


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publish]:
    """Publish a row anew, with the figures that a test wants."""

    def call(name: str = NAME, **figures: object) -> Path:
        return published.publish(tmp_path / "published", monkeypatch, name, **figures)

    yield call
    published.forget_rows()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test images of the fake data's size; the modes stay the row's."""

    def card(name: str) -> Card:
        described = recipes.card(name)
        how = described.inference
        if how.mode == "slide":
            how = replace(how, crop_size=(32, 32), stride=(24, 24))
        return replace(described, base_scale=(56, 40), inference=how)

    monkeypatch.setattr(reproduce, "card", card)


def attempt(run: Run, data: Path, weights: Path, *more: str, name: str = NAME) -> tuple[Result, dict[str, Any]]:
    folder = f"run{len(list(Path.cwd().iterdir()))}"
    arguments = (f"recipe={name}", f"weights={weights}", f"dataset.root={data}", "dataset.workers=0", "trainer.accelerator=cpu")
    result = run("reproduce", *arguments, f"hydra.run.dir={folder}", *more)
    file = Path(folder, "certificate.json")
    return result, json.loads(file.read_text()) if file.is_file() else {}


def measured(run: Run, data: Path, weights: Path) -> float:
    """Return what these weights reach: weights and data are the same in every test, so they are evaluated once."""
    if weights.name not in MEASURED:
        _, certificate = attempt(run, data, weights)
        MEASURED[weights.name] = round(certificate["measured"]["mIoU"], 2)
    return MEASURED[weights.name]


def test_a_match_is_certified(run: Run, data: Path, publish: Publish) -> None:
    figure = measured(run, data, publish())
    weights = publish(miou=figure)
    result, certificate = attempt(run, data, weights)
    assert result.status == 0, result.err
    assert certificate["certified"] is True
    assert certificate["objections"] == []
    assert abs(certificate["difference"]) <= 0.005
    assert certificate["tolerance"] == 0.05
    assert certificate["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert certificate["weights"]["verified"] is True
    pairs = zip(sorted(data.glob("leftImg8bit/val/*/*.png")), sorted(data.glob("gtFine/val/*/*_labelIds.png")), strict=True)
    listed = "\n".join(f"{image.relative_to(data)} {mask.relative_to(data)}" for image, mask in pairs)
    assert certificate["data"]["file_list_sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    assert (certificate["data"]["images"], certificate["data"]["expected_images"]) == (2, 2)
    assert certificate["settings"]["mode"] == "whole"
    assert certificate["settings"]["precision"] == "fp32"
    assert certificate["settings"]["tf32"] is False
    assert certificate["settings"]["ms_flip_windows"] is None
    assert len(certificate["IoU"]) == 19
    assert {"torch", "python", "fcn_lightning"} <= set(certificate["versions"])
    assert "reproduced" in result.out.splitlines()[-2]
    assert f"{figure:.2f}" in next(line for line in result.out.splitlines() if line.startswith("mIoU "))


def test_the_file_list_is_hashed_without_the_place(run: Run, data: Path, publish: Publish, tmp_path: Path) -> None:
    weights = publish()
    _, here = attempt(run, data, weights)
    moved = data.rename(tmp_path / "elsewhere")
    _, there = attempt(run, moved, weights)
    assert here["data"]["file_list_sha256"] == there["data"]["file_list_sha256"]
    next(moved.glob("leftImg8bit/val/*/*.png")).unlink()
    _, fewer = attempt(run, moved, weights)
    assert fewer["data"]["file_list_sha256"] != here["data"]["file_list_sha256"]


@pytest.mark.parametrize(("off", "status"), [(0.04, 0), (-0.04, 0), (0.07, 1), (-0.07, 1)])
def test_the_tolerance(run: Run, data: Path, publish: Publish, off: float, status: int) -> None:
    figure = measured(run, data, publish())
    result, certificate = attempt(run, data, publish(miou=round(figure + off, 2)))
    assert result.status == status
    assert certificate["certified"] is (status == 0)
    if status:
        assert f"published {figure + off:.2f}, tolerance 0.05" in result.err


def test_weights_without_a_hash_are_never_certified(run: Run, data: Path, publish: Publish, tmp_path: Path) -> None:
    figure = measured(run, data, publish())
    plain = publish(miou=figure).rename(tmp_path / "weights.pth")
    result, certificate = attempt(run, data, plain)
    assert result.status == 1
    assert "unverified: the file's name carries no hash" in result.err
    assert certificate["certified"] is False
    assert certificate["measured"]["mIoU"] == pytest.approx(figure, abs=0.005)


def test_another_file_of_the_right_form_is_never_certified(run: Run, data: Path, publish: Publish) -> None:
    figure = measured(run, data, publish())
    weights = publish(miou=figure, sha256_prefix="00000000")
    result, certificate = attempt(run, data, weights)
    assert result.status == 1
    assert "not the published file of this row" in result.err
    assert certificate["weights"]["verified"] is False


def test_a_data_set_that_is_only_partly_there(run: Run, data: Path, publish: Publish) -> None:
    weights = publish()
    next(data.glob("gtFine/val/*/*_labelIds.png")).unlink()
    result, certificate = attempt(run, data, weights)
    assert result.status == 1
    assert "1 images were evaluated, the published split has 2" in result.err
    assert "1 of 2 images" in result.out
    assert certificate["data"]["left_out"] == 1
    assert certificate["certified"] is False


def test_ms_flip_names_the_windows_of_its_release(run: Run, data: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "fcn_r18-d8_769x769_80k_cityscapes"
    weights = publish(name)
    _, certificate = attempt(run, data, weights, "tta=ms_flip", name=name)
    assert certificate["published"]["mIoU"] == 73.16
    assert certificate["settings"]["ms_flip_windows"] == "as small as the image, as from release 0.7 on"
    # The rows of June 2020 have larger networks; tests/zoo/test_recipes.py holds their recipes to this setting.
    small = reproduce.card
    monkeypatch.setattr(
        reproduce, "card", lambda name: replace(small(name), inference=replace(small(name).inference, pad_windows=True))
    )
    result, padded = attempt(run, data, weights, "tta=ms_flip", name=name)
    assert padded["settings"]["ms_flip_windows"] == "filled with zeros, as in release 0.5 (June 2020)"
    assert "windows filled with zeros" in result.out
    assert padded["measured"] != certificate["measured"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "recipe is not set"),
        ((f"recipe={NAME}", "inference.mode=slide"), "inference.mode is decided by the row"),
        ((f"recipe={NAME}", "dataset.base_scale=[512,256]"), "dataset.base_scale is decided by the row"),
        ((f"recipe={NAME}", "dataset=camvid"), "dataset is decided by the row"),
        (("recipe=fcn_r101-d8_fp16_512x1024_80k_cityscapes", "tta=ms_flip"), "published without an mIoU for tta=ms_flip"),
        ((f"recipe={NAME}", "weights=no.pth"), "no.pth does not exist"),
        (("recipe=fcn_r18-d8_4xb2-80k_cityscapes-512x1024",), f"type recipe={NAME}"),
        ((f"recipe={NAME}",), "could not be fetched"),
    ],
)
def test_bad_requests(run: Run, arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("FCN_MIRRORS", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    result = run("reproduce", *arguments)
    assert result.status == 1
    assert words in result.err
    assert "Traceback" not in result.err
    assert not list(Path.cwd().iterdir()), "no run folder stays"


def refuse(*arguments: object, **more: object) -> None:
    raise OSError("no network")


def test_broken_or_foreign_weights_are_refused(run: Run, data: Path, publish: Publish) -> None:
    weights = publish()
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    result, _ = attempt(run, data, weights)
    assert (result.status, "is not the published file that its name says" in result.err) == (1, True)
    weights.write_bytes(content)
    other = "fcn_r50-d8_512x1024_40k_cityscapes"
    result, _ = attempt(run, data, weights, name=other)
    assert (result.status, f"does not fit the row {other}" in result.err) == (1, True)
    assert not list(Path.cwd().glob("run*/certificate.json"))
