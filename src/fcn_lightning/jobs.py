"""What a sweep does around its jobs: each notes how it stands, a failing one is shown at once, and the others go on.

Nothing here imports torch.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.reporting.run_state import FAILED, FINISHED, INTERRUPTED
from fcn_lightning.reporting.sweep_state import (
    JOBS,
    LOST,
    WAITING,
    Job,
    Plan,
    Sweep,
    read_plan,
    read_sweep,
    same,
    update,
    write_plan,
)
from fcn_lightning.reporting.sweep_stop import StopJobs, is_stopped
from fcn_lightning.reporting.sweep_table import failure, label, pair, percent, summary, write_report
from fcn_lightning.training.launch import launch

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between looks at jobs on other machines
GRID = f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}"
REMOTE = "hydra_plugins.hydra_submitit_launcher."  # its jobs write into files of their own, not to this terminal
LOCAL = "hydra_plugins.hydra_joblib_launcher."  # its jobs run in processes of this machine
OWN = ("hydra.sweep.dir=", "hydra.mode=", "resume=")  # of one start of a sweep; the next one has its own
COUNTS = ("sweep=", "sweep.")  # how many jobs there are, which no job depends on


class JobFailedError(Exception):
    """A job of an adaptive sweep failed, which its sampler must know; it has been said and noted already."""


class SweepTable(Callback):
    """Begin the table of a sweep: Hydra calls this in the command's process, before any job."""

    led: ClassVar[Path | None] = None  # folder of the sweep that this process leads

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the plan, after a look at what the folder holds already."""
        if launch().rank:
            return
        folder = Path(config.hydra.sweep.dir)
        try:
            plan = plan_of(config)
            check_folder(folder, plan, going_on=config.get("resume") == "auto")
        except InputError as error:  # Hydra turns an exception of a callback into a warning, but lets this one pass
            sys.stderr.write(f"error: {error}\n")
            sys.exit(1)
        except HydraException:
            return  # the sweeper will say what cannot be read
        write_plan(folder, plan)
        SweepTable.led = folder
        launcher = str(config.hydra.launcher._target_)
        if launcher.startswith(REMOTE):
            threading.Thread(target=_watch, args=(folder,), daemon=True).start()
        elif launcher.startswith(LOCAL):
            StopJobs(folder)


def plan_of(config: DictConfig) -> Plan:
    """Describe the sweep that is about to start.

    Args:
        config: as composed for the sweep, with Hydra's part.

    Raises:
        InputError: it has no job.
    """
    words = _lasting([*config.hydra.overrides.task, *config.hydra.overrides.hydra])
    adaptive = config.hydra.sweeper._target_ != GRID
    planned: tuple[tuple[str, ...], ...] = ()
    if not adaptive:
        params = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
        overrides = OverridesParser.create().parse_overrides([*params, *config.hydra.overrides.task])
        planned = tuple(map(_of_job, BasicSweeper.split_arguments(overrides, None)[0]))
        if not planned:
            raise InputError("the sweep has no job: a range in it is empty; give sweep.seeds=1 or more, or another range")
    return Plan(str(config.hydra.job.config_name), words, os.getcwd(), adaptive, planned)


def check_folder(folder: Path, plan: Plan, *, going_on: bool) -> None:
    """Look at what a sweep's folder holds already.

    Args:
        folder: of the sweep.
        plan: of the sweep that is about to start there.
        going_on: resume=auto was typed.

    Raises:
        InputError: another sweep; or an earlier start of this one, that cannot or was not asked to go on.
    """
    try:
        earlier = read_sweep(folder)
    except InputError:
        return
    if not earlier.begun:
        return
    if plan.adaptive or earlier.plan.adaptive:
        raise InputError(
            f"{folder} holds an adaptive sweep, which cannot go on: what its sampler had learnt is gone; "
            "leave hydra.sweep.dir out, to start it anew in a folder of its own"
        )
    if not going_on:
        raise InputError(f"{folder} holds a sweep; add resume=auto to go on with it, or choose another hydra.sweep.dir")
    for number, (was, now) in enumerate(zip_longest(earlier.plan.planned, plan.planned)):
        if was and now and not same(was, now):
            raise InputError(
                f"job {number} of {folder} was {' '.join(was)}, and now is {' '.join(now)}; "
                "choose another hydra.sweep.dir, or type what was typed before"
            )


@contextmanager
def noted(describe: Callable[[Exception], str]) -> Iterator[None]:
    """Do one job: note how it stands, and say at once how it failed.

    In a grid the failure ends here, so that later batches start, too; the table has it. A sampler is told.

    Args:
        describe: an error as a sentence.

    Raises:
        JobFailedError: in an adaptive sweep.
    """
    hydra = HydraConfig.get()
    folder, run = Path(hydra.sweep.dir), Path(hydra.runtime.output_dir)
    if is_stopped(folder):
        sys.exit(128 + signal.SIGTERM)
    if str(hydra.launcher._target_).startswith(LOCAL):
        from joblib import effective_n_jobs

        from fcn_lightning.training.gpu_share import take_share

        take_share(folder / JOBS, effective_n_jobs(hydra.launcher.n_jobs))
    plan = read_plan(folder)
    job = Job(int(hydra.job.num), _of_job(hydra.overrides.task), os.path.relpath(run, folder))
    earlier = next((other for other in read_sweep(folder).of(FINISHED) if other.number == job.number), None)
    job = job.begin()
    job.write(folder)
    update(folder)
    state, error = INTERRUPTED, None
    try:
        yield
        state = FINISHED
    except Exception as raised:
        state, error = FAILED, describe(raised)
        name = label(job, read_sweep(folder))
        sys.stderr.write(f"error: {name}: {error}\n")
        if plan.adaptive:
            raise JobFailedError(f"{name}: {error}") from None
    finally:
        done = earlier if earlier and state == FINISHED else job.end(state, error)  # one that was skipped keeps its times
        done.write(folder)
        update(folder)


@contextmanager
def leading() -> Iterator[None]:
    """Show how a sweep ended, if this command is one, however it ended.

    Raises:
        SystemExit: with status 1, where a job failed.
    """
    SweepTable.led = None
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception as error:
        sweep = _led()
        if sweep is None or not sweep.of(FAILED, LOST):
            raise
        if not isinstance(error, JobFailedError):
            sys.stderr.write(f"error: {type(error).__name__}: {' '.join(str(error).split())}\n")
        _conclude(sweep)
        sys.exit(1)
    except BaseException:  # a signal, which asks for haste
        if sweep := _led():
            log.info("\n%s%s", summary(sweep), _rest(sweep))
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    sweep = _led()
    if sweep:
        _conclude(sweep)
        if sweep.of(FAILED, LOST):
            sys.exit(1)


def _led() -> Sweep | None:
    """Return the sweep that this process led, as it ended; None without a job that began."""
    folder, SweepTable.led = SweepTable.led, None
    if folder is None:
        return None
    update(folder)
    sweep = read_sweep(folder)
    return sweep if sweep.begun else None


def _conclude(sweep: Sweep) -> None:
    """Show and write the table, and what the seeds say."""
    difference = None
    if chosen := pair(sweep):  # torch is loaded only for this
        from fcn_lightning.reporting.sweep_difference import describe_pair

        difference = describe_pair(sweep, chosen)
    log.info("\n%s%s", write_report(sweep, difference), _rest(sweep))


def _rest(sweep: Sweep) -> str:
    """Say how to go on, where a job is left."""
    if sweep.plan.adaptive or not sweep.of(FAILED, LOST, INTERRUPTED, WAITING):
        return ""
    return f"\n\ngo on with\n  python -m fcn_lightning.sweep folder={sweep.folder} resume=true"


def _lasting(words: Iterable[str]) -> tuple[str, ...]:
    """Leave out the words that belong to one start of a sweep."""
    return tuple(word for word in words if not word.startswith(OWN))


def _of_job(words: Iterable[str]) -> tuple[str, ...]:
    """Leave out the words that do not make the job what it is."""
    return tuple(word for word in _lasting(words) if not word.startswith(COUNTS))


def _watch(folder: Path) -> None:
    """Say what becomes of jobs that run elsewhere, until the command ends."""
    said: dict[int, str] = {}
    pause = threading.Event()
    while SweepTable.led == folder:
        sweep = read_sweep(folder)
        for job in sweep.jobs:
            if said.get(job.number, WAITING) == job.state:
                continue
            said[job.number] = job.state
            if job.state in (FAILED, LOST):
                sys.stderr.write(f"error: {failure(job, sweep)}\n")
            else:
                log.info("%s: %s, mIoU %s", label(job, sweep), job.state, percent(job.miou))
        pause.wait(POLL)
