"""Data that go while they are read, and numbers that are none any more: one sentence, and the checkpoints stay as they are."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fcn_lightning.training import checkpoint
from tests.faults.outcomes import assert_ends, assert_same_in_the_end, saved, status, words
from tests.hostile import truncated
from tests.processes import Command

pytestmark = pytest.mark.faults


def test_a_file_is_cut_off_in_the_middle_of_an_epoch(tmp_path: Path, data: Path, reference: Path) -> None:
    names = sorted((data / "images/train").iterdir())
    broken = names[np.random.default_rng([0, 0, 1]).permutation(40)[-1]]
    kept = Path(shutil.copy(broken, tmp_path))
    command = Command("train", *words(data), cwd=tmp_path)
    command.prints("step 1/")
    truncated(kept, broken)
    assert_ends(command, 1, f"image {broken} is truncated or not an image ({kept.stat().st_size // 2} bytes); replace or remove it")
    assert status(tmp_path)["state"] == "failed"
    assert str(broken) in status(tmp_path)["error"]
    shutil.copy(kept, broken)
    assert_same_in_the_end(tmp_path, reference)


def test_the_folder_disappears(tmp_path: Path, data: Path, reference: Path) -> None:
    command = Command("train", *words(data, "dataset.workers=2"), cwd=tmp_path)
    command.prints("step 2/")
    away = data.rename(tmp_path / "away")
    assert_ends(command, 1, f"cannot read {data}", "No such file or directory", "restore the file")
    assert status(tmp_path)["state"] == "failed"
    still_away = Command("train", "resume=run", cwd=tmp_path)
    assert_ends(still_away, 1, f"{data}, does not exist", "set dataset.root")
    shutil.copytree(away, tmp_path / "elsewhere")
    assert_same_in_the_end(tmp_path, reference, "dataset=folder", f"dataset.root={tmp_path}/elsewhere")


def test_a_loss_that_is_no_number(tmp_path: Path, data: Path) -> None:
    stop = Command("train", *words(data, "optimizer.lr=1e30"), cwd=tmp_path / "stop")
    skip = Command("train", *words(data, "optimizer.lr=1e30", "nonfinite=skip"), cwd=tmp_path / "skip")
    assert_ends(stop, 1, "step", "lower optimizer.lr", "doctor", seconds=120)
    assert_ends(skip, 1, "lower optimizer.lr", "doctor", seconds=120)
    for work in (tmp_path / "stop", tmp_path / "skip"):
        assert status(work)["state"] == "failed"
        for path in saved(work):
            tensors = checkpoint.read(path)["state_dict"].values()
            assert all(tensor.isfinite().all() for tensor in tensors if tensor.is_floating_point()), path
