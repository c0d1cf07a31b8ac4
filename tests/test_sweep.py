"""Sweeps through the command: states, failures, going on, seeds, launchers, and trials whose ranks agree."""

import csv
import importlib
import itertools
import json
import re
import signal
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import wandb

from fcn_lightning.sweep import is_plain
from fcn_lightning.training.callbacks import StepSeed
from tests.conftest import Run
from tests.processes import Command, assert_none_left, settings, write_data

TINY = ("schedule.max_steps=1", "schedule.val_interval=1", "dataset.global_batch_size=2")
# An optimiser as a user would add one, which also writes down what it was given, in each rank of each job.
SPY = """
import json, os
from dataclasses import dataclass
from fcn_lightning.training.launch import launch
from fcn_lightning.training.optimizers import SGD

@dataclass(frozen=True)
class Spy(SGD):
    def build(self, parameters):
        made = super().build(parameters)
        group = made.param_groups[0]
        entry = {"rank": launch().rank, "lr": group["lr"], "weight_decay": group["weight_decay"]}
        with open(os.environ["SPY"], "a") as file:
            file.write(json.dumps(entry) + "\\n")
        if f"{entry['rank']} {entry['lr']}" == os.environ.get("FAILS"):
            raise RuntimeError("out of luck")
        return made
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The words for runs of one step on tiny data."""
    return settings(write_data(tmp_path / "data", train=4, val=3), *TINY)


@pytest.fixture
def spy(tmp_path: Path) -> dict[str, str]:
    """The environment in which `spy.Spy` can be imported, and writes into `seen`."""
    (tmp_path / "spy.py").write_text(SPY)
    root = Path(__file__).resolve().parents[1]
    return {"PYTHONPATH": f"{tmp_path}:{root}", "SPY": str(tmp_path / "seen")}


def table(folder: Path) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = json.loads((folder / "sweep.json").read_text())["jobs"]
    return jobs


def states(folder: Path) -> list[str]:
    return [job["state"] for job in table(folder)]


def break_job(monkeypatch: pytest.MonkeyPatch, number: int, error: Exception) -> None:
    """Let the training of one job of this process fail."""
    fit, calls = pl.Trainer.fit, itertools.count()

    def failing(trainer: pl.Trainer, *args: Any, **more: Any) -> None:
        if next(calls) == number:
            raise error
        fit(trainer, *args, **more)

    monkeypatch.setattr(pl.Trainer, "fit", failing)


