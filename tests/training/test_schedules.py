"""The poly schedule against the published formula's values."""

from typing import Any

import pytest
import torch

from fcn_lightning import InputError
from fcn_lightning.training.schedules import PolySchedule, poly_lr


def test_golden_rates(golden: dict[str, Any]) -> None:
    for case in golden["poly_lr"]:
        schedule = PolySchedule(case["max_iters"], 1000, 0.9, 1e-4)
        for row in case["rows"]:
            assert schedule.lr(row["iteration"], case["base_lr"]) == pytest.approx(row["v0"], rel=1e-13)


def test_the_scheduler_sets_the_rate_before_each_step() -> None:
    schedule = PolySchedule(10, 5, 0.9, 1e-4)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.004)
    scheduler = poly_lr(optimizer, schedule)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([(0.004 - 1e-4) * (1 - i / 10) ** 0.9 + 1e-4 for i in range(10)], rel=1e-13)
    assert rates[-1] > optimizer.param_groups[0]["lr"] == pytest.approx(1e-4, rel=1e-12), "the last step is above the floor"


def test_nonsense_is_refused() -> None:
    with pytest.raises(InputError, match="max_steps=0"):
        PolySchedule(0, 1, 0.9, 1e-4)
