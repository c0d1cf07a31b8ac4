"""Where a run first leaves a published training log, in words."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fcn_lightning import InputError
from fcn_lightning.reporting.alignment import Pairs, Values, common_steps, common_validations, training_pairs
from fcn_lightning.zoo.logs import TrainingCurve

# Published logs round to five decimals, and so does a run's own: two equal rates can be one unit of the last place apart.
LR_ROUNDING = 1e-5
# Beyond rounding: the schedules of releases 0.x and 1.x, over i / N and i / (N - 1), stay far within this.
LR_RELATIVE = 0.01
# Means of good runs differ by a few percent; a wrong loss, weight or data path shows beyond this.
LOSS_RELATIVE = 0.10
# Likewise; the accuracy of training crops moves less than the loss.
ACC_POINTS = 0.03
# Retraining varies by 1 to 1.5 points at the end of a run, where the published figure is taken.
MIOU_POINTS = 0.015
# Single training lines of good runs differ by tens of percent, so means over windows are judged: a short one finds a
# large deviation soon, a long one also finds what is just beyond the threshold.
WINDOWS = (20, 80)
# A mean must also be this many standard errors off, or some of the many windows of a long run go astray by chance: of 1000
# simulated pairs of good runs with 800 lines and 10 to 20 % of noise per line, 2 to 3 % do; with four, 20 % did.
STANDARD_ERRORS = 5
# Fewer lines do not tell how noisy they are.
LEAST_LINES = 5

NAMES = {"loss": "loss", "loss_decode": "decode loss", "acc_seg": "accuracy"}  # noisy quantities of training


@dataclass(frozen=True)
class FirstDeviation:
    """Where a quantity begins to deviate, and that in words."""

    step: int
    words: str


@dataclass(frozen=True)
class Comparison:
    """What comparing a run with a published log found.

    Args:
        first: step that was compared.
        last: step that was compared.
        judged: names of the quantities, at least one.
        deviations: the first one of each quantity that has one, in the order of steps.
        notes: what could not be judged and why, one sentence each.
    """

    first: int
    last: int
    judged: tuple[str, ...]
    deviations: tuple[FirstDeviation, ...]
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Say all deviations, or that there is none."""
        if self.deviations:
            return "; ".join(deviation.words for deviation in self.deviations)
        *others, name = self.judged
        agree = f"{', '.join(others)} and {name} agree" if others else f"{name} agrees"
        return f"no deviation in steps {self.first} to {self.last}: {agree}"


def compare(published: TrainingCurve, run: TrainingCurve) -> Comparison:
    """Find the first deviation of each quantity.

    Training lines are compared at the run's steps, with the published lines interpolated linearly where they have other steps,
    and only inside their range; validations only at equal steps.

    Args:
        published: log to be reproduced.
        run: log to be judged.

    Raises:
        InputError: the logs have no step in common.
    """
    first, last = _common_range(published, run)
    found: dict[str, FirstDeviation | None] = {}
    notes = []
    rates = training_pairs(published, run, "lr", noisy=False)
    if len(rates.steps):
        found["learning rate"] = _lr_deviation(rates)
    for name, title in NAMES.items():
        pairs = training_pairs(published, run, name, noisy=True)
        if name == "acc_seg" and run.acc_counts_ignored != published.acc_counts_ignored:
            notes.append(f"the {title} is not judged: one log counts ignored pixels as wrong, the other leaves them out")
        elif len(pairs.steps) < LEAST_LINES and np.isfinite(pairs.ours).all():
            notes.append(f"the {title} is not judged: too few common lines, {len(pairs.steps)} of the {LEAST_LINES} needed")
        else:
            found[title] = _noisy_deviation(name, pairs)
    if common_validations(published, run):
        found["mIoU"] = _miou_deviation(published, run)
    else:
        notes.append("the mIoU is not judged: the logs have no validation at the same step")
    deviations = sorted((deviation for deviation in found.values() if deviation), key=lambda deviation: deviation.step)
    return Comparison(first, last, tuple(found), tuple(deviations), tuple(notes))


def _common_range(published: TrainingCurve, run: TrainingCurve) -> tuple[int, int]:
    common = common_steps(published, run)
    if common:
        return common[0], common[-1]
    ours, theirs = (f"{min(curve.train)} to {max(curve.train)}" for curve in (run, published))
    raise InputError(
        f"the run's log covers the steps {ours} and the published one {theirs}, so there is nothing to compare; "
        "train longer, or give the log of a run that covers the same steps"
    )


