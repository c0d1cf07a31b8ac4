"""The callbacks around the steps: averages, random numbers, which steps are validated."""

from types import SimpleNamespace
from typing import Any, cast

import pytorch_lightning as pl
import torch

from fcn_lightning.training import callbacks
from fcn_lightning.training.schedules import PolySchedule


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
    strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=lambda tensor, reduce_op: tensor)
    state = {
        "max_steps": 5,
        "accumulate_grad_batches": 1,
        "loggers": [logger],
        "optimizers": [SimpleNamespace(param_groups=[group])],
        "strategy": strategy,
    }
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


def test_accumulated_parts_are_one_step() -> None:
    heard: list[tuple[int, dict[str, float]]] = []
    log = callbacks.TrainingLog(1, [lambda step, entry: heard.append((step, entry))])
    module = cast(pl.LightningModule, None)
    strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=lambda tensor, reduce_op: tensor)
    optimizers = [SimpleNamespace(param_groups=[{"lr": 0.5}])]
    state = {"max_steps": 2, "accumulate_grad_batches": 2, "loggers": [], "optimizers": optimizers, "strategy": strategy}
    log.on_train_start(trainer(**state), module)
    for batch, loss in enumerate((0.5, 1.5, float("nan"), 2.5)):  # as Lightning hands them on: divided by the parts
        log.on_train_batch_start(trainer(**state), module, None, batch)
        log.on_train_batch_end(trainer(**state, global_step=(batch + 1) // 2), module, {"loss": torch.tensor(loss)}, None, batch)
    assert [(step, entry["loss"]) for step, entry in heard] == [(1, 2.0), (2, 5.0)], "a loss that is no number has no say"


def test_random_numbers_follow_from_seed_step_part_and_rank() -> None:
    def draw(seed: int, step: int, batch: int, rank: int) -> float:
        state = trainer(global_step=step, accumulate_grad_batches=2, global_rank=rank)
        callbacks.StepSeed(seed).on_train_batch_start(state, cast(pl.LightningModule, None), None, batch)
        return torch.rand(()).item()

    drawn = [draw(*place) for place in ((0, 5, 0, 0), (1, 5, 0, 0), (0, 6, 0, 0), (0, 5, 1, 0), (0, 5, 0, 1))]
    assert len(set(drawn)) == 5
    torch.rand(7)
    assert draw(0, 5, 0, 0) == drawn[0], "whatever was drawn before"
    assert draw(0, 5, 4, 0) == drawn[0], "batches are counted from a resume on, parts are not"


def test_which_steps_are_validated() -> None:
    validation = callbacks.Validation(PolySchedule(max_steps=10, val_interval=4, power=0.9, min_lr=0.0))
    assert [step for step in range(12) if validation.is_due(step)] == [4, 8, 10]
