"""Training logs in one form: those of open-mmlab/mmsegmentation 0.x ("v0") and 1.x, and a run's own `log.jsonl`."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from fcn_lightning import InputError

KINDS = "<stamp>.log.json of release 0.x, vis_data/<stamp>.json of release 1.x, or a run's log.jsonl"
MAX_BYTES = 1 << 28  # the longest published log has 3 MB
MAX_NUMBER = 1 << 62


@dataclass(frozen=True)
class TrainEntry:
    """A line of training: means over the steps since the line before.

    Args:
        loss: of all heads.
        lr: learning rate of the step.
        loss_decode: of the main head.
        loss_aux: of the auxiliary head, already weighted.
        acc_seg: share of right pixels in [0, 1], main head.
        acc_seg_aux: the same of the auxiliary head.
        memory: MiB on the GPU.
        time: seconds per step.
    """

    loss: float
    lr: float
    loss_decode: float | None = None
    loss_aux: float | None = None
    acc_seg: float | None = None
    acc_seg_aux: float | None = None
    memory: float | None = None
    time: float | None = None


@dataclass(frozen=True)
class ValEntry:
    """A validation; fractions in [0, 1]."""

    miou: float
    macc: float
    aacc: float


@dataclass(frozen=True)
class TrainingCurve:
    """What a training log says, whichever release wrote it.

    Args:
        format: of the file; a run's own log has the form of "v0".
        acc_counts_ignored: whether `acc_seg` counts ignored pixels as wrong, as the published v0 logs and this package do; later
            releases leave them out, and the two are not comparable.
        train: step -> entry, ascending; steps count from 1.
        val: step -> validation, ascending.
    """

    format: Literal["v0", "1.x"]
    acc_counts_ignored: bool
    train: Mapping[int, TrainEntry]
    val: Mapping[int, ValEntry]


def read_log(path: Path) -> TrainingCurve:
    """Read a training log.

    Of a step that occurs twice, as in resumed logs, the later line counts. A last line that was cut off is left out.

    Args:
        path: file with one JSON object per line.

    Raises:
        InputError: there is no such file, or it is no training log.
    """
    lines = list(_lines(path))
    v0 = any("mode" in line for _, line in lines)
    train: dict[int, TrainEntry] = {}
    validations: list[tuple[int | None, int, ValEntry]] = []  # the training step before, the step it claims, the scores
    before: int | None = None
    for number, line in lines:
        where = f"{path} line {number}"
        if "mIoU" in line:  # some v0 logs call this line "train" too
            validations.append((before, _step(line, where), _val_entry(line, where, 1 if v0 else 100)))
        elif line.get("mode") == "train" or ("mode" not in line and "loss" in line):
            before = _step(line, where)
            train[before] = _train_entry(line, where)
    if not train:
        raise InputError(f"{path} holds no training line; give a training log: {KINDS}")
    if v0:
        validations = _placed(validations, train)
    return TrainingCurve(
        format="v0" if v0 else "1.x",
        # The later loss key came with the later accuracy.
        acc_counts_ignored=v0 and not any("decode.loss_ce" in line for _, line in lines),
        train=dict(sorted(train.items())),
        val=dict(sorted({step: entry for _, step, entry in validations}.items())),
    )


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and object of each line that is not blank."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; give the log file: {KINDS}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a training log: {KINDS}") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} has more than {MAX_BYTES:,} bytes, and is no training log; give {KINDS}")
    if b"\0" in content:
        raise InputError(f"{path} is binary and no training log; give {KINDS}")
    texts = [line for line in enumerate(content.decode("utf-8-sig", errors="replace").split("\n"), start=1) if line[1].strip()]
    for number, text in texts:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
            if number == texts[-1][0]:  # the run was stopped while it wrote
                return
        if not isinstance(line, dict):
            raise InputError(f"{path} line {number} is no JSON object; remove that line, or give a training log: {KINDS}")
        yield number, line


def _train_entry(line: dict[str, Any], where: str) -> TrainEntry:
    loss_key = "loss_ce" if "decode.loss_ce" in line else "loss_seg"
    return TrainEntry(
        loss=_required(line, "loss", where),
        lr=_required(line, "lr", where),
        loss_decode=_number(line, f"decode.{loss_key}", where),
        loss_aux=_number(line, f"aux.{loss_key}", where),
        acc_seg=_number(line, "decode.acc_seg", where, 100),
        acc_seg_aux=_number(line, "aux.acc_seg", where, 100),
        memory=_number(line, "memory", where),
        time=_number(line, "time", where),
    )


def _val_entry(line: dict[str, Any], where: str, scale: float) -> ValEntry:
    miou, macc, aacc = (_required(line, key, where, scale) for key in ("mIoU", "mAcc", "aAcc"))
    return ValEntry(miou, macc, aacc)


def _step(line: dict[str, Any], where: str) -> int:
    """Return the step: `step` in 1.x, `iter` in v0."""
    key = "step" if "step" in line else "iter"
    step = _required(line, key, where)
    if not float(step).is_integer():
        raise InputError(f"{where}: {key} is {step}, and a whole number belongs there; remove that line, or give {KINDS}")
    return int(step)


def _required(line: dict[str, Any], key: str, where: str, scale: float = 1) -> float:
    value = _number(line, key, where, scale)
    if value is None:
        raise InputError(f"{where} has no {key}, which every such line of a training log has; remove that line, or give {KINDS}")
    return value


def _number(line: dict[str, Any], key: str, where: str, scale: float = 1) -> float | None:
    value = line.get(key)
    if value is None:
        return None
    # A whole number may have thousands of digits in JSON, and no float is that large.
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > MAX_NUMBER):
        raise InputError(f"{where}: {key} is {value!r:.80}, and a number belongs there; remove that line, or give {KINDS}")
    return value / scale


def _placed(
    validations: list[tuple[int | None, int, ValEntry]], train: Mapping[int, TrainEntry]
) -> list[tuple[int | None, int, ValEntry]]:
    """Give validations their step where `iter` holds the number of validation images, as in later releases of 0.x.

    A validation takes the place of the training line that was due at its step; where that line is there all the same, it
    stands right before.
    """
    distances = Counter(step - earlier for earlier, step in pairwise(train) if step > earlier)
    interval = distances.most_common(1)[0][0] if distances else next(iter(train))

    def misplaced(before: int | None, step: int) -> bool:
        return before is not None and not before <= step <= before + interval

    line_is_there = any(misplaced(before, step) and (before or 0) + interval in train for before, step, _ in validations)
    delay = 0 if line_is_there else interval
    return [
        (before, before + delay if before is not None and misplaced(before, step) else step, entry)
        for before, step, entry in validations
    ]
