"""Fixtures: golden values, small data sets in real layouts, and the commands as a user runs them, in this process."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)  # two test processes share two cores


@dataclass
class Result:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """Golden values of the reference implementation."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "tests/golden/mmseg.yaml").read_text())
    return content


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Run a command as `python -m fcn_lightning.<verb>` does, from an empty folder, with few validation images."""
    from fcn_lightning.data import shapes

    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(shapes, "VAL_IMAGES", 6)
    monkeypatch.delenv("FCN_DATA", raising=False)

    def call(verb: str, *arguments: str) -> Result:
        module = importlib.import_module(f"fcn_lightning.{verb}")
        monkeypatch.setattr(sys, "argv", [f"fcn_lightning.{verb}", *arguments])
        GlobalHydra.instance().clear()
        capsys.readouterr()
        status = 0
        try:
            module.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    yield call
    GlobalHydra.instance().clear()
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler) in (logging.FileHandler, logging.StreamHandler):  # Hydra's, bound to this test's folder and output
            root.removeHandler(handler)


SHORT = ("schedule.max_steps=3", "schedule.val_interval=2", "dataset.workers=0", "dataset.global_batch_size=2", "trainer=cpu")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of three steps on `shapes`, made through the command."""
    from fcn_lightning import train
    from fcn_lightning.data import shapes

    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "VAL_IMAGES", 6)
        patch.setattr(sys, "argv", ["train", *SHORT, f"hydra.run.dir={folder}"])
        GlobalHydra.instance().clear()
        train.main()
    return folder


@pytest.fixture
def folder_data(tmp_path: Path) -> Path:
    """A `dataset=folder` of six training and three validation images with three classes."""
    root = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for split, number in (("train", 6), ("val", 3)):
        for index in range(number):
            write_pair(root, f"{split}/{index}", rng)
    (root / "classes.yaml").write_text("classes: [ground, tree, house]\nignored: [9]\n")
    return root


def write_pair(root: Path, name: str, rng: np.random.Generator, size: tuple[int, int] = (40, 56)) -> None:
    """Write an image and its mask of quadrants in classes 0 to 2 with an ignored border."""
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 2 :] = 1
    mask[:, size[1] // 2 :] += 1
    mask[0] = 9
    image = (mask[..., None] * 60 + rng.integers(0, 60, (*size, 3))).astype(np.uint8)
    for kind, pixels, suffix in (("images", image, ".jpg"), ("masks", mask, ".png")):
        path = (root / kind / name).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
