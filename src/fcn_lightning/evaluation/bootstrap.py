"""Paired bootstrap over images: whether two networks differ by more than the choice of validation images explains.

Letters in shapes: N images, K classes, R resamples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcn_lightning import InputError
from fcn_lightning.evaluation.image_counts import Counts

CONFIDENCE = 0.95
LEAST_RESAMPLES = 100  # fewer leave the ends of the interval to two values each
CELLS = 2**20  # of the table of weights that is in memory at once: 8 MiB
TIE = 1e-9  # relative; differences that are equal but for rounding count as equal

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """One score of two networks a and b; fractions in [0, 1], NaN where the score does not exist.

    Args:
        a: score of a.
        b: score of b.
        low: lower end of the interval of b - a.
        high: its upper end.
    """

    a: float
    b: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """Return b - a."""
        return self.b - self.a


@dataclass(frozen=True)
class PairedBootstrap:
    """What resampling the images says about two networks.

    Args:
        miou: the mIoU of the data set.
        iou: one per class.
        p_value: two-sided, of the mIoU.
        images: N.
        resamples: R.
    """

    miou: Difference
    iou: tuple[Difference, ...]
    p_value: float
    images: int
    resamples: int


def paired_bootstrap(a: Counts, b: Counts, *, resamples: int = 10_000, seed: int = 0) -> PairedBootstrap:
    """Resample the images with replacement, the same ones for both networks, and score both each time.

    A score is that of a data set: counts are summed over the resampled images first, then divided; a class in no mask and no
    prediction is left out of the mean, as in `scores`. A resample can lack a rare class altogether.

    The interval holds the middle 95 % of the resampled differences d* = b* - a* (percentile method). The p-value is the
    share of resamples in which d* is at least as far from the difference d of all images as d is from zero,
    (1 + #{|d* - d| >= |d|}) / (1 + R): the d* less d stand for what chance makes of two networks that do not differ.

    Args:
        a: counts of one network.
        b: counts of another, of the same images in the same order and with the same masks.
        resamples: R.
        seed: of the draws; equal seeds give equal results.

    Raises:
        InputError: too few images or resamples, or no labelled pixel.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993: chapter 13 for the interval, chapter 16 for moving
    the resampled values to the null hypothesis; Berg-Kirkpatrick et al., EMNLP 2012, for that test between two systems
    (one-sided there, d* > 2 d); Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 4.2, for the
    1 that is added to both counts, without which a p-value could be 0.
    """
    images = len(a.index)
    _check(a, b, resamples)
    counts = np.hstack([_intersect_and_union(a), _intersect_and_union(b)])
    iou_a, iou_b = _ious(counts.sum(0, keepdims=True))
    miou_a, miou_b = float(_mean(iou_a)[0]), float(_mean(iou_b)[0])
    if np.isnan(miou_a) or np.isnan(miou_b):
        raise InputError("no image has a labelled pixel, so there is nothing to compare; give counts of labelled images")

    rng = np.random.default_rng(seed)
    rows = max(1, CELLS // images)
    parts = [_resample(counts, rng, min(rows, resamples - start)) for start in range(0, resamples, rows)]
    miou, iou = (np.concatenate(values) for values in zip(*parts, strict=True))
    value = miou_b - miou_a
    drawn = miou[~np.isnan(miou)]
    far = np.abs(drawn - value) >= abs(value) * (1 - TIE)
    return PairedBootstrap(
        miou=_difference(miou_a, miou_b, miou),
        iou=tuple(map(_difference, iou_a[0].tolist(), iou_b[0].tolist(), iou.T)),
        p_value=float((1 + far.sum()) / (1 + len(drawn))),
        images=images,
        resamples=resamples,
    )


def _check(a: Counts, b: Counts, resamples: int) -> None:
    if not np.array_equal(a.true, b.true):
        raise ValueError("the two counts are not of the same masks")
    if len(a.index) < 2:
        raise InputError(f"{len(a.index)} image cannot be resampled; evaluate on a validation split of many images")
    if resamples < LEAST_RESAMPLES:
        raise InputError(f"resamples={resamples} gives no interval; set resamples={LEAST_RESAMPLES} or more")


def _intersect_and_union(counts: Counts) -> Values:
    """Return (N, 2 K): float64 is exact, as a data set has far fewer than 2**53 pixels, and multiplies fast."""
    union = counts.pred + counts.true - counts.intersect
    return np.hstack([counts.intersect.numpy(), union.numpy()]).astype(np.float64)


def _resample(counts: Values, rng: np.random.Generator, rows: int) -> tuple[Values, Values]:
    """Draw some resamples: the differences of the mIoU (rows,) and of each IoU (rows, K)."""
    images = len(counts)
    drawn = rng.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)  # how often each image was drawn
    iou_a, iou_b = _ious(weights.astype(np.float64) @ counts)
    return _mean(iou_b) - _mean(iou_a), iou_b - iou_a


def _ious(sums: Values) -> tuple[Values, Values]:
    """Map sums (R, 4 K), intersect and union of a and of b, to both IoU (R, K); NaN where the union is empty."""
    intersect_a, union_a, intersect_b, union_b = np.split(sums, 4, axis=1)
    with np.errstate(invalid="ignore"):
        return intersect_a / union_a, intersect_b / union_b


def _mean(iou: Values) -> Values:
    """Map (R, K) to (R,): mean over the classes that exist; NaN where none does."""
    with np.errstate(invalid="ignore"):
        mean: Values = np.nansum(iou, axis=1) / (~np.isnan(iou)).sum(1)
    return mean


def _difference(a: float, b: float, drawn: Values) -> Difference:
    """Add the interval; resamples in which the score does not exist are left out."""
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(b - a) or not len(drawn):
        return Difference(a, b, np.nan, np.nan)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]).tolist()
    return Difference(a, b, low, high)
