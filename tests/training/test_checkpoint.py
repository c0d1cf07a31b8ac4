"""Checkpoints load without executing anything, carry what prediction needs, and are refused in words when broken."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import fcn_lightning
from fcn_lightning import InputError
from fcn_lightning.data.shapes import LABELS, draw_scene
from fcn_lightning.training.checkpoint import CARD
from fcn_lightning.zoo.load import load
from tests.processes import assert_equal


@pytest.fixture
def best(trained: Path) -> Path:
    return trained / "checkpoints/best.ckpt"


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def rewrite(best: Path, target: Path, change: Any) -> Path:
    content = read(best)
    change(content)
    torch.save(content, target)
    return target


def test_safetensors_carry_the_same_network_and_its_figures(best: Path) -> None:
    path = best.with_suffix(".safetensors")
    one, other = load(best), load(path)
    assert one.card == other.card
    assert_equal(one.model.state_dict(), other.model.state_dict())
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["fcn_lightning"])
    status = json.loads((best.parents[1] / "status.json").read_text())
    assert card["row"] is None
    assert {key: card["figures"][key] for key in ("step", "mIoU")} == status["best"]
    assert card["labels"]["classes"] == list(LABELS.classes)
    assert (card["mean"], card["inference"]["mode"]) == ([123.675, 116.28, 103.53], "whole")


@pytest.mark.parametrize("broken", [b"", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0not json"])
def test_a_broken_safetensors_file_is_refused(best: Path, tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "best.safetensors"
    path.write_bytes(broken)
    with pytest.raises(InputError, match=r"best\.safetensors is damaged or no safetensors file"):
        load(path)
    path.write_bytes(best.with_suffix(".safetensors").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"best\.safetensors is damaged or no safetensors file"):
        load(path)


def test_carries_what_prediction_needs(best: Path) -> None:
    card = read(best)[CARD]
    assert card["model"] == {
        "depth": 18, "deep_stem": False, "output_stride": 8, "head_dilation": 1, "dropout": 0.1, "align_corners": False
    }  # fmt: skip
    assert card["labels"]["classes"] == list(LABELS.classes)
    assert card["labels"]["palette"][0] == list(LABELS.palette[0])
    assert card["mean"] == [123.675, 116.28, 103.53]
    assert card["inference"] == {
        "mode": "whole", "crop_size": None, "stride": None, "tta": "none", "precision": "fp32", "pad_windows": False
    }  # fmt: skip


def test_loads_with_weights_only_and_predicts(best: Path) -> None:
    assert isinstance(torch.load(best, weights_only=True), dict)
    predictor = fcn_lightning.load(best)
    image, _ = draw_scene(np.random.default_rng(0), 80)
    label_map = predictor.predict(image)
    assert label_map.shape == (80, 80)
    assert label_map.dtype == np.uint8
    assert label_map.max() < 9


def test_the_networks_keys_are_the_published_ones(best: Path) -> None:
    keys = set(load(best).model.state_dict())
    assert {"backbone.conv1.weight", "decode_head.conv_cat.bn.weight", "auxiliary_head.conv_seg.bias"} <= keys
    assert len(keys) == 148


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "x": Malicious()}, "a.ckpt")
    Path("b.ckpt").write_bytes(pickle.dumps(Malicious()))
    for name in ("a.ckpt", "b.ckpt"):
        with pytest.raises(InputError, match="corrupt or not a checkpoint"):
            load(name)
    assert not Path("executed").exists()


@pytest.mark.parametrize("keep", [0, 10, 5000, -1000])
def test_a_cut_off_file_is_refused(best: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.ckpt"
    path.write_bytes(best.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"cut\.ckpt is corrupt"):
        load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.ckpt does not exist; give checkpoint="):
        load(tmp_path / "no.ckpt")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop(CARD),
        lambda content: content[CARD]["model"].update(depth=34),
        lambda content: content[CARD]["model"].update(surprise=1),
        lambda content: content[CARD].update(mean=[0, 0, 0]),
        lambda content: content["state_dict"].pop("model.decode_head.conv_seg.weight"),
        lambda content: content["state_dict"].update({"model.decode_head.conv_seg.bias": torch.zeros(3)}),
    ],
)
def test_a_file_of_something_else_is_refused(best: Path, tmp_path: Path, change: Any) -> None:
    path = rewrite(best, tmp_path / "other.ckpt", change)
    with pytest.raises(InputError, match="was not written by fcn_lightning"):
        load(path)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="holds a list"):
        load(path)
