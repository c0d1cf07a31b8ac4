"""Going on with a run: as if it had never stopped, to the last bit."""

import csv
import json
import signal
from pathlib import Path

import pytest

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
