"""Tables, panels and figures say what they should."""

import io
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger, WandbLogger

from fcn_lightning.data import datamodule
from fcn_lightning.evaluation.scores import scores
from fcn_lightning.reporting import console, figures, loggers
from fcn_lightning.reporting.console import DataAdvice, Progress, score_table
from fcn_lightning.reporting.data_sheets import keep
from fcn_lightning.reporting.panels import CORRECT, ERROR, GAP, colorize, overlay, panel
from fcn_lightning.reporting.start_block import start_block

CLASSES = ("road", "car", "never")
CONFMAT = torch.tensor([[6, 2, 0], [0, 2, 0], [0, 0, 0]])
PALETTE = ((10, 20, 30), (40, 50, 60), (70, 80, 90))


def test_table() -> None:
    lines = score_table(scores(CONFMAT), CLASSES).splitlines()
    assert lines == [
        "class     IoU     Acc",
        "road    75.00   75.00",
        "car     50.00  100.00",
        "never       -       -",
        "mean    62.50   87.50   all pixels 80.00",
    ]


def test_start_block_is_aligned() -> None:
    assert start_block([("data", "x"), ("run folder", "y")]) == "data        x\nrun folder  y"


def test_panel_shows_image_truth_prediction_and_errors() -> None:
    mask = np.zeros((200, 50), np.uint8)
    mask[:, 25:] = 1
    mask[:8] = 255
    pred = np.zeros((200, 50), np.uint8)
    image = np.full((200, 50, 3), 77, np.uint8)
    picture = panel(image, mask, pred, PALETTE)
    assert picture.shape == (200, 4 * 50 + 3 * GAP, 3)
    parts = [picture[:, start : start + 50] for start in range(0, picture.shape[1], 50 + GAP)]
    assert (parts[0] == 77).all()
    assert tuple(parts[1][100, 40]) == PALETTE[1]
    assert tuple(parts[2][100, 40]) == PALETTE[0]
    assert tuple(parts[3][100, 10]) == CORRECT
    assert tuple(parts[3][100, 40]) == ERROR
    hatched = parts[3][:8].reshape(-1, 3)
    assert len(np.unique(hatched, axis=0)) == 2
    assert not (hatched == ERROR).all(1).any()


def test_small_panels_are_enlarged() -> None:
    side = np.zeros((64, 64), np.uint8)
    assert panel(np.zeros((64, 64, 3), np.uint8), side, side, PALETTE).shape == (192, 3 * (4 * 64 + 3 * GAP), 3)


def test_colorize_and_overlay() -> None:
    labels = np.array([[0, 2, 255]], np.uint8)
    assert colorize(labels, PALETTE).tolist() == [[[10, 20, 30], [70, 80, 90], [0, 0, 0]]]
    assert overlay(np.full((1, 3, 3), 100, np.uint8), labels, PALETTE)[0, 1].tolist() == [85, 90, 95]


def test_figures_are_written(tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    log.write_text("step,lr,train/loss,train/acc_seg,val/mIoU\n50,0.01,2.5,0.3,\n100,0.005,1.5,0.5,\n100,,,,0.25\n")
    figures.curves(log, tmp_path / "plots/curves.png")
    figures.class_bars(scores(CONFMAT), CLASSES, tmp_path / "plots/classes.png")
    figures.confusion(CONFMAT, CLASSES, tmp_path / "plots/confusion.png")
    for name in ("curves", "classes", "confusion"):
        with Image.open(tmp_path / f"plots/{name}.png") as picture:
            assert min(picture.size) > 100
            assert len(set(picture.convert("L").tobytes())) > 10, "not an empty sheet"


ENTRY = {"loss": 1.25, "lr": 0.01, "time": 2.0, "data_share": 0.034}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def state(step: int, max_steps: int) -> Trainer:
    return cast(Trainer, SimpleNamespace(global_step=step, max_steps=max_steps))


def test_progress_is_one_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress, module = Progress(100), cast(LightningModule, None)
    progress.on_train_start(state(0, 100), module)
    for step in (50, 100):
        progress.on_train_batch_end(state(step, 100), module)
        progress(step, ENTRY)
    progress.on_train_end(state(100, 100), module)
    last = terminal.getvalue().split("\r")[-1]
    assert "100/100" in last
    assert "loss 1.250  lr 0.01000  2.00 s/step  data 3 %" in last


def test_progress_is_lines_elsewhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress = Progress(4000)
    progress.on_train_start(state(0, 4000), cast(LightningModule, None))
    with caplog.at_level("INFO"):
        progress(50, ENTRY)
    assert caplog.messages == ["step 50/4000  loss 1.250  lr 0.01000  2.00 s/step  data 3 %  ETA 2:11:40"]


def test_waiting_for_data_is_said_once_and_not_of_the_start(caplog: pytest.LogCaptureFixture) -> None:
    advice = DataAdvice("do this")
    with caplog.at_level("INFO"):
        for step, share in ((50, 0.9), (100, 0.1), (150, 0.344), (200, 0.5)):
            advice(step, {"data_share": share})
    assert caplog.messages == ["34 % of the time is spent waiting for data: do this"]


CACHE = "dataset.cache=ram or disk, so that each file is decoded once"


@pytest.mark.parametrize(
    ("cores", "workers", "cache", "root", "advice"),
    [
        (2, 1, "none", "mine", f"set dataset.workers=2 (now 1), or {CACHE}"),
        (16, 4, "none", "mine", f"set dataset.workers=8 (now 4), or {CACHE}"),
        (16, 12, "disk", "mine", "set dataset.workers=16 (now 12)"),
        (16, 0, "ram", "mine", "set dataset.workers=8 (now 0)"),
        (2, 2, "none", "mine", f"set {CACHE}"),
        (2, 1, "none", "", "set dataset.workers=2 (now 1)"),
        (2, 2, "ram", "mine", "all 2 cores load data already; take a machine with more of them, or store the images smaller"),
    ],
)
def test_the_advice_names_what_is_not_done_yet(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, cache: str, root: str, advice: str
) -> None:
    monkeypatch.setattr(console, "available_cores", lambda: cores)
    monkeypatch.setattr(datamodule, "available_cores", lambda: cores)
    module = SimpleNamespace(workers=workers, cache=cache, root=root)
    assert console.data_advice(cast(datamodule.SegmentationDataModule, module)) == advice


def test_the_line_about_the_loader() -> None:
    assert console.loader_line(1, 37.6) == "1 process, about 38 crops/s"
    assert console.loader_line(4, 37.6) == "4 processes, about 150 crops/s"
    assert console.loader_line(2, 0.32) == "2 processes, about 0.6 crops/s"
    assert console.loader_line(0, 37.6) == "no process of its own, about 38 crops/s between the steps"


class Tracker(WandbLogger):
    def __init__(self) -> None:
        self.images: list[tuple[str, int, int | None]] = []

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        self.images.append((key, len(images), step))


def test_the_first_samples_are_kept_and_shown_once(tmp_path: Path) -> None:
    tracker, sheet = Tracker(), np.full((20, 30, 3), 9, np.uint8)
    keep(sheet, tmp_path, [CSVLogger(tmp_path), tracker])
    with Image.open(tmp_path / "samples/train.png") as written:
        assert (np.asarray(written) == sheet).all()
    assert tracker.images == [("train/samples", 1, 0)]


def test_wandb_is_online_only_with_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not loggers._has_key()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    assert loggers._has_key()
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert loggers._has_key()


def test_a_class_that_never_occurs_has_no_percent() -> None:
    assert math.isnan(scores(CONFMAT).iou[2])