def test_a_failing_job_is_shown_and_the_others_go_on(run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        break_job(patch, 1, RuntimeError("out of luck"))
        result = run("train", "-m", *words, "seed=0,1,2", "hydra.sweeper.max_batch_size=1", "hydra.sweep.dir=sweep")
    folder = Path("sweep")
    assert result.status == 1
    assert result.err.splitlines() == ["error: job 1 (seed=1): RuntimeError: out of luck"]
    assert states(folder) == ["finished", "failed", "finished"], "also in later batches"
    assert table(folder)[1]["error"] == "RuntimeError: out of luck"
    assert "Traceback" in (folder / "1/train.log").read_text(), "a bug keeps it"
    assert "sweep sweep: 2 finished, 1 failed\n" in result.out
    assert "python -m fcn_lightning.sweep folder=sweep resume=true" in result.out
    best = [json.loads((folder / str(number) / "status.json").read_text())["best"]["mIoU"] for number in (0, 2)]
    assert [job["mIoU"] for job in table(folder)] == [best[0], None, best[1]]

    kept = (folder / "0/checkpoints/last.ckpt").stat().st_mtime_ns
    before = table(folder)[0]
    again = run("train", "-m", *words, "seed=0,1,2", "hydra.sweep.dir=sweep")
    assert (again.status, again.err) == (
        1, "error: sweep holds a sweep; add resume=auto to go on with it, or choose another hydra.sweep.dir\n"
    )  # fmt: skip
    other = run("train", "-m", *words, "seed=0,5,2", "hydra.sweep.dir=sweep", "resume=auto")
    assert other.status == 1
    assert re.search(r"error: job 1 of sweep was .*seed=1, and now is .*seed=5; choose another hydra\.sweep\.dir", other.err)
    result = run("train", "-m", *words, "seed=0,1,2", "hydra.sweep.dir=sweep", "resume=auto")
    assert (result.status, result.err) == (0, "")
    assert result.out.count("has finished") == 2
    assert states(folder) == ["finished"] * 3
    assert (folder / "0/checkpoints/last.ckpt").stat().st_mtime_ns == kept
    assert table(folder)[0] == before


def test_what_a_user_can_mend_is_one_sentence(run: Run, words: list[str]) -> None:
    result = run("train", "-m", *words, "schedule.max_steps=0,-1", "hydra.sweep.dir=sweep")
    assert result.status == 1
    lines = result.err.splitlines()
    assert [line.split(":")[1] for line in lines] == [f" job {n} (schedule.max_steps={steps})" for n, steps in enumerate((0, -1))]
    assert "Traceback" not in result.out
    assert states(Path("sweep")) == ["failed"] * 2


def test_seeds_report_their_spread(run: Run, words: list[str]) -> None:
    result = run("train", *words, "sweep=seeds", "sweep.seeds=3", "hydra.sweep.dir=sweep")
    assert result.status == 0, result.err
    folder = Path("sweep")
    scores = [json.loads((folder / str(seed) / "status.json").read_text())["best"]["mIoU"] for seed in range(3)]
    assert len(set(scores)) == 3, "each has its own seed"
    mean, std = statistics.mean(scores), statistics.stdev(scores)
    text = (folder / "sweep.md").read_text()
    assert text in result.out
    assert f"mIoU {100 * mean:.2f} on average, sample standard deviation {100 * std:.2f}" in text
    content = json.loads((folder / "seeds.json").read_text())
    assert content["seeds"] == [{"jobs": [0, 1, 2], "mean": pytest.approx(mean), "std": pytest.approx(std), "runs": 3}]
    assert (content["difference"]["mIoU"]["a"], content["difference"]["mIoU"]["b"]) == (
        pytest.approx(min(scores)), pytest.approx(max(scores))
    )  # fmt: skip
    assert "Paired bootstrap over images between the worst and the best" in text

    shown = run("sweep", "folder=sweep")
    assert (shown.status, shown.out) == (0, text)
    named = run("sweep", "folder=sweep", "a=2", "b=0")
    assert "a  job 2 (seed=2), sweep/2/counts/step_000001.npz\nb  job 0 (seed=0)," in named.out
    assert "picked" not in named.out
    for arguments, words_of in (
        (("a=2", "b=9"), "b=9 is no job of sweep; its jobs are 0, 1, 2"),
        (("a=2",), "only one of a and b is given"),
    ):
        wrong = run("sweep", "folder=sweep", *arguments)
        assert (wrong.status, wrong.err.startswith(f"error: {words_of}")) == (1, True)


def test_jobs_are_one_group_of_tracked_runs(run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")
    groups, codes = [], []
    init, finish = wandb.init, wandb.sdk.wandb_run.Run.finish
    monkeypatch.setattr(wandb, "init", lambda **more: (groups.append(more["group"]), init(**more))[1])

    def ended(self: Any, exit_code: int | None = None) -> None:
        codes.append(exit_code)
        finish(self, exit_code)

    monkeypatch.setattr(wandb.sdk.wandb_run.Run, "finish", ended)
    break_job(monkeypatch, 1, RuntimeError("out of luck"))
    result = run("train", "-m", *words, "logger=wandb", "seed=0,1", "hydra.sweep.dir=sweeps/mine")
    assert result.status == 1
    assert groups == ["mine", "mine"]
    assert codes == [0, 1], "the failed job is marked"
    assert len(list(Path("sweeps/mine").glob("*/wandb/offline-run-*"))) == 2


def test_more_seeds_can_be_added(run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    long = [*words, "schedule.max_steps=2", "sweep=seeds", "hydra.sweep.dir=sweep"]
    with monkeypatch.context() as patch:
        begin, steps = StepSeed.on_train_batch_start, itertools.count(1)

        def failing(self: StepSeed, *args: Any) -> None:
            if next(steps) == 4:
                raise RuntimeError("out of luck")
            begin(self, *args)

        patch.setattr(StepSeed, "on_train_batch_start", failing)
        first = run("train", *long, "sweep.seeds=2")
    assert first.status == 1
    assert states(Path("sweep")) == ["finished", "failed"]
    result = run("train", *long, "sweep.seeds=3", "resume=auto")
    assert (result.status, result.err) == (0, "")
    assert "at step 1 of 2" in result.out, "the failed one goes on"
    assert "jobs 0, 1, 2 differ in the seed alone: " in result.out


@pytest.mark.parametrize(
    ("seeds", "words_of"), [("0", "the sweep has no job: a range in it is empty"), ("many", "seed=range(many) cannot be read")]
)
def test_seeds_that_are_none(run: Run, words: list[str], seeds: str, words_of: str) -> None:
    result = run("train", *words, "sweep=seeds", f"sweep.seeds={seeds}", "hydra.sweep.dir=sweep")
    assert (result.status, result.err.startswith(f"error: {words_of}"), len(result.err.splitlines())) == (1, True, 1)
    assert not Path("sweep").exists()


def test_a_sweep_s_folder_must_be_one(run: Run) -> None:
    result = run("sweep", "folder=none")
    assert (result.status, result.err) == (
        1, "error: none holds no sweep.json; give the folder of a sweep, such as outputs/sweeps/<time>\n"
    )  # fmt: skip


def test_a_plugin_that_is_not_installed_is_named(run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cli = importlib.import_module("fcn_lightning.cli")
    monkeypatch.setitem(cli.EXTRAS, "absent", "sweep")
    result = run("train", "-m", *words, "hydra/launcher=absent")
    assert result.err == "error: hydra/launcher/absent is not installed; run pip install 'fcn_lightning[sweep]'\n"


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("seed=0,1", True),
        ("hydra/launcher=joblib", True),
        ("hydra.launcher.n_jobs=2", True),
        ("hydra.sweeper.params.seed=range(5)", True),
        ("optimizer._target_=os.system", False),
        ("hydra.launcher.setup=[rm]", False),
        ("hydra.searchpath=[file:///elsewhere]", False),
        ("hydra.job.env_set.LD_PRELOAD=evil.so", False),
        ("hydra/launcher=joblib\nhydra.mode=RUN", False),
    ],
)
def test_a_stored_command_only_sets_values(word: str, plain: bool) -> None:
    assert is_plain(word) is plain


def test_a_strange_command_is_not_started(run: Run) -> None:
    words = ["trainer=cpu", "hydra.launcher.setup=[rm]"]
    plan = {"verb": "train", "words": words, "cwd": ".", "adaptive": False, "planned": [], "started": "2026-01-01T00:00:00+00:00"}
    Path("sweep").mkdir()
    Path("sweep/sweep.json").write_text(json.dumps(plan))
    result = run("sweep", "folder=sweep", "resume=true")
    assert result.status == 1
    assert "was started with hydra.launcher.setup=[rm], which only you can judge" in result.err


def seen(spy: dict[str, str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(spy["SPY"]).read_text().splitlines()]


def rates(folder: Path) -> float:
    """Return the learning rate that a run logged for its only step."""
    with (folder / "metrics.csv").open(newline="") as file:
        return next(float(row["lr"]) for row in csv.DictReader(file) if row["lr"])


@pytest.mark.slow
def test_two_jobs_of_two_ranks_one_of_which_fails(tmp_path: Path, words: list[str], spy: dict[str, str]) -> None:
    arguments = ("optimizer._target_=spy.Spy", "trainer.devices=2", "optimizer.lr=0.02,0.03", "hydra.sweep.dir=sweep")
    command = Command("train", "-m", *words, *arguments, cwd=tmp_path / "work", env=spy | {"FAILS": "1 0.02"})
    assert command.wait() == 1, command.text
    folder = tmp_path / "work/sweep"
    assert states(folder) == ["failed", "finished"]
    assert "out of luck" in table(folder)[0]["error"], "what was wrong in the other rank"
    assert command.text.index("error: job 0 (optimizer.lr=0.02): ") < command.text.index("run folder  sweep/1")
    assert {(entry["rank"], entry["lr"]) for entry in seen(spy)} == {(0, 0.02), (1, 0.02), (0, 0.03), (1, 0.03)}
    assert rates(folder / "1") == 0.03
    assert sorted(path.name for path in (tmp_path / "work").iterdir() if path.is_dir()) == ["sweep"], "no folder of a rank's own"
    assert_none_left(tmp_path / "work", 15)


@pytest.mark.slow
def test_three_trials_of_two_ranks(tmp_path: Path, words: list[str], spy: dict[str, str]) -> None:
    arguments = ("sweep=optuna", "optimizer._target_=spy.Spy", "trainer.devices=2", "hydra.sweeper.n_trials=3")
    command = Command("train", *words, *arguments, "hydra.sweep.dir=sweep", cwd=tmp_path / "work", env=spy)
    assert command.wait() == 0, command.text
    folder = tmp_path / "work/sweep"
    assert states(folder) == ["finished"] * 3
    given = [dict(word.split("=") for word in job["overrides"] if word.startswith("optimizer.")) for job in table(folder)]
    drawn = [(float(words_of["optimizer.lr"]), float(words_of["optimizer.weight_decay"])) for words_of in given]
    assert len(set(drawn)) == 3, "each trial has its own"
    entries = seen(spy)
    for pair in drawn:
        ranks = [entry["rank"] for entry in entries if (entry["lr"], entry["weight_decay"]) == pair]
        assert sorted(ranks) == [0, 1], f"both ranks of the trial hold {pair}"
    assert len(entries) == 6
    assert "adaptive sweep sweep: 3 finished" in command.text

    again = Command("train", *words, *arguments, "hydra.sweep.dir=sweep", "resume=auto", cwd=tmp_path / "work", env=spy)
    assert again.wait() == 1
    assert "sweep holds an adaptive sweep, which cannot go on" in again.text


def test_the_others_of_a_sampler_go_on_where_a_trial_fails(run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    break_job(monkeypatch, 0, RuntimeError("out of luck"))
    result = run("train", *words, "sweep=optuna", "hydra.sweeper.n_trials=2", "hydra.sweep.dir=sweep")
    assert result.status == 1
    assert states(Path("sweep")) == ["failed", "finished"]
    assert "go on with" not in result.out, "an adaptive sweep cannot"


@pytest.mark.slow
def test_jobs_that_submitit_starts(tmp_path: Path, words: list[str]) -> None:
    arguments = ("hydra/launcher=submitit_local", "schedule.max_steps=1,0", "hydra.sweep.dir=sweep")
    command = Command("train", "-m", *words, *arguments, cwd=tmp_path / "work")
    assert command.wait() == 1, command.text
    folder = tmp_path / "work/sweep"
    assert states(folder) == ["finished", "failed"]
    assert all(job["pid"] != command.process.pid for job in table(folder))
    said = "error: job 1 (schedule.max_steps=0): schedule.max_steps=0"
    assert command.text.count(said) == 1
    assert command.text.index(said) < command.text.index("sweep sweep: 1 finished, 1 failed"), "before the end"


@pytest.mark.slow
def test_a_stopped_sweep_of_joblib_goes_on(tmp_path: Path, words: list[str]) -> None:
    long = [*words, "schedule.max_steps=0,12,13", "schedule.val_interval=6", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]
    command = Command("train", "-m", *long, "hydra.sweep.dir=sweep", cwd=tmp_path)
    command.prints("step 3/12")
    assert "error: job 0 (schedule.max_steps=0): schedule.max_steps=0" in command.text, "said while the others go on"
    command.send(signal.SIGTERM)
    assert command.wait() == 143, command.text
    folder = tmp_path / "sweep"
    assert states(folder) == ["failed", "interrupted", "waiting"]
    step = json.loads((folder / "1/status.json").read_text())["step"]
    assert 3 <= step < 12
    assert_none_left(tmp_path, 15)
    rest = Command("sweep", f"folder={folder}", "resume=true", cwd=tmp_path)
    assert rest.wait() == 1, rest.text
    assert f"at step {step} of 12" in rest.text
    assert states(folder) == ["failed", "finished", "finished"]
    assert sys.executable not in rest.text, "the command is shown as it is typed"
