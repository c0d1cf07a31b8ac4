"""kill -9: a run that goes on afterwards ends as if nothing had happened, whatever the process was doing."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from fcn_lightning.training import checkpoint
from tests.faults.injected.sitecustomize import kill_at
from tests.faults.outcomes import assert_ends, assert_same_in_the_end, children_of, dying, saved, words
from tests.processes import Command

SEED = 7
KILLS = 10


@pytest.mark.faults
def test_at_ten_random_moments(tmp_path: Path, data: Path, reference: Path) -> None:
    moments = random.Random(SEED)
    done = []
    for number in range(KILLS):
        # While the run is starting, or in a step, a save or a validation; two steps later at most, so that none ends before.
        event, longest, steps = ("run folder", 2.0, 2) if number % 2 else ("s/step", 1.5, 3)
        command = Command("train", *(["resume=run"] if number else words(data)), cwd=tmp_path)
        command.prints(event)
        delay = moments.uniform(0, longest)
        deadline = time.monotonic() + delay
        while time.monotonic() < deadline and command.text.count("s/step") < steps:
            time.sleep(0.005)
        command.send(signal.SIGKILL)
        done.append(f"{delay:.3f} s after {event!r}, when there were {[path.name for path in saved(tmp_path)]}")
        assert command.wait() == -signal.SIGKILL, f"seed {SEED}, kills: {done}\n{command.text}"
    try:
        assert_same_in_the_end(tmp_path, reference)
    except AssertionError as error:
        raise AssertionError(f"seed {SEED}, kills: {done}\n{error}") from error


# The moment -> event, file, number; and how many steps later than before the first kill the last checkpoint then is.
WRITES = {
    "before the first byte": (("open", ".step_*.part", 1), 0),
    "in the middle of the bytes": (("write", ".step_*.part", 99), 0),
    "before they are on the disk": (("fsync", ".step_*.part", 1), 0),
    "before the file has its name": (("os.rename", ".step_*.part", 1), 0),
    "before last.ckpt is another name of it": (("os.link", "step_*.ckpt", 1), 0),
    "between the two": (("os.rename", ".last.ckpt.part", 1), 0),
    "before an old one is removed": (("os.remove", "step_*.ckpt", 1), 1),
}


@pytest.mark.faults
def test_in_the_middle_of_a_checkpoint_write(tmp_path: Path, data: Path, reference: Path) -> None:
    begun = Command("train", *words(data), cwd=tmp_path)
    begun.prints("step 3/")
    begun.send(signal.SIGKILL)
    begun.wait()
    last = tmp_path / "run/checkpoints/last.ckpt"
    done = int(checkpoint.read(last)["global_step"])
    for moment, (fault, step) in WRITES.items():
        command = Command("train", "resume=run", cwd=tmp_path, env=dying(*fault))
        assert command.wait() == -signal.SIGKILL, f"{moment}:\n{command.text}"
        assert "damaged" not in command.text
        assert checkpoint.read(last)["global_step"] == done + step, moment
    assert_same_in_the_end(tmp_path, reference)


LOGS = {
    "goes on in the file": ("os.rename", ".metrics.csv.part", 1),
    "adds a line": ("open", "metrics.csv", 4),
    "gets more columns": ("os.rename", ".metrics.csv.part", 2),
    "takes lines of log.jsonl back": ("os.rename", ".log.jsonl.part", 1),
    "adds a line to log.jsonl": ("open", "log.jsonl", 2),
}


@pytest.mark.faults
def test_while_logs_are_written(tmp_path: Path, data: Path, reference: Path) -> None:
    begun = Command("train", *words(data), cwd=tmp_path)
    begun.prints("step 4/")
    begun.send(signal.SIGKILL)
    begun.wait()
    for moment, fault in LOGS.items():
        command = Command("train", "resume=run", cwd=tmp_path, env=dying(*fault))
        assert command.wait() == -signal.SIGKILL, f"{moment}:\n{command.text}"
    assert_same_in_the_end(tmp_path, reference)


@pytest.mark.faults
def test_while_the_folder_is_made(tmp_path: Path, data: Path, reference: Path) -> None:
    for fault in (("open", "overrides.txt"), ("os.link", ".config.yaml.*"), ("open", "environment.json")):
        command = Command("train", *words(data), cwd=tmp_path, env=dying(*fault))
        assert command.wait() == -signal.SIGKILL, command.text
    assert_same_in_the_end(tmp_path, reference)
    assert {"overrides.txt", "environment.json", "data.json"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_each_moment_of_a_checkpoint_write(tmp_path: Path) -> None:
    """A process is killed before each single operation of a write, until it comes through."""
    folder = tmp_path / "checkpoints"
    moments = 0
    while _write_until(folder, moments + 1):
        moments += 1
        found = checkpoint.newest(folder)
        assert found is not None
        assert found[1]["global_step"] in (1, 2)
        assert checkpoint.read(folder / "last.ckpt")["global_step"] in (1, 2)
        assert not list(folder.glob("*.damaged")), "no name ever holds half a file"
    assert moments > 8, "open, write, fsync, rename, link, rename"
    assert checkpoint.read(folder / "last.ckpt")["global_step"] == 2
    assert not list(folder.glob(".*"))


def _write_until(folder: Path, moment: int) -> bool:
    """Write checkpoints of the steps 1 and 2, the latter in a process that dies at a moment; tell whether it did."""
    for path in folder.glob("*"):
        path.unlink()
    _save(folder, 1)
    child = os.fork()
    if child == 0:
        kill_at("*", "*.ckpt*", moment)
        _save(folder, 2)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _save(folder: Path, step: int) -> None:
    content = {"global_step": step, "state_dict": {"a": torch.full((100,), step)}, "optimizer_states": [], checkpoint.RUN: {}}
    path = folder / f"step_{step:06d}.ckpt"
    checkpoint.write(content, path)
    checkpoint.link(path, folder / "last.ckpt")


@pytest.mark.faults
def test_a_loader(tmp_path: Path, data: Path, reference: Path) -> None:
    command = Command("train", *words(data, "dataset.workers=2"), cwd=tmp_path)
    command.prints("step 3/")
    os.kill(max(children_of(command.process.pid)), signal.SIGKILL)
    assert_ends(command, 1, "a loader process", "dataset.workers=1")
    assert_same_in_the_end(tmp_path, reference)
