"""How jobs stand: what each says, what its run folder says, and what neither can say any more."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fcn_lightning import InputError
from fcn_lightning.reporting.run_state import FAILED, FINISHED, INTERRUPTED, RUNNING, RunLock, Status
from fcn_lightning.reporting.sweep_state import LOST, WAITING, Job, Plan, read_plan, read_sweep, same, update, write_plan

PLAN = Plan("train", ("seed=0,1,2",), "/somewhere", False, (("seed=0",), ("seed=1",), ("seed=2",)))
LONG_AGO = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    write_plan(tmp_path, PLAN)
    return tmp_path


def job(number: int = 0) -> Job:
    return Job(number, (f"seed={number}",), str(number)).begin()


def status(sweep: Path, number: int, state: str, *, best: float | None = None, error: str | None = None) -> None:
    folder = sweep / str(number)
    folder.mkdir(exist_ok=True)
    Status(10, best=None if best is None else {"step": 5, "mIoU": best}).end(state, error).write(folder)


def gone() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_plan_is_read_as_written(sweep: Path) -> None:
    assert read_plan(sweep) == PLAN
    assert [(job.number, job.state, job.overrides) for job in read_sweep(sweep).jobs] == [
        (number, WAITING, (f"seed={number}",)) for number in range(3)
    ]
    assert not read_sweep(sweep).begun


def test_a_job_tells_its_state(sweep: Path) -> None:
    job(0).end(FINISHED).write(sweep)
    status(sweep, 0, FINISHED, best=0.5)
    job(1).end(FAILED, "no room").write(sweep)
    job(2).write(sweep)
    update(sweep)
    content = json.loads((sweep / "sweep.json").read_text())["jobs"]
    assert [entry["state"] for entry in content] == [FINISHED, FAILED, RUNNING]
    assert [entry["mIoU"] for entry in content] == [0.5, None, None]
    assert content[1]["error"] == "no room"
    assert content[2]["pid"] == os.getpid()


def test_a_killed_job_is_lost(sweep: Path) -> None:
    replace(job(), pid=gone()).write(sweep)
    status(sweep, 0, RUNNING)
    assert read_sweep(sweep).jobs[0].state == LOST


def test_a_job_that_said_so_in_its_run_folder_alone_was_interrupted(sweep: Path) -> None:
    replace(job(), pid=gone()).write(sweep)
    status(sweep, 0, INTERRUPTED)
    assert read_sweep(sweep).jobs[0].state == INTERRUPTED


def test_what_an_earlier_start_said_does_not_count(sweep: Path) -> None:
    replace(job(), pid=gone(), started=(datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")).write(sweep)
    status(sweep, 0, FINISHED)
    assert read_sweep(sweep).jobs[0].state == LOST


@pytest.mark.parametrize("host", [None, "another"])
def test_a_job_long_begun_holds_its_lock_or_is_lost(sweep: Path, host: str | None) -> None:
    old = replace(job(), started=LONG_AGO)
    (replace(old, host=host) if host else old).write(sweep)
    with RunLock(sweep / "0"):
        assert read_sweep(sweep).jobs[0].state == RUNNING
        (sweep / "0/config.yaml").touch()  # keeps the lock's file
    assert read_sweep(sweep).jobs[0].state == LOST


def test_many_writers_leave_a_table_of_all(tmp_path: Path) -> None:
    write_plan(tmp_path, replace(PLAN, planned=tuple((f"seed={number}",) for number in range(20))))

    def end(number: int) -> None:
        job(number).end(FINISHED).write(tmp_path)
        subprocess.run([sys.executable, "-c", UPDATE, tmp_path], check=True) if number % 7 == 0 else update(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(end, range(20)))
    states = [entry["state"] for entry in json.loads((tmp_path / "sweep.json").read_text())["jobs"]]
    assert states == [FINISHED] * 20


UPDATE = "import sys, pathlib; from fcn_lightning.reporting.sweep_state import update; update(pathlib.Path(sys.argv[1]))"


def test_jobs_are_the_same_where_only_the_place_differs() -> None:
    assert same(("seed=0", "trainer=cpu"), ("trainer.devices=2", "seed=0", "sweep.seeds=5"))
    assert not same(("seed=0",), ("seed=1",))
    assert not same(("seed=0",), ("seed=0", "optimizer.lr=1"))


@pytest.mark.parametrize("content", ["{", "[]", '{"verb": "train"}', '{"verb": 1, "words": 2, "planned": 3}'])
def test_a_damaged_table_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(InputError, match=r"sweep\.json cannot be read"):
        read_sweep(tmp_path)


def test_a_damaged_file_of_a_job_is_passed_over(sweep: Path) -> None:
    (sweep / ".jobs/1.json").write_text("{")
    assert read_sweep(sweep).jobs[1].state == WAITING
