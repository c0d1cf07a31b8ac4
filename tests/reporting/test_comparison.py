"""The first deviation from a published log is found and named; noise is not taken for one."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from fcn_lightning import InputError
from fcn_lightning.reporting import figures
from fcn_lightning.reporting.alignment import table
from fcn_lightning.reporting.comparison import Comparison, compare
from fcn_lightning.zoo.logs import TrainingCurve, ValEntry, read_log
from tests.zoo.log_files import Plant, Values, nothing, write_v0, write_v1

ALL = ("learning rate", "loss", "decode loss", "accuracy", "mIoU")


def loss_above(step: int, values: Values) -> None:
    if step >= 3200:
        values["loss_decode"] *= 1.12
        values["loss_aux"] *= 1.12


def loss_far_above(step: int, values: Values) -> None:
    loss_above(step, values)
    loss_above(step, values)


def rate_halved(step: int, values: Values) -> None:
    values["lr"] /= 2


def rate_halved_late(step: int, values: Values) -> None:
    values["lr"] /= 2 if step >= 6000 else 1


def miou_lower(step: int, values: Values) -> None:
    values["mIoU"] -= 0.03 if step >= 4000 else 0


def accuracy_lower(step: int, values: Values) -> None:
    values["acc_seg"] -= 0.05 if step >= 2000 else 0


def aux_weight_halved(step: int, values: Values) -> None:
    values["loss_aux"] /= 2


def diverged(step: int, values: Values) -> None:
    if step >= 700:
        values["loss_decode"] = math.nan


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> TrainingCurve:
    return read_log(write_v0(tmp_path_factory.mktemp("logs") / "published.log.json", noise=0.1, seed=1))


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> TrainingCurve:
    return read_log(write_v0(tmp_path_factory.mktemp("logs") / "smooth.log.json"))


def run_with(tmp_path: Path, plant: Plant, *, interval: int = 50, noise: float = 0, seed: int = 2) -> TrainingCurve:
    return read_log(write_v0(tmp_path / "log.jsonl", plant, interval=interval, noise=noise, seed=seed))


def test_the_words(smooth: TrainingCurve, tmp_path: Path) -> None:
    result = compare(smooth, run_with(tmp_path, loss_above))
    assert [deviation.step for deviation in result.deviations] == [3200, 3200]
    assert result.deviations[0].words == "at step 3200 the loss is 12 % above (0.510 instead of 0.455, means of 68 lines)"
    assert result.sentence == "; ".join(deviation.words for deviation in result.deviations)
    rate = compare(smooth, run_with(tmp_path, rate_halved)).sentence
    assert rate == "from step 50 on the learning rate differs: 0.00497 instead of 0.00995"


def test_no_deviation(smooth: TrainingCurve, tmp_path: Path) -> None:
    result = compare(smooth, run_with(tmp_path, nothing))
    assert result.deviations == ()
    assert result.sentence == ("no deviation in steps 50 to 8000: learning rate, loss, decode loss, accuracy and mIoU agree")
    assert (result.judged, result.notes) == (ALL, ())


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2])
def test_noise_is_no_deviation(noise: float, tmp_path: Path) -> None:
    for seed in range(0, 10, 2):
        theirs = read_log(write_v0(tmp_path / "a.log.json", noise=noise, seed=seed))
        result = compare(theirs, run_with(tmp_path, nothing, noise=noise, seed=seed + 1))
        assert result.deviations == (), result.sentence


@pytest.mark.parametrize(
    ("plant", "words", "steps"),
    [
        (loss_far_above, "the loss is 2", range(3000, 3401)),
        (rate_halved, "from step 50 on the learning rate differs", range(50, 51)),
        (rate_halved_late, "from step 6050 on the learning rate differs", range(6050, 6051)),
        (miou_lower, "the mIoU is 3.0 points below", range(5000, 6001)),
        (accuracy_lower, "the accuracy is 5.0 points below (", range(2000, 2051)),
        (aux_weight_halved, "the loss is ", range(50, 1000)),
        (diverged, "at step 700 the loss is no number any more (nan)", range(700, 701)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_planted_deviations_are_found_in_noise(
    published: TrainingCurve, tmp_path: Path, plant: Plant, words: str, steps: range
) -> None:
    first = compare(published, run_with(tmp_path, plant, noise=0.1)).deviations[0]
    assert words in first.words
    assert first.step in steps


def test_deviations_come_in_the_order_of_steps(smooth: TrainingCurve, tmp_path: Path) -> None:
    def plant(step: int, values: Values) -> None:
        loss_above(step, values)
        rate_halved(step, values)
        miou_lower(step, values)

    result = compare(smooth, run_with(tmp_path, plant))
    steps = [deviation.step for deviation in result.deviations]
    assert steps == sorted(steps)
    assert [deviation.words.split(" the ")[1].split(" is ")[0].split(" diff")[0] for deviation in result.deviations] == [
        "learning rate", "loss", "decode loss", "mIoU",
    ]  # fmt: skip


@pytest.mark.parametrize("interval", [20, 40, 70, 200])
def test_another_logging_interval(smooth: TrainingCurve, tmp_path: Path, interval: int) -> None:
    result = compare(smooth, run_with(tmp_path, nothing, interval=interval))
    assert result.deviations == (), result.sentence
    assert result.judged == ALL
    found = compare(smooth, run_with(tmp_path, loss_above, interval=interval)).deviations[0]
    assert 3200 - interval < found.step < 3200 + 2 * max(interval, 50)
    assert "the loss is 12 % above" in found.words


def test_a_run_that_logs_every_step_is_as_noisy_as_its_steps_are(published: TrainingCurve, tmp_path: Path) -> None:
    result = compare(published, run_with(tmp_path, nothing, interval=1, noise=0.7))
    assert result.deviations == (), result.sentence


def test_both_formats_give_the_same_result_but_for_accuracy(smooth: TrainingCurve, tmp_path: Path) -> None:
    other = read_log(write_v1(tmp_path / "1x.json", loss_above))
    result = compare(smooth, other)
    assert result.deviations[0].words == compare(smooth, run_with(tmp_path, loss_above)).deviations[0].words
    assert "accuracy" not in result.judged
    assert result.notes == ("the accuracy is not judged: one log counts ignored pixels as wrong, the other leaves them out",)
    assert compare(other, other).judged == ALL


def test_the_published_figure_is_the_last_validation(smooth: TrainingCurve) -> None:
    def moved(points: dict[int, float]) -> Comparison:
        val = {step: replace(entry, miou=entry.miou + points.get(step, 0)) for step, entry in smooth.val.items()}
        return compare(smooth, replace(smooth, val=val))

    assert moved({8000: -0.014}).deviations == ()
    assert moved({8000: -0.016}).sentence == "at step 8000 the mIoU is 1.6 points below (68.18 instead of 69.78)"
    assert moved({2000: 0.05}).deviations == (), "within what its neighbours show"
    assert "at step 6000 the mIoU is 3.0 points below" in moved({6000: -0.03}).sentence


def test_short_logs_say_what_cannot_be_judged(smooth: TrainingCurve) -> None:
    short = replace(smooth, train={step: smooth.train[step] for step in (50, 100)}, val={7: ValEntry(0.1, 0.1, 0.1)})
    result = compare(smooth, short)
    assert result.sentence == "no deviation in steps 50 to 100: learning rate agrees"
    assert "the loss is not judged: too few common lines, 2 of the 5 needed" in result.notes
    assert "the mIoU is not judged: the logs have no validation at the same step" in result.notes


def test_no_common_step(smooth: TrainingCurve) -> None:
    early = replace(smooth, train={3: smooth.train[50]}, val={})
    with pytest.raises(InputError, match=r"covers the steps 3 to 3 and the published one 50 to 7950, so .*; train longer"):
        compare(smooth, early)


def test_the_table_is_aligned_and_small(smooth: TrainingCurve, tmp_path: Path) -> None:
    lines = table(smooth, run_with(tmp_path, miou_lower)).splitlines()
    assert lines[0].split() == ["step", "loss", "published", "acc_seg", "published", "lr", "published", "mIoU", "published"]
    assert len(lines) == 11
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].split() == ["8000", "-", "-", "-", "-", "-", "-", "66.78", "69.78"]
    assert any(line.split()[:3] == ["4000", "0.458", "0.458"] for line in lines), "interpolated at a validation"


def test_the_figure(smooth: TrainingCurve, tmp_path: Path) -> None:
    run = run_with(tmp_path, loss_above)
    figures.compared_curves(run, smooth, compare(smooth, run), tmp_path / "plots/comparison.png")
    log = tmp_path / "metrics.csv"
    log.write_text("step,lr,train/loss,train/acc_seg,val/mIoU\n50,0.01,2.5,0.3,\n100,0.005,1.5,0.5,\n100,,,,0.25\n")
    figures.curves(log, tmp_path / "plain.png")
    figures.curves(log, tmp_path / "overlay.png", smooth)
    grey = {}
    for name in ("plots/comparison", "plain", "overlay"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            colors = picture.convert("RGB").getcolors(1_000_000) or []
        grey[name] = sum(count for count, color in colors if color == (191, 191, 191))
    assert min(grey["plots/comparison"], grey["overlay"]) > grey["plain"] + 300, "the published lines"
