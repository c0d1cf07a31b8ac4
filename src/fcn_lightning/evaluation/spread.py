"""Mean and standard deviation of repeated runs."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """What n runs have in common.

    Args:
        mean: of the values; NaN without values.
        std: sample standard deviation, with n - 1 in the denominator; NaN for fewer than two values, which have none.
        runs: values that are numbers.
    """

    mean: float
    std: float
    runs: int


def spread(values: Iterable[float]) -> Spread:
    """Summarise one quantity of several runs, such as their mIoU.

    Args:
        values: one per run. NaN, as of a class that never occurs, is left out: compare `runs` with the number of runs.
    """
    numbers = [value for value in values if not math.isnan(value)]
    mean = statistics.fmean(numbers) if numbers else math.nan
    return Spread(mean, statistics.stdev(numbers) if len(numbers) > 1 else math.nan, len(numbers))
