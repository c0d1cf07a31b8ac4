"""How the jobs of a sweep stand: `sweep.json` in its folder, made from what each job writes about itself.

Jobs may run at once, in several processes and on several machines. Each writes one file of its own; `sweep.json` is made from
all of them, under a lock, so that the last one to write it knows of all that ended before.
"""

import json
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fcn_lightning import InputError
from fcn_lightning.data import locks
from fcn_lightning.reporting.run_state import FAILED, FINISHED, INTERRUPTED, LOCK, RUNNING, is_free, read_status

SWEEP, JOBS = "sweep.json", ".jobs"
WAITING, LOST = "waiting", "lost"  # not begun; begun, and its process is gone without a word
SETTLED = 60.0  # seconds after which a running job is expected to hold the lock of its folder


def now() -> str:
    """Return the time in UTC, as the files write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Plan:
    """What a sweep was started as.

    Args:
        verb: command of the jobs.
        words: of the command line, without the sweep's folder.
        cwd: folder in which it was typed.
        adaptive: the results of jobs decide on the next ones.
        planned: overrides of each job; empty for an adaptive sweep, which does not know them.
        started: in UTC.
    """

    verb: str
    words: tuple[str, ...]
    cwd: str
    adaptive: bool
    planned: tuple[tuple[str, ...], ...] = ()
    started: str = field(default_factory=now)


@dataclass(frozen=True)
class Job:
    """How one job stands.

    Args:
        number: of the job, from 0.
        overrides: that make it.
        folder: of its run, relative to the sweep's.
        state: waiting, running, finished, failed, interrupted or lost.
        miou: best mIoU, in [0, 1]; None without a validation.
        error: what went wrong, in a sentence.
        host: machine.
        pid: process.
        started: in UTC.
        ended: in UTC.
    """

    number: int
    overrides: tuple[str, ...]
    folder: str
    state: str = WAITING
    miou: float | None = None
    error: str | None = None
    host: str | None = None
    pid: int | None = None
    started: str | None = None
    ended: str | None = None

    def begin(self) -> "Job":
        """Return the same job, begun by this process."""
        return replace(self, state=RUNNING, host=socket.gethostname(), pid=os.getpid(), started=now())

    def end(self, state: str, error: str | None = None) -> "Job":
        """Return the same job, ended in a state."""
        return replace(self, state=state, error=error, ended=now())

    def write(self, sweep: Path) -> None:
        """Write the job's own file."""
        (sweep / JOBS).mkdir(parents=True, exist_ok=True)
        _write(sweep / JOBS / f"{self.number}.json", asdict(self))


@dataclass(frozen=True)
class Sweep:
    """A sweep as it stands.

    Args:
        folder: of the sweep.
        plan: what it was started as.
        jobs: by number.
    """

    folder: Path
    plan: Plan
    jobs: tuple[Job, ...]

    def of(self, *states: str) -> list[Job]:
        """Return the jobs in one of some states."""
        return [job for job in self.jobs if job.state in states]

    @property
    def begun(self) -> bool:
        """Tell whether any job has begun."""
        return len(self.of(WAITING)) < len(self.jobs)


def write_plan(folder: Path, plan: Plan) -> None:
    """Begin a sweep, or go on with it: write `sweep.json` with the jobs as they stand.

    Args:
        folder: of the sweep; made if it is not there.
        plan: of the sweep.
    """
    (folder / JOBS).mkdir(parents=True, exist_ok=True)
    update(folder, plan)


def update(folder: Path, plan: Plan | None = None) -> None:
    """Write `sweep.json` anew from the files of the jobs.

    Args:
        folder: of the sweep.
        plan: of it; None for the one that is written there.
    """
    file = os.open(folder / JOBS / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if locks.AVAILABLE:
            with suppress(OSError):  # a file system without locks: the table may lag behind until the next job ends
                locks.lock(file)
        sweep = _stand(folder, plan or read_plan(folder))
        _write(folder / SWEEP, {**asdict(sweep.plan), "jobs": list(map(_as_json, sweep.jobs))})
    finally:
        os.close(file)


def read_sweep(folder: Path) -> Sweep:
    """Read how a sweep stands at this moment.

    Args:
        folder: of the sweep.

    Raises:
        InputError: it is none.
    """
    return _stand(folder, read_plan(folder))


def read_plan(folder: Path) -> Plan:
    """Read what a sweep was started as.

    Raises:
        InputError: the folder is none of a sweep, or its file is damaged.
    """
    path = folder / SWEEP
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        planned = tuple(tuple(map(str, overrides)) for overrides in content["planned"])
        words, started = tuple(map(str, content["words"])), str(content["started"])
        return Plan(str(content["verb"]), words, str(content["cwd"]), bool(content["adaptive"]), planned, started)
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no {SWEEP}; give the folder of a sweep, such as outputs/sweeps/<time>") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())}); start the sweep again elsewhere") from error


def same(one: Iterable[str], other: Iterable[str]) -> bool:
    """Tell whether overrides make the same job; where and how it computes, and how many jobs there are, is not compared."""
    return _significant(one) == _significant(other)


def _significant(overrides: Iterable[str]) -> set[str]:
    keys = ((override, override.split("=", 1)[0].lstrip("+~")) for override in overrides)
    return {override for override, key in keys if not is_free(key) and key.split(".")[0] != "sweep"}


def _stand(folder: Path, plan: Plan) -> Sweep:
    jobs = {number: Job(number, overrides, str(number)) for number, overrides in enumerate(plan.planned)}
    jobs |= {job.number: job for job in map(_read_job, (folder / JOBS).glob("*.json")) if job is not None}
    return Sweep(folder, plan, tuple(_look(folder, jobs[number]) for number in sorted(jobs)))


def _as_json(job: Job) -> dict[str, Any]:
    return {"mIoU" if key == "miou" else key: value for key, value in asdict(job).items()}


def _read_job(path: Path) -> Job | None:
    """Read a job's own file; None where it is damaged, which its next state mends."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Job(**{**content, "overrides": tuple(content["overrides"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _look(folder: Path, job: Job) -> Job:
    """Add what the run's own folder says: the best mIoU, and the end of a job that could not say so itself."""
    status = read_status(folder / job.folder)
    best = status.get("best") or {}
    job = replace(job, miou=best.get("mIoU"))
    if job.state != RUNNING or _is_alive(folder / job.folder, job):
        return job
    ended = str(status.get("ended") or "")
    if status.get("state") in (FINISHED, FAILED, INTERRUPTED) and ended >= str(job.started):
        return replace(job, state=str(status["state"]), error=status.get("error"), ended=ended)
    return replace(job, state=LOST, error="its process is gone: killed, or out of memory")


def _is_alive(run: Path, job: Job) -> bool:
    """Tell whether a job that says that it runs does so: by its process, and by the lock of its folder."""
    if job.host == socket.gethostname() and job.pid and not _exists(job.pid):
        return False
    age = datetime.now(UTC) - datetime.fromisoformat(job.started or now())
    if age.total_seconds() < SETTLED or not locks.AVAILABLE:
        return True  # a look at the lock could be in the way of the job's own
    try:
        file = os.open(run / LOCK, os.O_RDWR)
    except OSError:
        return True  # no lock to look at
    try:
        return not locks.try_lock(file)
    finally:
        os.close(file)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a file that a reader sees whole: the old or the new one."""
    part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
