"""Training logs of all three writers are read alike, and what is no log is refused in one sentence."""

import gzip
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from fcn_lightning import InputError
from fcn_lightning.zoo import logs
from fcn_lightning.zoo.logs import TrainEntry, ValEntry, read_log
from tests.zoo.log_files import STEPS, VAL_INTERVAL, write_v0, write_v1

TRAIN = {"mode": "train", "epoch": 1, "iter": 50, "lr": 0.00999, "loss": 2.5}
VAL = {"mode": "val", "epoch": 1, "iter": 100, "lr": 0.00998, "mIoU": 0.5, "mAcc": 0.6, "aAcc": 0.9}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_a_published_v0_log(tmp_path: Path) -> None:
    # Keys and order of the release's own files: of mmcv 1.2, and of early 2020.
    path = write(
        tmp_path / "20200604.log.json",
        {"env_info": "sys.platform: linux\nPython: 3.7.7", "seed": None, "exp_name": "fcn_r50-d8_512x1024_40k_cityscapes.py"},
        '{"mode": "train", "epoch": 1, "iter": 50, "lr": 0.00999, "memory": 5690, "data_time": 0.00757, "decode.loss_seg": 1.5481, '
        '"decode.acc_seg": 61.02535, "aux.loss_seg": 0.64114, "aux.acc_seg": 58.5, "loss": 2.18924, "time": 0.34}',
        '{"mode": "train", "epoch": 1, "iter": 100, "lr": 0.00998, "time": 0.35, "data_time": 0.01, "memory": 5690, '
        '"decode.loss_seg": 1.1, "decode.acc_seg": 70.0, "aux.loss_seg": 0.5, "aux.acc_seg": 69.0, "loss": 1.6}',
        '{"mode": "val", "epoch": 2, "iter": 150, "lr": 0.00997, "mIoU": 0.72246, "mAcc": 0.80001, "aAcc": 0.95}',
    )
    curve = read_log(path)
    assert (curve.format, curve.acc_counts_ignored) == ("v0", True)
    assert list(curve.train) == [50, 100]
    first = curve.train[50]
    assert (first.loss, first.loss_decode, first.loss_aux, first.lr) == (2.18924, 1.5481, 0.64114, 0.00999)
    assert first.acc_seg == pytest.approx(0.6102535)
    assert first.acc_seg_aux == pytest.approx(0.585)
    assert (first.memory, first.time) == (5690, 0.34)
    assert curve.val == {150: ValEntry(0.72246, 0.80001, 0.95)}


def test_a_1x_log(tmp_path: Path) -> None:
    path = write(
        tmp_path / "20230101.json",
        '{"lr": 0.009989084308262066, "data_time": 0.01, "loss": 2.1, "decode.loss_ce": 1.5, "decode.acc_seg": 61.0, '
        '"aux.loss_ce": 0.6, "aux.acc_seg": 58.0, "time": 0.3, "iter": 50, "memory": 5690, "step": 50}',
        '{"aAcc": 95.12, "mIoU": 72.25, "mAcc": 80.1, "data_time": 0.01, "time": 0.2, "step": 50}',
    )
    curve = read_log(path)
    assert (curve.format, curve.acc_counts_ignored) == ("1.x", False), "labelled pixels only: not comparable with ours"
    assert curve.train[50] == TrainEntry(2.1, 0.009989084308262066, 1.5, 0.6, 0.61, 0.58, 5690, 0.3)
    assert list(curve.val) == [50]
    assert asdict(curve.val[50]) == pytest.approx({"miou": 0.7225, "macc": 0.801, "aacc": 0.9512})


def test_both_formats_give_the_same_curve(tmp_path: Path) -> None:
    v0, v1 = read_log(write_v0(tmp_path / "a.log.json")), read_log(write_v1(tmp_path / "b.json"))
    assert v0.val.keys() == v1.val.keys() == set(range(VAL_INTERVAL, STEPS + 1, VAL_INTERVAL))
    assert v0.train.keys() == v1.train.keys() - v1.val.keys(), "v0 has no training line where a validation is"
    for step, entry in v0.train.items():
        assert asdict(entry) == pytest.approx(asdict(v1.train[step]), abs=6e-6)
    for step, scores in v0.val.items():
        assert asdict(scores) == pytest.approx(asdict(v1.val[step]), abs=6e-5)


def test_order_of_keys_blank_lines_and_a_cut_end_do_not_matter(tmp_path: Path) -> None:
    turned = {key: TRAIN[key] for key in reversed(TRAIN)}
    path = write(tmp_path / "log.jsonl", "", turned, "  ", VAL, json.dumps(TRAIN | {"iter": 150})[:-9])
    curve = read_log(path)
    assert (list(curve.train), list(curve.val)) == ([50], [100])
    assert curve.train[50] == TrainEntry(loss=2.5, lr=0.00999)


