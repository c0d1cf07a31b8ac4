"""What every fault has in common: how a command ends, and that going on afterwards loses nothing."""

import csv
import json
import os
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.processes import MINUTE, Command, assert_equal, assert_none_left, processes_in, settings, state

INJECTED = Path(__file__).parent / "injected"


def words(data: Path, *more: str) -> list[str]:
    """Return the words of all runs here: 16 steps, validations in between and after the last one, a checkpoint at each step."""
    return settings(data, "schedule.max_steps=16", "schedule.val_interval=7", "saving.interval=1", "hydra.run.dir=run", *more)


def dying(event: str, name: str, number: int = 1) -> dict[str, str]:
    """Return an environment in which a process dies before such an event with a file; see `injected/sitecustomize.py`."""
    return {"PYTHONPATH": f"{INJECTED}{os.pathsep}{ROOT}", "FAULT": f"{event} {name} {number}"}


def status(work: Path) -> dict[str, Any]:
    """Return what the status of the run says."""
    content: dict[str, Any] = json.loads((work / "run/status.json").read_text())
    return content


def saved(work: Path) -> list[Path]:
    """Return the checkpoints of the run that carry their step."""
    return sorted((work / "run/checkpoints").glob("step_*.ckpt"))


def assert_ends(command: Command, code: int, *sentence: str, seconds: float = MINUTE) -> None:
    """Fail if a command does not end in time and with this exit status, in one sentence with these words, and leaves nobody."""
    assert command.wait(seconds) == code, command.text
    assert_none_left(command.output.parent, MINUTE)
    if sentence:
        said = [line for line in command.text.splitlines() if line.startswith("error: ")]
        assert len(said) == 1, command.text
        for part in sentence:
            assert part in said[0], said[0]
    assert "Traceback" not in command.text


def assert_same_in_the_end(work: Path, whole: Path, *more: str) -> Command:
    """Continue the run and fail if it does not end as one in one go: to the last bit, with each step once in each log.

    Returns:
        The command that continued it.
    """
    rest = Command("train", "resume=run", "saving.interval=0", *more, cwd=work)
    assert_ends(rest, 0, seconds=3 * MINUTE)
    assert status(work)["state"] == "finished"
    for name in ("last.ckpt", "best.ckpt"):
        assert_equal(*(state(run / "checkpoints" / name) for run in (work / "run", whole)))
    assert rows(work / "run") == rows(whole), "metrics.csv: each entry once, with the same numbers"
    assert iterations(work / "run") == iterations(whole), "log.jsonl: each entry once"
    assert [path.name for path in (work / "run").rglob("*.part")] == []
    return rest


def rows(run: Path) -> list[tuple[int, str, str]]:
    """Return step, loss and mIoU of each entry of metrics.csv."""
    with (run / "metrics.csv").open(newline="") as file:
        return [(int(row["step"]), row["train/loss"], row["val/mIoU"]) for row in csv.DictReader(file)]


def iterations(run: Path) -> list[tuple[str, int]]:
    """Return kind and step of each entry of log.jsonl."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [(line["mode"], line["iter"]) for line in lines]


def rank_of(work: Path, rank: int) -> int:
    """Return the process of a further rank, not one of its loaders."""
    ranks = [pid for pid in processes_in(work) if f"FCN_RANK={rank}".encode() in _environ(pid).split(b"\0")]
    (leader,) = (pid for pid in ranks if os.getsid(pid) == pid)
    return leader


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended
        return b""
