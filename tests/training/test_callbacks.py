"""The callbacks around the steps: averages, the last validation, the best checkpoint."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn

from fcn_lightning.training import callbacks, checkpoint
from fcn_lightning.training.task import SegmentationTask


class Logger:
    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append((step, metrics))


def trainer(**state: Any) -> pl.Trainer:
    return cast(pl.Trainer, SimpleNamespace(**state))


def test_the_training_log_averages_since_its_last_entry() -> None:
    logger, heard = Logger(), []
    log = callbacks.TrainingLog(2, [lambda step, entry: heard.append((step, entry))])
    module = cast(pl.LightningModule, None)
    group = {"lr": 0.5}
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    state = {"max_steps": 5, "loggers": [logger], "optimizers": [SimpleNamespace(param_groups=[group])], "strategy": strategy}
    log.on_train_start(trainer(**state), module)
    for step in range(1, 6):
        log.on_train_batch_start(trainer(**state), module, None, step)
        group["lr"] = 0.5 / step  # the scheduler moves on inside the step
        log.on_train_batch_end(trainer(**state, global_step=step), module, {"loss": torch.tensor(float(step))}, None, step)
    assert [(step, line["train/loss"]) for step, line in logger.lines] == [(2, 1.5), (4, 3.5), (5, 5.0)]
    assert [line["lr"] for _, line in logger.lines] == [0.5, 0.5 / 3, 0.5 / 4], "the rate that the logged step used"
    assert [step for step, _ in heard] == [2, 4, 5]
    assert all(0 <= entry["data_time"] <= entry["time"] for _, entry in heard)
    assert [entry["data_share"] for _, entry in heard] == [line["train/data_share"] for _, line in logger.lines]


def test_the_last_step_asks_for_a_validation() -> None:
    for step, stops in ((4, False), (5, True)):
        state = trainer(global_step=step, max_steps=5, should_stop=False)
        callbacks.LastStepValidation().on_train_batch_end(state, cast(pl.LightningModule, None))
        assert state.should_stop is stops


def test_best_keeps_the_weights_with_the_best_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = iter("abc")
    monkeypatch.setattr(checkpoint, "save", lambda _, path: path.write_text(next(saved)))
    keeper = callbacks.CheckpointKeeper(tmp_path / "checkpoints")
    state = trainer(state=SimpleNamespace(fn=TrainerFn.FITTING))
    task = SegmentationTask.__new__(SegmentationTask)
    torch.nn.Module.__init__(task)
    for miou in (0.2, 0.5, 0.4):
        task.scores = cast(Any, SimpleNamespace(miou=miou))
        keeper.on_validation_end(state, task)
    files = {path.name: path.read_text() for path in (tmp_path / "checkpoints").iterdir()}
    assert files == {"last.ckpt": "c", "best.ckpt": "b"}
    keeper.on_validation_end(trainer(state=SimpleNamespace(fn=TrainerFn.VALIDATING)), task)  # evaluate writes none
    assert next(saved, None) is None


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_text("old")

    class Failing:
        def save_checkpoint(self, target: Path) -> None:
            target.write_text("half")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        checkpoint.save(cast(pl.Trainer, Failing()), path)
    assert path.read_text() == "old"