def test_of_a_resumed_log_the_later_line_counts(tmp_path: Path) -> None:
    lines = [TRAIN | {"iter": step, "loss": 1.0} for step in (50, 100, 150)]
    again = [TRAIN | {"iter": step, "loss": 2.0} for step in (100, 150, 200)]
    late = VAL | {"iter": 250}
    path = write(tmp_path / "log.jsonl", {"seed": 0}, *lines, {"seed": 0}, *again, late, late | {"mIoU": 0.7})
    curve = read_log(path)
    assert {step: entry.loss for step, entry in curve.train.items()} == {50: 1, 100: 2, 150: 2, 200: 2}
    assert {step: entry.miou for step, entry in curve.val.items()} == {250: 0.7}


@pytest.mark.parametrize("present", [False, True], ids=["no training line there", "a training line there"])
def test_validations_that_name_the_number_of_images_as_their_step(tmp_path: Path, present: bool) -> None:
    # Releases from early 2021 on, also with "mode": "train" in the validation's line.
    lines: list[dict[str, object]] = [{"exp_name": "x"}]
    for step in range(50, 751, 50):
        validates = step % 200 == 0 or step == 750
        lines += [TRAIN | {"iter": step}] if present or not validates else []
        lines += [VAL | {"mode": "train" if step == 200 else "val", "iter": 1334, "mIoU": step / 1000}] if validates else []
    curve = read_log(write(tmp_path / "x.log.json", *lines))
    assert {step: entry.miou for step, entry in curve.val.items()} == {200: 0.2, 400: 0.4, 600: 0.6, 750: 0.75}


def test_a_validation_before_the_first_training_line_stays(tmp_path: Path) -> None:
    curve = read_log(write(tmp_path / "log.jsonl", VAL | {"iter": 2}, TRAIN | {"iter": 3}, VAL | {"iter": 3}))
    assert (list(curve.train), list(curve.val)) == ([3], [2, 3])


def test_the_later_loss_key_means_the_later_accuracy(tmp_path: Path) -> None:
    curve = read_log(write(tmp_path / "x.log.json", TRAIN | {"decode.loss_ce": 1.0, "decode.acc_seg": 50.0}))
    assert (curve.format, curve.acc_counts_ignored, curve.train[50].loss_decode) == ("v0", False, 1.0)


def test_the_log_of_a_run(trained: Path) -> None:
    curve = read_log(trained / "log.jsonl")
    assert (curve.format, curve.acc_counts_ignored) == ("v0", True)
    assert (list(curve.train), list(curve.val)) == ([3], [2, 3])
    entry = curve.train[3]
    assert entry.loss_decode is not None
    assert entry.loss_aux is not None
    assert entry.loss == pytest.approx(entry.loss_decode + entry.loss_aux, abs=2e-5)
    assert 0 <= (entry.acc_seg or 2) <= 1


BROKEN = {
    "binary": (gzip.compress(b"x" * 100, mtime=0), "is binary and no training log"),
    "empty": (b"", "holds no training line; give a training log"),
    "text": (b"step 50 loss 1\nstep 100 loss 1\n", "line 1 is no JSON object"),
    "another JSON": (b'{"images": [], "categories": []}', "holds no training line"),
    "list": (b"[1, 2]\n", "line 1 is no JSON object"),
    "only a validation": (json.dumps(VAL).encode(), "holds no training line"),
    "broken in the middle": (f"{json.dumps(TRAIN)}\n{json.dumps(TRAIN)[:20]}\n{json.dumps(VAL)}".encode(), "line 2 is no JSON"),
    "no rate": (json.dumps({"mode": "train", "iter": 1, "loss": 1.0}).encode(), "line 1 has no lr"),
    "text for a number": (json.dumps(TRAIN | {"loss": "low"}).encode(), "line 1: loss is 'low', and a number belongs there"),
    "a number beyond any float": (json.dumps(TRAIN | {"loss": 10**400}).encode(), "line 1: loss is 1000"),
    "a step of five thousand digits": (
        json.dumps(TRAIN).replace("50", "5" * 5000).encode() + b"\n{}\n",
        "line 1 is no JSON object",
    ),
    "an endless step": (json.dumps(TRAIN | {"iter": float("inf")}).encode(), "line 1: iter is inf, and a whole number"),
    "lists in lists": (b"[" * 100_000 + b"\n{}\n", "line 1 is no JSON object"),
    "half a step": (json.dumps(TRAIN | {"iter": 1.5}).encode(), "line 1: iter is 1.5, and a whole number belongs there"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_what_is_no_log_is_refused(tmp_path: Path, mistake: str) -> None:
    content, words = BROKEN[mistake]
    path = tmp_path / "x.log"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_log(path)
    assert str(path) in str(error.value)
    assert words in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.json cannot be read \(No such file"):
        read_log(tmp_path / "no.json")
    with pytest.raises(InputError, match=r"is a folder; give the log file"):
        read_log(tmp_path)


def test_a_log_of_any_length_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.log", TRAIN, VAL)
    monkeypatch.setattr(logs, "MAX_BYTES", path.stat().st_size)
    assert list(read_log(path).train) == [50]
    monkeypatch.setattr(logs, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(InputError, match=r"x\.log has more than \d+ bytes, and is no training log"):
        read_log(path)
