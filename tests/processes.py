"""Commands in processes of their own, on a tiny data set: to be watched, stopped and killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.conftest import ROOT, write_pair

MINUTE = 60.0  # what nothing may hang longer than


def write_data(root: Path, *, train: int = 8, val: int = 7) -> Path:
    """Write a `dataset=folder` with three classes."""
    rng = np.random.default_rng(0)
    for split, number in (("train", train), ("val", val)):
        for index in range(number):
            write_pair(root, f"{split}/{index}", rng)
    (root / "classes.yaml").write_text("classes: [ground, tree, house]\nignored: [9]\n")
    return root


def settings(root: Path, *more: str) -> list[str]:
    """Return the words for a run on that data: 4 crops of 32x32 a step, fp32 on the CPU, one line per step."""
    return [
        "dataset=folder", f"dataset.root={root}", "dataset.base_scale=[56,40]", "dataset.crop_size=[32,32]",
        "dataset.global_batch_size=4", "dataset.workers=0", "model.pretrained=false", "backbone=r18b",
        "trainer=cpu", "trainer.precision=32-true", "trainer.log_interval=1", "schedule.max_steps=6", "schedule.val_interval=3",
        "schedule.min_lr=1e-6", "saving.interval=0", *more,
    ]  # fmt: skip


def environ(**more: str) -> dict[str, str]:
    """Return an environment in which each process has one thread, and a session that a test may be started from shows nothing."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "FCN_", "TORCHELASTIC_"))}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""} | more


class Command:
    """A command that runs in a session of its own.

    Args:
        verb: such as "train".
        arguments: of it.
        cwd: where.
        env: further variables.
        launcher: words before the module, instead of the Python interpreter's.
    """

    def __init__(
        self, verb: str, *arguments: str, cwd: Path, env: dict[str, str] | None = None, launcher: Sequence[str] = ()
    ) -> None:
        cwd.mkdir(parents=True, exist_ok=True)
        self.output = cwd / f"{time.monotonic_ns()}.out"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [*(launcher or (sys.executable,)), "-m", f"fcn_lightning.{verb}", *arguments],
                cwd=cwd, env=environ(**(env or {})), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def until(self, what: Callable[[], Any], seconds: float = 2 * MINUTE) -> None:
        """Wait until something holds; fail if the command ends before."""
        deadline = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text}"
            assert time.monotonic() < deadline, f"nothing within {seconds} s:\n{self.text}"
            time.sleep(0.02)

    def prints(self, words: str) -> None:
        """Wait until the command has printed some words."""
        self.until(lambda: words in self.text)

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def wait(self, seconds: float = 3 * MINUTE) -> int:
        """Return the exit status; one that hangs is killed, and fails."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"still there after {seconds} s:\n{self.text}") from None


def processes_in(folder: Path) -> list[int]:
    """Return the processes whose current folder is this one: a command, its ranks and its loaders."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                alive = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
                if alive and Path(os.readlink(entry / "cwd")) == folder.resolve():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def assert_none_left(folder: Path, seconds: float = MINUTE) -> None:
    """Fail if a process is still at work in a folder after some time."""
    deadline = time.monotonic() + seconds
    while left := processes_in(folder):
        assert time.monotonic() < deadline, f"processes {left} stayed behind"
        time.sleep(0.1)


def state(path: Path) -> dict[str, Any]:
    """Return what training depends on: parameters, optimiser, schedule, step."""
    content = torch.load(path, weights_only=True)
    return {key: content[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")}


def assert_equal(left: Any, right: Any, where: str = "") -> None:
    """Compare nested states bit for bit."""
    assert type(left) is type(right), where
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_equal(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for index, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_equal(a, b, f"{where}[{index}]")
    else:
        assert left == right, where
