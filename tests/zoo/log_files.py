"""Training logs in the published formats, drawn from one smooth curve: what tests read and compare."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS, INTERVAL, VAL_INTERVAL = 8000, 50, 1000

Values = dict[str, float]
Plant = Callable[[int, Values], None]


def nothing(step: int, values: Values) -> None:
    """Plant no deviation."""


def values_at(step: int, plant: Plant, noise: float, seed: int, last: int = STEPS) -> Values:
    """Losses, accuracies and scores as fractions, and the rate of step - 1 in the form of release 0.x."""
    factor = 1 + noise * random.Random(seed * 1_000_003 + step).gauss(0, 1)
    values = {
        "loss_decode": (0.3 + 1.7 * math.exp(-step / 700)) * factor,
        "loss_aux": (0.15 + 0.7 * math.exp(-step / 700)) * factor,
        "acc_seg": 0.85 - 0.4 * math.exp(-step / 700),
        "acc_seg_aux": 0.82 - 0.4 * math.exp(-step / 700),
        "lr": (0.01 - 1e-4) * (1 - (step - 1) / last) ** 0.9 + 1e-4,
        "mIoU": 0.7 - 0.45 * math.exp(-step / 1500),
        "mAcc": 0.8 - 0.45 * math.exp(-step / 1500),
        "aAcc": 0.93 - 0.3 * math.exp(-step / 1500),
    }
    plant(step, values)
    return values


def write_v0(
    path: Path, plant: Plant = nothing, *, interval: int = INTERVAL, noise: float = 0, seed: int = 0, steps: int = STEPS
) -> Path:
    """Write a `*.log.json` of release 0.x: metadata first, five decimals, no training line where a validation is."""
    lines: list[dict[str, Any]] = [{"env_info": "sys.platform: linux", "seed": None, "exp_name": "fcn.py"}]
    for step in range(1, steps + 1):
        values = values_at(step, plant, noise, seed)
        head = {"epoch": step // 372 + 1, "iter": step, "lr": values["lr"]}
        if step % VAL_INTERVAL == 0:
            lines.append({"mode": "val"} | head | {key: values[key] for key in ("mIoU", "mAcc", "aAcc")})
        elif step % interval == 0:
            lines.append({"mode": "train"} | head | {"memory": 5690, "data_time": 0.01} | _heads(values, "loss_seg"))
    return _write(path, lines, decimals=5)


def write_v1(path: Path, plant: Plant = nothing, *, interval: int = INTERVAL, noise: float = 0, seed: int = 0) -> Path:
    """Write a `vis_data/<stamp>.json` of release 1.x: no mode, not rounded, validations in percent beside a training line."""
    lines: list[dict[str, Any]] = []
    for step in range(1, STEPS + 1):
        values = values_at(step, plant, noise, seed)
        if step % interval == 0:
            lines.append({"lr": values["lr"], "data_time": 0.01} | _heads(values, "loss_ce"))
            lines[-1] |= {"iter": step, "memory": 5690, "step": step}
        if step % VAL_INTERVAL == 0:
            scores = {key: round(100 * values[key], 2) for key in ("aAcc", "mIoU", "mAcc")}
            lines.append(scores | {"data_time": 0.01, "time": 0.2, "step": step})
    return _write(path, lines, decimals=None)


def _heads(values: Values, loss: str) -> Values:
    content = {f"decode.{loss}": values["loss_decode"], "decode.acc_seg": 100 * values["acc_seg"]}
    content |= {f"aux.{loss}": values["loss_aux"], "aux.acc_seg": 100 * values["acc_seg_aux"]}
    return content | {"loss": values["loss_decode"] + values["loss_aux"], "time": 0.35}


def _write(path: Path, lines: list[dict[str, Any]], decimals: int | None) -> Path:
    if decimals is not None:
        lines = [
            {key: round(value, decimals) if isinstance(value, float) else value for key, value in line.items()} for line in lines
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
