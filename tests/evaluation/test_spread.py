"""Mean and standard deviation of repeated runs."""

import math

import pytest

from fcn_lightning.evaluation.spread import spread

NAN = math.nan


@pytest.mark.parametrize(
    ("values", "mean", "std", "runs"),
    [
        ([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 5.0, math.sqrt(32 / 7), 8),
        ([0.5, NAN, 0.7], 0.6, math.sqrt(0.02), 2),
        ([0.4], 0.4, NAN, 1),
        ([NAN, 0.4], 0.4, NAN, 1),
        ([NAN], NAN, NAN, 0),
        ([], NAN, NAN, 0),
        ([0.1, 0.1, 0.1], 0.1, 0.0, 3),
    ],
)
def test_known_values(values: list[float], mean: float, std: float, runs: int) -> None:
    result = spread(values)
    assert (result.mean, result.std) == pytest.approx((mean, std), nan_ok=True, abs=1e-12)
    assert result.runs == runs
