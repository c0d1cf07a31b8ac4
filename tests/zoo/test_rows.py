"""Every row, through the command: its recipe trains a step, validates, and labels an image in its own test mode."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fcn_lightning.evaluation.inference import slide_windows
from fcn_lightning.evaluation.predictor import Predictor
from fcn_lightning.reporting.run_plots import RunPlots
from fcn_lightning.training.keeper import CheckpointKeeper
from fcn_lightning.zoo.recipes import card, row, rows
from tests.conftest import Run
from tests.data.layouts import draw

# Small images and windows; which test mode, and everything else, is the row's.
SMALL = (
    "schedule.max_steps=1", "dataset.workers=0", "dataset.global_batch_size=2", "dataset.base_scale=[56,40]",
    "dataset.crop_size=[32,32]", "model.pretrained=false", "trainer.accelerator=cpu", "hydra.run.dir=run",
)  # fmt: skip
WINDOWS = ("inference.crop_size=[32,32]", "inference.stride=[24,24]")
CLASSES = {"cityscapes": 19, "ade20k": 150, "voc12aug": 21, "pascal_context": 60, "pascal_context_59": 59}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: draw(name, tmp_path_factory.mktemp(name)) for name in CLASSES}


@pytest.mark.parametrize("name", rows())
def test_trains_validates_and_labels(run: Run, data: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # 43 checkpoints of up to half a gigabyte and their pictures are tested with smaller networks, in tests/test_train.py.
    monkeypatch.setattr(CheckpointKeeper, "on_validation_end", lambda *args: None)
    for hook in ("on_validation_end", "on_fit_end"):
        monkeypatch.setattr(RunPlots, hook, lambda *args: None)
    published, described = row(name), card(name)
    sliding = described.inference.mode == "slide"
    result = run("train", f"recipe={name}", f"dataset.root={data[published.dataset]}", *SMALL, *(WINDOWS if sliding else ()))
    assert result.status == 0, result.err
    assert f"{CLASSES[published.dataset]} classes" in result.out
    assert f"({described.inference.mode}, fp32)" in result.out
    assert ("bf16-mixed (16-mixed needs a GPU)" in result.out) == ("fp16" in name)
    assert f"row         {name}; this run differs in" in result.out
    assert result.out.splitlines()[-1].startswith("mIoU 0.")

    how = replace(described.inference, crop_size=(32, 32), stride=(24, 24)) if sliding else described.inference
    predictor = Predictor(described.build(), replace(described, base_scale=(56, 40), inference=how))
    calls = []
    predictor.model.register_forward_pre_hook(lambda module, inputs: calls.append(inputs[0].shape[-2:]))
    label_map = predictor.predict(np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8))
    assert label_map.shape == (30, 44)
    assert label_map.max() < CLASSES[published.dataset]
    assert len(calls) == (len(slide_windows((38, 56), (32, 32), (24, 24))) if sliding else 1)
    assert {tuple(size) for size in calls} == ({(32, 32)} if sliding else {(38, 56)})


def test_all_rows_were_there() -> None:
    assert len(rows()) == 43
