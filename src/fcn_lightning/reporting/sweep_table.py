"""A sweep as a person reads it: the table of its jobs, and how far those spread that differ in the seed alone."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fcn_lightning.evaluation.spread import Spread, spread
from fcn_lightning.reporting.run_state import FAILED, FINISHED
from fcn_lightning.reporting.sweep_state import LOST, Job, Sweep

SEED = "seed="
REPORT, FIGURES = "sweep.md", "seeds.json"


@dataclass(frozen=True)
class Repeats:
    """Finished jobs that differ in the seed alone.

    Args:
        jobs: at least two.
        miou: their best mIoU, in [0, 1].
    """

    jobs: tuple[Job, ...]
    miou: Spread


def job_table(sweep: Sweep) -> str:
    """Lay out a Markdown table, one row per job, with mIoU in percent."""
    cells = [("job", "overrides", "state", "mIoU", "time", "folder")]
    for job in sweep.jobs:
        name = name_of(job, sweep) or "-"
        cells.append((str(job.number), name, job.state, percent(job.miou), _duration(job), job.folder))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in cells]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])


def summary(sweep: Sweep) -> str:
    """Say how many jobs are in which state, how each failed, the table, and the spread over seeds."""
    states = list(dict.fromkeys(job.state for job in sweep.jobs))
    counts = ", ".join(f"{len(sweep.of(state))} {state}" for state in states) or "no job yet"
    kind = "adaptive sweep" if sweep.plan.adaptive else "sweep"
    parts = [f"{kind} {sweep.folder}: {counts}", job_table(sweep)]
    parts += ["\n".join(failures)] if (failures := [failure(job, sweep) for job in sweep.of(FAILED, LOST)]) else []
    parts += ["\n".join(_describe(group, sweep) for group in groups)] if (groups := repeats(sweep)) else []
    return "\n\n".join(parts)


def write_report(sweep: Sweep, difference: tuple[str, dict[str, Any] | None] | None) -> str:
    """Write `sweep.md`; where jobs differ in the seed alone, `seeds.json` with the figures, fractions in [0, 1].

    Args:
        sweep: as it ended.
        difference: of two jobs, in words and figures; None without two that could be compared.

    Returns:
        The text of the report.
    """
    words, figures = difference or ("", None)
    text = "\n\n".join(part for part in (summary(sweep), words) if part)
    (sweep.folder / REPORT).write_text(text + "\n", encoding="utf-8")
    if groups := repeats(sweep):
        content = {"seeds": as_json(groups), "difference": figures}
        (sweep.folder / FIGURES).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return text


def failure(job: Job, sweep: Sweep) -> str:
    """Say in a sentence how a job failed."""
    return f"{label(job, sweep)}: {job.error or job.state}"


def label(job: Job, sweep: Sweep) -> str:
    """Name a job, as in "job 3 (seed=3)"."""
    name = name_of(job, sweep)
    return f"job {job.number} ({name})" if name else f"job {job.number}"


def name_of(job: Job, sweep: Sweep) -> str:
    """Return the overrides of a job that not all jobs have; of an only job, those that the command line does not fix.

    Numbers that a sampler drew are rounded to four digits; `sweep.json` has them as they were.
    """
    others = [set(map(_normal, other.overrides)) for other in sweep.jobs if other.number != job.number]
    shared = set.intersection(*others) if others else set(map(_normal, sweep.plan.words))
    words = " ".join(override for override in job.overrides if _normal(override) not in shared)
    return re.sub(r"\d+\.\d{6,}(e[+-]?\d+)?", lambda number: f"{float(number[0]):.4g}", words)


def repeats(sweep: Sweep) -> list[Repeats]:
    """Gather the finished jobs that differ in the seed alone."""
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in sweep.of(FINISHED):
        if job.miou is not None:
            groups.setdefault(tuple(word for word in job.overrides if not word.startswith(SEED)), []).append(job)
    several = [jobs for jobs in groups.values() if len(jobs) > 1]
    return [Repeats(tuple(jobs), spread(job.miou for job in jobs if job.miou is not None)) for jobs in several]


def pair(sweep: Sweep) -> tuple[Job, Job, str] | None:
    """Choose two finished jobs to be compared.

    Returns:
        The worst and the best, where all differ in the seed alone: what chance did at most. Else the second best and the best.
        And which they are, in words. None where there are no two.
    """
    ranked = sorted((job for job in sweep.of(FINISHED) if job.miou is not None), key=lambda job: job.miou or 0.0)
    if len(ranked) < 2:
        return None
    groups = repeats(sweep)
    if len(groups) == 1 and len(groups[0].jobs) == len(ranked):
        return ranked[0], ranked[-1], "the worst and the best of these runs"
    return ranked[-2], ranked[-1], "the second best and the best job"


def as_json(groups: Sequence[Repeats]) -> list[dict[str, object]]:
    """Return the spread over seeds; fractions in [0, 1]."""
    return [
        {"jobs": [job.number for job in group.jobs], "mean": group.miou.mean, "std": group.miou.std, "runs": group.miou.runs}
        for group in groups
    ]


def percent(fraction: float | None) -> str:
    """Write a score in percent; a dash without one."""
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def _normal(override: str) -> str:
    """Write an override as Hydra may have written it before: 1e-6 as 1e-06, true as True."""
    key, _, value = override.partition("=")
    try:
        return f"{key}={float(value)}"
    except ValueError:
        return f"{key}={value.lower()}"


def _describe(group: Repeats, sweep: Sweep) -> str:
    setting = " ".join(word for word in name_of(group.jobs[0], sweep).split() if not word.startswith(SEED))
    numbers = ", ".join(str(job.number) for job in group.jobs)
    return (
        f"jobs {numbers} differ in the seed alone{f' ({setting})' if setting else ''}: mIoU {percent(group.miou.mean)} on average, "
        f"sample standard deviation {percent(group.miou.std)}"
    )


def _duration(job: Job) -> str:
    if not job.started or not job.ended:
        return "-"
    seconds = int((datetime.fromisoformat(job.ended) - datetime.fromisoformat(job.started)).total_seconds())
    return f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
