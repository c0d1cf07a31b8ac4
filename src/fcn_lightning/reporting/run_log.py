"""`log.jsonl`: the run's log with the keys and fractions of published logs, so that their tools read it."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from fcn_lightning.reporting.run_state import replace_text
from fcn_lightning.training.task import SegmentationTask

DECIMALS = 5  # as in published logs
KEYS = {
    "loss_decode": "decode.loss_seg",
    "acc_seg": "decode.acc_seg",
    "loss_aux": "aux.loss_seg",
    "acc_seg_aux": "aux.acc_seg",
    "loss": "loss",
    "time": "time",
}


class RunLog(Callback):
    """Write one JSON object per line: a listener of `TrainingLog`, and a callback for validations.

    Losses and scores are fractions, except `acc_seg`, which published logs give in percent.

    Args:
        path: file to write.
        steps_per_epoch: training images over global batch size.
        step: optimiser steps that a continued run has done; lines of later ones, and one that was cut off, are taken back.
        validated: step of the last validation that it has done, of which the same holds.

    Source: open-mmlab/mmcv, `TextLoggerHook` of release 1.2.
    """

    def __init__(self, path: Path, steps_per_epoch: float, step: int = 0, validated: int = 0) -> None:
        """Write nothing yet."""
        self.path = path
        self.steps_per_epoch = steps_per_epoch
        self._lr = 0.0
        if path.is_file():
            _rewind(path, {"train": step, "val": validated})

    def __call__(self, step: int, entry: dict[str, float]) -> None:
        """Write a training line."""
        self._lr = entry["lr"]
        line: dict[str, Any] = {"mode": "train", "epoch": self._epoch(step), "iter": step, "lr": entry["lr"]}
        if torch.cuda.is_available():
            line["memory"] = torch.cuda.max_memory_allocated() // 2**20
        line["data_time"] = entry["data_time"]
        for key, name in KEYS.items():
            line[name] = entry[key] * (100 if key.startswith("acc_seg") else 1)
        self._write(line)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a validation line."""
        if not isinstance(pl_module, SegmentationTask) or pl_module.scores is None:
            return
        step, result = trainer.global_step, pl_module.scores
        line: dict[str, Any] = {"mode": "val", "epoch": self._epoch(step), "iter": step, "lr": self._lr}
        line |= {"mIoU": result.miou, "mAcc": result.macc, "aAcc": result.aacc}
        for name, iou, acc in zip(pl_module.card.labels.classes, result.iou.tolist(), result.acc.tolist(), strict=True):
            line |= {f"IoU.{name}": iou, f"Acc.{name}": acc}
        self._write(line)

    def _epoch(self, step: int) -> int:
        return int((step - 1) / self.steps_per_epoch) + 1

    def _write(self, line: dict[str, Any]) -> None:
        rounded = {key: round(value, DECIMALS) if isinstance(value, float) else value for key, value in line.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rounded) + "\n")


def _rewind(path: Path, steps: dict[str, int]) -> None:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            if entry["iter"] <= steps[entry["mode"]]:
                kept.append(line + "\n")
    replace_text(path, "".join(kept))
