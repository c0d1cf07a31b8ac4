"""The number of processes, and gradient accumulation in their place, change nothing but what BatchNorm sees at a time."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.processes import Command, settings, write_data

SEVEN = 7  # validation images: neither 2 nor 4 processes can share them evenly


def start(root: Path, folder: Path, *words: str) -> Command:
    watched = folder / "watched"
    watched.mkdir(parents=True)
    env = {"WATCHED": str(watched), "PYTHONPATH": f"{ROOT / 'tests/world/watched'}:{ROOT}"}
    plan = ("model.dropout=0", "schedule.max_steps=6", "schedule.val_interval=3", "hydra.run.dir=run")
    return Command("train", *settings(root, *plan, *words), cwd=folder, env=env)


def samples(folder: Path) -> dict[int, list[tuple[int, float]]]:
    """Return what each step saw, over all processes: the image's number, and the sum of its pixels as augmented."""
    seen: dict[int, list[tuple[int, float]]] = {}
    for path in sorted((folder / "watched").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            seen.setdefault(entry["step"], []).extend(zip(entry["index"], entry["pixels"], strict=True))
    return {step: sorted(found) for step, found in seen.items()}


def losses(folder: Path) -> list[float]:
    with (folder / "run/metrics.csv").open(newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), val=SEVEN)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    command = start(data, folder)
    assert command.wait() == 0, command.text
    assert [len(found) for found in samples(folder).values()] == [4] * 6
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ("trainer.devices=2",),
        pytest.param(("trainer.devices=4",), marks=pytest.mark.slow),
        pytest.param(("trainer.accumulate=4",), marks=pytest.mark.slow),
        pytest.param(("trainer.devices=2", "trainer.accumulate=2", "dataset.workers=1"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_the_same_samples_losses_and_counts(data: Path, alone: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    command = start(data, tmp_path, *words)
    assert command.wait() == 0, command.text
    assert samples(tmp_path) == samples(alone), "the same images, augmented alike, in each step"
    assert losses(tmp_path) == pytest.approx(losses(alone), rel=1e-6)
    for step in (3, 6):
        with (
            np.load(alone / f"run/counts/step_00000{step}.npz") as one,
            np.load(tmp_path / f"run/counts/step_00000{step}.npz") as other,
        ):
            assert sorted(one) == sorted(other)
            for key in one:
                assert np.array_equal(one[key], other[key]), f"{key} of step {step}"
    before, after = (json.loads((folder / "run/status.json").read_text()) for folder in (alone, tmp_path))
    assert (before["last"], before["best"]) == (after["last"], after["best"]), "scores to the last bit"
    if "trainer.devices" in words[0]:
        assert "BatchNorm's statistics are of" in command.text


@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_an_evaluation_gives_the_identical_matrix(data: Path, alone: Path, tmp_path: Path, devices: int) -> None:
    words = [word for word in settings(data) if word.startswith(("dataset", "trainer=", "trainer.precision"))]
    checkpoint = f"checkpoint={alone / 'run'}"
    commands = [
        Command("evaluate", checkpoint, *words, f"trainer.devices={number}", "hydra.run.dir=run", cwd=tmp_path / str(number))
        for number in (1, devices)
    ]
    for command in commands:
        assert command.wait() == 0, command.text
    one, other = (tmp_path / str(number) / "run" for number in (1, devices))
    scores = [json.loads((folder / "scores.json").read_text()) for folder in (one, other)]
    assert scores[0].pop("loss") == pytest.approx(scores[1].pop("loss"), rel=1e-6)
    assert scores[0] == scores[1]
    assert (one / "counts.npz").read_bytes() == (other / "counts.npz").read_bytes()
    assert sorted(path.name for path in (one / "samples").iterdir()) == sorted(path.name for path in (other / "samples").iterdir())
