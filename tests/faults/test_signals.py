"""Ctrl-C and SIGTERM, to a command of two processes with their loaders: it stops after the step, saved, and nobody stays behind."""

import os
import signal
from pathlib import Path

import pytest

from tests.faults.outcomes import assert_ends, assert_same_in_the_end, saved, status, words
from tests.processes import Command

pytestmark = pytest.mark.faults

GO_ON = "python -m fcn_lightning.train resume=run"


def test_in_a_step_in_a_validation_and_twice(tmp_path: Path, data: Path, reference_of_two: Path) -> None:
    in_step = Command("train", *words(data, "trainer.devices=2", "dataset.workers=1", "saving.interval=0"), cwd=tmp_path)
    in_step.prints("step 2/")
    os.killpg(in_step.process.pid, signal.SIGINT)  # as a terminal does, to all processes at once
    assert_ends(in_step, 130)
    assert GO_ON in in_step.text
    assert status(tmp_path)["state"] == "interrupted"
    (checkpoint,) = saved(tmp_path)
    assert checkpoint.name == f"step_{status(tmp_path)['step']:06d}.ckpt"

    in_validation = Command("train", "resume=run", cwd=tmp_path)
    in_validation.until(lambda: list((tmp_path / "run/samples").glob("0*.png")))
    in_validation.send(signal.SIGTERM)
    assert_ends(in_validation, 143)
    assert GO_ON in in_validation.text
    assert "validation at step" not in in_validation.text
    assert status(tmp_path)["step"] == 7
    assert saved(tmp_path)[-1].name == "step_000007.ckpt"

    twice = Command("train", "resume=run", cwd=tmp_path)
    twice.prints("s/step")
    twice.send(signal.SIGTERM)
    twice.prints("once more to stop at once")
    twice.send(signal.SIGTERM)
    assert twice.wait(20) in (-signal.SIGTERM, 143), twice.text  # the latter if the step was over before
    assert_ends(twice, twice.process.returncode)
    assert_same_in_the_end(tmp_path, reference_of_two)


def test_while_the_ranks_are_started(tmp_path: Path, data: Path) -> None:
    command = Command("train", *words(data, "trainer.devices=2"), cwd=tmp_path)
    command.prints("run folder")
    os.killpg(command.process.pid, signal.SIGINT)
    assert_ends(command, 130)
    assert command.text.endswith("interrupted\n")
    assert status(tmp_path)["state"] == "interrupted"
    assert not saved(tmp_path)


def test_before_there_is_a_run(tmp_path: Path, data: Path) -> None:
    command = Command("train", *words(data), cwd=tmp_path)
    command.until(lambda: (tmp_path / "run/.lock").exists())
    command.send(signal.SIGTERM)
    assert_ends(command, -signal.SIGTERM)
    again = Command("train", *words(data), cwd=tmp_path)
    again.prints("run folder")  # the folder belongs to nobody yet
    again.send(signal.SIGTERM)
    assert_ends(again, again.wait())
    assert again.process.returncode in (143, -signal.SIGTERM), again.text
