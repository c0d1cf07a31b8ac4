"""Evaluation is validation: the same number for the same checkpoint, whatever else differs."""

import csv
import json
import re
from pathlib import Path

import pytest

from tests.conftest import Run


def evaluate(run: Run, trained: Path, *overrides: str, name: str = "last") -> str:
    result = run("evaluate", f"checkpoint={trained}/checkpoints/{name}.ckpt", "dataset=shapes", "trainer=cpu", *overrides)
    assert result.status == 0, result.err
    return result.out


def test_gives_the_number_of_the_validation(run: Run, trained: Path) -> None:
    with (trained / "metrics.csv").open(newline="") as file:
        logged = [row for row in csv.DictReader(file) if row["val/mIoU"]]
    out = evaluate(run, trained, "hydra.run.dir=scores", "dataset.workers=0")
    scores = json.loads(Path("scores/scores.json").read_text())
    for name in ("mIoU", "mAcc", "aAcc"):
        assert scores[name] == float(logged[-1][f"val/{name}"]), "to the last bit"
    assert scores["IoU"]["sky"] == float(logged[-1]["val/IoU/sky"])
    assert re.fullmatch(r"mIoU \d\.\d{3} mAcc \d\.\d{3} aAcc \d\.\d{3}  .*scores", out.splitlines()[-1])
    assert {path.name for path in Path("scores/plots").iterdir()} == {"classes.png", "confusion.png"}


def test_best_is_the_better_validation(run: Run, trained: Path) -> None:
    with (trained / "metrics.csv").open(newline="") as file:
        mious = [float(row["val/mIoU"]) for row in csv.DictReader(file) if row["val/mIoU"]]
    evaluate(run, trained, "hydra.run.dir=best", name="best")
    assert json.loads(Path("best/scores.json").read_text())["mIoU"] == max(mious)


@pytest.mark.parametrize(
    "overrides",
    [
        ("tta=ms_flip",),
        ("inference.mode=slide", "inference.crop_size=[64,64]", "inference.stride=[43,43]"),
        ("inference.precision=bf16",),
        ("dataset.base_scale=[144,144]",),
    ],
    ids=["ms_flip", "slide", "bf16", "scale"],
)
def test_other_test_modes(run: Run, trained: Path, overrides: tuple[str, ...]) -> None:
    evaluate(run, trained, "hydra.run.dir=plain", "dataset.workers=0")
    evaluate(run, trained, *overrides, "hydra.run.dir=other", "dataset.workers=0")
    plain, other = (json.loads(Path(name, "scores.json").read_text()) for name in ("plain", "other"))
    assert plain != other
    assert 0 <= other["mIoU"] <= 1


def test_what_belongs_to_training_is_refused(run: Run, trained: Path) -> None:
    result = run("evaluate", f"checkpoint={trained}/checkpoints/last.ckpt", "dataset=shapes", "backbone=r50")
    assert result.status == 1
    assert "backbone belongs to training" in result.err
