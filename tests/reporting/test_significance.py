"""What a bootstrap found, in words: table, sentence, JSON."""

import math

import pytest

from fcn_lightning.evaluation.bootstrap import Difference, PairedBootstrap
from fcn_lightning.reporting.significance import as_json, difference_table, sentence

NAN = math.nan
CLASSES = ("road", "a|b", "sign", "ghost")
IOU = (
    Difference(0.9, 0.91, 0.005, 0.015),
    Difference(0.5, 0.45, -0.11, 0.01),
    Difference(NAN, 0.0, NAN, NAN),
    Difference(0.3, 0.3, -0.00001, 0.00002),
)


def result(low: float, high: float, p_value: float, images: int = 101, b: float = 0.62) -> PairedBootstrap:
    return PairedBootstrap(Difference(0.6, b, low, high), IOU, p_value, images, 10_000)


def test_the_table_can_be_pasted() -> None:
    assert difference_table(result(0.001, 0.039, 0.03), CLASSES).splitlines() == [
        "| IoU   |     a |     b | b - a |   95 % interval |",
        "|-------|------:|------:|------:|----------------:|",
        "| mean  | 60.00 | 62.00 | +2.00 |  +0.10 to +3.90 |",
        "| a\\|b  | 50.00 | 45.00 | -5.00 | -11.00 to +1.00 |",
        "| road  | 90.00 | 91.00 | +1.00 |  +0.50 to +1.50 |",
        "| ghost | 30.00 | 30.00 | +0.00 |  +0.00 to +0.00 |",
        "| sign  |     - |  0.00 |     - |               - |",
    ]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            result(0.001, 0.039, 0.0312),
            "b is 2.00 points above a in mIoU (95 % interval +0.10 to +3.90, p = 0.0312): "
            "more than the choice of these 101 images explains",
        ),
        (
            result(-0.05, 0.01, 0.2, b=0.58),
            "b is 2.00 points below a in mIoU (95 % interval -5.00 to +1.00, p = 0.2000): "
            "the choice of these 101 images can explain it",
        ),
        (
            result(0.001, 0.039, 0.051),
            "b is 2.00 points above a in mIoU (95 % interval +0.10 to +3.90, p = 0.0510): "
            "on the edge, where the interval and the p-value do not agree; validate on more images",
        ),
        (
            result(0.01, 0.03, 1 / 10_001, images=50),
            "b is 2.00 points above a in mIoU (95 % interval +1.00 to +3.00, p < 0.0001): "
            "more than the choice of these 50 images explains; of so few images the interval is too narrow",
        ),
        (
            result(-0.01, 0.01, 1.0, b=0.60001),
            "a and b have the same mIoU (95 % interval -1.00 to +1.00, p = 1.0000): the choice of these 101 images can explain it",
        ),
    ],
)
def test_the_sentence(found: PairedBootstrap, words: str) -> None:
    assert sentence(found) == words


def test_figures_as_json() -> None:
    content = as_json(result(0.001, 0.039, 0.03), CLASSES)
    assert content["mIoU"] == {"a": 0.6, "b": 0.62, "difference": 0.62 - 0.6, "low": 0.001, "high": 0.039, "p": 0.03}
    assert content["IoU"]["sign"] == {"a": None, "b": 0.0, "difference": None, "low": None, "high": None}
    assert (content["images"], content["resamples"], content["confidence"]) == (101, 10_000, 0.95)
