"""The table of a sweep, the spread over seeds, and which two jobs are compared."""

import statistics
from pathlib import Path

from fcn_lightning.reporting.run_state import FAILED, FINISHED
from fcn_lightning.reporting.sweep_state import Job, Plan, Sweep
from fcn_lightning.reporting.sweep_table import job_table, name_of, pair, repeats, summary


def sweep(*jobs: tuple[str, float | None]) -> Sweep:
    """Make a sweep of jobs with "override override" and mIoU; without one it failed."""
    plan = Plan("train", ("trainer=cpu", "model.pretrained=false", "schedule.min_lr=1e-6"), "/", False)
    time = {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T01:02:03+00:00"}
    made = []
    for number, (words, miou) in enumerate(jobs):
        state, error = (FAILED, "no room") if miou is None else (FINISHED, None)
        made.append(Job(number, (*words.split(), "trainer=cpu"), str(number), state, miou, error, **time))
    return Sweep(Path("sweep"), plan, tuple(made))


def test_the_table() -> None:
    lines = job_table(sweep(("seed=0", 0.5), ("seed=1", None))).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["0", "seed=0", "finished", "50.00", "1:02:03", "0"]
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == ["1", "seed=1", "failed", "-", "1:02:03", "1"]
    assert len({len(line) for line in lines}) == 1


def test_a_sampler_s_numbers_are_rounded_where_people_read_them() -> None:
    one = sweep(("optimizer.lr=0.012520653814999465", 0.5), ("optimizer.lr=1.2345678e-05", 0.5), ("optimizer.lr=0.25", 0.5))
    assert [name_of(job, one) for job in one.jobs] == ["optimizer.lr=0.01252", "optimizer.lr=1.235e-05", "optimizer.lr=0.25"]


def test_an_only_job_is_named_by_what_the_command_does_not_say() -> None:
    one = sweep(("seed=0 model.pretrained=False schedule.min_lr=1e-06", 0.5))
    assert name_of(one.jobs[0], one) == "seed=0"


def test_spread_over_seeds_for_each_setting() -> None:
    one = sweep(("lr=1 seed=0", 0.5), ("lr=1 seed=1", 0.6), ("lr=2 seed=0", 0.7), ("lr=2 seed=1", None), ("lr=1 seed=2", 0.9))
    (group,) = repeats(one)
    assert [job.number for job in group.jobs] == [0, 1, 4]
    assert (group.miou.mean, group.miou.std) == (statistics.mean((0.5, 0.6, 0.9)), statistics.stdev((0.5, 0.6, 0.9)))
    text = summary(one)
    words = "jobs 0, 1, 4 differ in the seed alone (lr=1): mIoU 66.67 on average, sample standard deviation 20.82"
    assert text.splitlines()[-1] == words
    assert "job 3 (lr=2 seed=1): no room" in text
    assert text.startswith("sweep sweep: 4 finished, 1 failed\n")


def test_the_pair() -> None:
    def numbers(*jobs: tuple[str, float | None]) -> tuple[int, ...]:
        chosen = pair(sweep(*jobs))
        return tuple(job.number for job in chosen[:2]) if chosen else ()

    assert numbers(("seed=0", 0.5), ("seed=1", 0.9), ("seed=2", 0.2)) == (2, 1), "the worst and the best seed"
    assert numbers(("lr=1", 0.5), ("lr=2", 0.9), ("lr=3", 0.2)) == (0, 1), "the second best and the best job"
    assert numbers(("seed=0", 0.5), ("seed=1", None)) == ()