def _lr_deviation(pairs: Pairs) -> FirstDeviation | None:
    off = np.abs(pairs.ours - pairs.theirs) > LR_ROUNDING + LR_RELATIVE * np.abs(pairs.theirs)
    if not off.any():
        return None
    first = int(off.argmax())
    step = int(pairs.steps[first])
    where = f"from step {step} on" if off[first:].all() else f"at step {step}"
    return FirstDeviation(step, f"{where} the learning rate differs: {pairs.ours[first]:.5g} instead of {pairs.theirs[first]:.5g}")


def _noisy_deviation(name: str, pairs: Pairs) -> FirstDeviation | None:
    """Judge means of a quantity; a value that is no number deviates at once."""
    broken = ~np.isfinite(pairs.ours)
    end = int(broken.argmax()) if broken.any() else len(broken)
    limits = np.full(end, ACC_POINTS) if name == "acc_seg" else LOSS_RELATIVE * np.abs(pairs.theirs[:end])
    found = _departure(pairs.ours[:end] - pairs.theirs[:end], limits)
    if found is not None:
        start, stop = found
        ours, theirs = pairs.ours[start:stop].mean(), pairs.theirs[start:stop].mean()
        return _describe(name, int(pairs.steps[start]), ours, theirs, stop - start)
    if broken.any():
        step = int(pairs.steps[end])
        return FirstDeviation(step, f"at step {step} the {NAMES[name]} is no number any more ({pairs.ours[end]})")
    return None


def _describe(name: str, step: int, ours: float, theirs: float, lines: int) -> FirstDeviation:
    if name == "acc_seg":
        size, values = f"{100 * abs(ours - theirs):.1f} points", f"{100 * ours:.1f} instead of {100 * theirs:.1f}"
    else:
        size, values = f"{100 * abs(ours / theirs - 1):.0f} %", f"{ours:.3f} instead of {theirs:.3f}"
    means = f", means of {lines} lines" if lines > 1 else ""
    side = "above" if ours > theirs else "below"
    return FirstDeviation(step, f"at step {step} the {NAMES[name]} is {size} {side} ({values}{means})")


def _departure(differences: Values, limits: Values) -> tuple[int, int] | None:
    """Find the first stretch of lines in which differences go beyond what is allowed and what their scatter explains.

    Args:
        differences: of the lines, ours less theirs.
        limits: how large a mean of such differences may be.

    Returns:
        Where it begins, and the end of the window that showed it.
    """
    hits = []
    for size in {min(window, len(differences)) for window in WINDOWS if len(differences) >= LEAST_LINES}:
        windows = sliding_window_view(differences, size)
        means, errors = np.abs(windows.mean(1)), windows.std(1, ddof=1) / size**0.5
        off = (means > sliding_window_view(limits, size).mean(1)) & (means > STANDARD_ERRORS * errors)
        hits += [(int(off.argmax()), size)] if off.any() else []
    if not hits:
        return None
    start, size = min(hits)
    # The window may begin before the deviation: its likeliest beginning, if lines before it agree and those from it on are off
    # by one amount and noise, makes the square of the sum over the number of lines largest.
    sums = differences[start : start + size][::-1].cumsum()[::-1]
    return start + int((sums**2 / np.arange(size, 0, -1)).argmax()), start + size


def _miou_deviation(published: TrainingCurve, run: TrainingCurve) -> FirstDeviation | None:
    """Judge validations: the last published one as it stands, those before against the span with their neighbours.

    While the learning rate is high, mIoU jumps by points from one validation to the next, in good runs too.
    """
    steps = sorted(published.val)
    for position, step in enumerate(steps):
        if step not in run.val:
            continue
        ours, theirs = run.val[step].miou, published.val[step].miou
        last = position == len(steps) - 1
        span = [theirs] if last else [published.val[near].miou for near in steps[max(0, position - 1) : position + 2]]
        if not min(span) - MIOU_POINTS <= ours <= max(span) + MIOU_POINTS:
            side = "above" if ours > theirs else "below"
            values = f"{100 * ours:.2f} instead of {100 * theirs:.2f}"
            return FirstDeviation(step, f"at step {step} the mIoU is {100 * abs(ours - theirs):.1f} points {side} ({values})")
    return None
