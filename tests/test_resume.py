"""Going on with a run: as if it had never stopped, to the last bit."""

import csv
import json
import shutil
import signal
from pathlib import Path

import pytest

from fcn_lightning import InputError
from fcn_lightning.reporting.run_state import RunLock, find_unfinished
from tests.conftest import SHORT, Run
from tests.processes import Command, assert_equal, assert_none_left, settings, state, write_data


def steps_of(folder: Path) -> list[tuple[int, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [(int(row["step"]), row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("workers", "devices"), [(0, 1), pytest.param(2, 1, marks=SLOW), pytest.param(0, 2, marks=SLOW), pytest.param(2, 2, marks=SLOW)]
)
def test_stopped_and_continued_equals_in_one_go(tmp_path: Path, workers: int, devices: int) -> None:
    data = write_data(tmp_path / "data")
    words = settings(data, f"dataset.workers={workers}", f"trainer.devices={devices}", "schedule.max_steps=8")
    whole = Command("train", *words, "hydra.run.dir=run", cwd=tmp_path / "whole")
    assert whole.wait() == 0, whole.text
    cut = Command("train", *words, "hydra.run.dir=run", cwd=tmp_path / "cut")
    cut.prints("step 4/8")
    cut.send(signal.SIGTERM)
    assert cut.wait() == 143, cut.text
    assert "python -m fcn_lightning.train resume=run" in cut.text
    assert_none_left(tmp_path / "cut", 15)
    status = json.loads((tmp_path / "cut/run/status.json").read_text())
    assert status["state"] == "interrupted"
    assert 4 <= status["step"] < 8
    rest = Command("train", "resume=run", cwd=tmp_path / "cut")
    assert rest.wait() == 0, rest.text
    assert f"at step {status['step']} of 8" in rest.text
    runs = [tmp_path / name / "run" for name in ("whole", "cut")]
    for name in ("last.ckpt", "best.ckpt"):
        assert_equal(*(state(run / "checkpoints" / name) for run in runs))
    assert steps_of(runs[0]) == steps_of(runs[1]), "each step is logged once, with the same loss"
    lines = [[json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in runs]
    assert [(line["mode"], line["iter"]) for line in lines[0]] == [(line["mode"], line["iter"]) for line in lines[1]]


def test_what_cannot_be_continued(run: Run, trained: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    done = run("train", f"resume={copy}")
    assert (done.status, "has finished: all of its 3 steps are done" in done.out) == (0, True)
    assert run("train", "resume=nowhere").err == (
        "error: resume=nowhere is no run folder, nor a checkpoint in one; give the folder that holds config.yaml\n"
    )
    status = json.loads((copy / "status.json").read_text()) | {"state": "failed"}
    (copy / "status.json").write_text(json.dumps(status))
    for word in ("optimizer.lr=0.5", "schedule.max_steps=9", "backbone=r50"):
        refused = run("train", f"resume={copy}", word)
        assert refused.status == 1
        assert f"{word} cannot change in a run that is continued; leave it out" in refused.err
    config = (copy / "config.yaml").read_text()
    for hostile in ("os.system", "fcn_lightning.data.datamodule.os.system", "fcn_lightning.reporting.record.write_json"):
        (copy / "config.yaml").write_text(config.replace("fcn_lightning.data.shapes.ShapesDataModule", hostile))
        refused = run("train", f"resume={copy}")
        assert refused.status == 1
        assert f"names {hostile}, which no configuration of this package does" in refused.err
    (copy / "config.yaml").write_text(config.replace("seed: 0", "seed: ${oc.env:HOME}", 1))
    assert "names a reference (${...})" in run("train", f"resume={copy}").err


def test_an_earlier_checkpoint_by_name(run: Run, trained: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    (earlier,), (later,) = (list((copy / "checkpoints").glob(f"step_00000{step}*")) for step in (2, 3))
    whole = state(later)
    result = run("train", f"resume={earlier}")
    assert result.status == 0, result.err
    assert "continued   at step 2 of 3" in result.out
    assert "validation at step 3" in result.out
    assert_equal(state(copy / "checkpoints/last.ckpt"), whole)
    assert [path.name for path in (copy / "checkpoints").glob("*.superseded")] == [f"{later.name}.superseded"]
    with (copy / "metrics.csv").open(newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [2, 3, 3]


def test_a_run_that_lacks_its_report_alone_gets_it(run: Run, trained: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    before = (copy / "report.md").read_text()
    (copy / "report.md").unlink()
    (copy / "status.json").unlink()
    result = run("train", f"resume={copy}", *SHORT)
    assert result.status == 0, result.err
    assert "step 1/3" not in result.out
    assert (copy / "report.md").read_text() == before


def test_it_may_compute_elsewhere(run: Run, trained: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    last = next((copy / "checkpoints").glob("step_000003*"))
    for name in (last.name, "last.ckpt"):
        (copy / "checkpoints" / name).unlink()
    status = json.loads((copy / "status.json").read_text()) | {"state": "interrupted"}
    (copy / "status.json").write_text(json.dumps(status))
    result = run("train", f"resume={copy}", "trainer.accumulate=2", "trainer.log_interval=1", "dataset.workers=1")
    assert result.status == 0, result.err
    assert "continued   at step 2 of 3" in result.out
    assert "in 2 parts one after the other" in result.out
    assert "validation at step 3" in result.out
    assert "validation at step 2" not in result.out, "it was done before"
    assert last.is_file()
    assert (copy / "overrides.txt").read_text().splitlines()[-5:] == [
        "# continued at step 2 with", f"# resume={copy}",
        "# trainer.accumulate=2", "# trainer.log_interval=1", "# dataset.workers=1",
    ]  # fmt: skip


def test_auto_finds_the_newest_run_of_the_same_words(tmp_path: Path) -> None:
    words = ["seed=1", "schedule.max_steps=9"]
    for name, overrides, ended in (
        ("a", ["schedule.max_steps=9", "seed=1", "trainer.devices=2"], "failed"),
        ("b", ["seed=2", "schedule.max_steps=9"], "failed"),
        ("c", ["seed=1", "schedule.max_steps=9"], "finished"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text("seed: 1\n")
        (folder / "overrides.txt").write_text("\n".join(overrides) + "\n")
        (folder / "status.json").write_text(json.dumps({"state": ended}))
    assert find_unfinished(tmp_path, [*words, "resume=auto"]) == tmp_path / "a", "where it computes is no part of what it is"
    assert find_unfinished(tmp_path, ["seed=3"]) is None


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with RunLock(tmp_path / "run"), pytest.raises(InputError, match="run is in use by another process"):
        RunLock(tmp_path / "run")
    assert not list((tmp_path / "run").iterdir()), "no run came to own it"
