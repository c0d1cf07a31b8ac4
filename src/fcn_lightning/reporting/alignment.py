"""Two training logs at the same steps: the pairs that can be compared, and a table of some of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcn_lightning.zoo.logs import TrainingCurve

TABLE_STEPS = 10

Steps = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """One quantity of both logs at the same steps, which are the run's.

    Args:
        steps: ascending.
        ours: values of the run.
        theirs: published values.
    """

    steps: Steps
    ours: Values
    theirs: Values


def training_pairs(published: TrainingCurve, run: TrainingCurve, name: str, *, noisy: bool) -> Pairs:
    """Pair a quantity of the training lines up at the run's steps, inside the published range.

    Args:
        published: interpolated linearly where the run's step has no line.
        run: its values stay as they are.
        name: of a `TrainEntry`'s field.
        noisy: average a run that logs more often than the published one to lines that stand for as many steps, because the
            noise of a line depends on their number; a pair has the first step of its group.
    """
    steps, ours = _lines(run, name)
    theirs = _at(published, name, steps)
    inside = np.isfinite(theirs)
    group = max(1, round(_interval(published) / _interval(run))) if noisy else 1
    whole = int(inside.sum()) // group * group
    ours, theirs = (values[inside][:whole].reshape(-1, group).mean(1) for values in (ours, theirs))
    return Pairs(steps[inside][:whole:group], ours, theirs)


def common_steps(published: TrainingCurve, run: TrainingCurve) -> list[int]:
    """Return the run's steps that can be compared: of training lines inside the published range, and of validations of both."""
    return sorted({*training_pairs(published, run, "lr", noisy=False).steps.tolist(), *common_validations(published, run)})


def common_validations(published: TrainingCurve, run: TrainingCurve) -> list[int]:
    """Return the steps at which both logs have a validation."""
    return sorted(run.val.keys() & published.val.keys())


def table(published: TrainingCurve, run: TrainingCurve) -> str:
    """Lay out both logs side by side at a few steps: the common validations, then steps between them.

    Training values between two lines are interpolated in both; a dash stands where a log has no value.
    """
    shown = _spread(common_validations(published, run), TABLE_STEPS)
    others = [step for step in common_steps(published, run) if step not in shown]
    steps = sorted([*shown, *_spread(others, TABLE_STEPS - len(shown))])
    columns = [["step", *map(str, steps)]]
    for name, title, scale, decimals in (("loss", "loss", 1, 3), ("acc_seg", "acc_seg", 100, 1), ("lr", "lr", 1, 5)):
        for curve, head in ((run, title), (published, "published")):
            values = _at(curve, name, np.array(steps)) * scale
            columns.append([head, *("-" if np.isnan(value) else f"{value:.{decimals}f}" for value in values)])
    for curve, head in ((run, "mIoU"), (published, "published")):
        columns.append([head, *(f"{100 * curve.val[step].miou:.2f}" if step in curve.val else "-" for step in steps)])
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _spread(items: Sequence[int], number: int) -> list[int]:
    """Choose some items, evenly, the last one included."""
    number = min(number, len(items))
    return [items[-1 - position * (len(items) - 1) // max(1, number - 1)] for position in range(number)]


def _lines(curve: TrainingCurve, name: str) -> tuple[Steps, Values]:
    """Return steps and values of the training lines that have a quantity."""
    values = {step: getattr(entry, name) for step, entry in curve.train.items() if getattr(entry, name) is not None}
    return np.array(list(values), np.int64), np.array(list(values.values()), np.float64)


def _at(curve: TrainingCurve, name: str, steps: Steps) -> Values:
    """Interpolate a quantity of the training lines; NaN outside their range."""
    known, values = _lines(curve, name)
    if not len(known):
        return np.full(len(steps), np.nan)
    return np.interp(steps, known, values, left=np.nan, right=np.nan)


def _interval(curve: TrainingCurve) -> float:
    """Return the usual number of steps between two training lines."""
    return float(np.median(np.diff([0, *curve.train])))
