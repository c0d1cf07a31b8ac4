"""What a paired bootstrap found, as a table, a sentence and JSON."""

import math
from typing import Any

from fcn_lightning.evaluation.bootstrap import CONFIDENCE, Difference, PairedBootstrap

LEVEL = f"{100 * CONFIDENCE:.0f} %"
ALPHA = 1 - CONFIDENCE
# Simulated pairs of equally good networks were called different in 7 to 10 % of 400 cases with 10 to 50 images, in 4 % with 100.
FEW_IMAGES = 50


def difference_table(result: PairedBootstrap, classes: tuple[str, ...]) -> str:
    """Lay out a Markdown table in percent: mIoU first, then the classes by the size of their difference.

    Args:
        result: of the bootstrap.
        classes: names, as many as `result` has. A class without a score in a or b stands last and shows a dash.
    """
    named = sorted(zip(classes, result.iou, strict=True), key=lambda row: (math.isnan(row[1].value), -abs(row[1].value)))
    cells = [("IoU", "a", "b", "b - a", f"{LEVEL} interval"), ("mean", *_cells(result.miou))]
    cells += [(name.replace("|", "\\|"), *_cells(difference)) for name, difference in named]
    first, *widths = (max(map(len, column)) for column in zip(*cells, strict=True))
    lines = [
        f"| {name:<{first}} | {' | '.join(f'{cell:>{width}}' for cell, width in zip(rest, widths, strict=True))} |"
        for name, *rest in cells
    ]
    rule = f"|{'-' * (first + 2)}|{'|'.join('-' * (width + 1) + ':' for width in widths)}|"
    return "\n".join([lines[0], rule, *lines[1:]])


def sentence(result: PairedBootstrap) -> str:
    """Say which network is better, by how much, and whether the choice of images explains it."""
    miou = result.miou
    points = round(100 * miou.value, 2)
    if points:
        how = f"b is {abs(points):.2f} points {'above' if points > 0 else 'below'} a in mIoU"
    else:
        how = "a and b have the same mIoU"
    p_value = "p < 0.0001" if result.p_value < 1e-4 else f"p = {result.p_value:.4f}"
    few = "; of so few images the interval is too narrow" if result.images <= FEW_IMAGES else ""
    return f"{how} ({LEVEL} interval {_interval(miou)}, {p_value}): {_verdict(result)}{few}"


def as_json(result: PairedBootstrap, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the figures; fractions in [0, 1], null where a score does not exist."""
    return {
        "images": result.images,
        "resamples": result.resamples,
        "confidence": CONFIDENCE,
        "mIoU": _numbers(result.miou) | {"p": result.p_value},
        "IoU": {name: _numbers(difference) for name, difference in zip(classes, result.iou, strict=True)},
    }


def _verdict(result: PairedBootstrap) -> str:
    outside, unlikely = not result.miou.low <= 0 <= result.miou.high, result.p_value < ALPHA
    if outside and unlikely:
        return f"more than the choice of these {result.images} images explains"
    if outside or unlikely:
        return "on the edge, where the interval and the p-value do not agree; validate on more images"
    return f"the choice of these {result.images} images can explain it"


def _cells(difference: Difference) -> tuple[str, str, str, str]:
    return _percent(difference.a), _percent(difference.b), _signed(difference.value), _interval(difference)


def _interval(difference: Difference) -> str:
    return "-" if math.isnan(difference.low) else f"{_signed(difference.low)} to {_signed(difference.high)}"


def _percent(fraction: float) -> str:
    return "-" if math.isnan(fraction) else f"{100 * fraction:.2f}"


def _signed(fraction: float) -> str:
    return "-" if math.isnan(fraction) else f"{round(100 * fraction, 2) + 0.0:+.2f}"


def _numbers(difference: Difference) -> dict[str, float | None]:
    values = {
        "a": difference.a,
        "b": difference.b,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
    }
    return {name: None if math.isnan(value) else value for name, value in values.items()}
