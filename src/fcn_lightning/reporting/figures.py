"""Figures of a run: curves, per-class bars, confusion matrix."""

import csv
import math
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from fcn_lightning.evaluation.scores import Scores
from fcn_lightning.reporting.comparison import Comparison
from fcn_lightning.zoo.logs import TrainingCurve

matplotlib.use("Agg")  # figures are files; no screen is needed

PER_CLASS_INCHES = 0.28
CAPTION_WIDTH = 140  # characters
Points = list[tuple[int, float]]
CURVES = (("train/loss", "loss"), ("train/acc_seg", "acc_seg"), ("lr", "learning rate"), ("val/mIoU", "mIoU"))


def curves(metrics_csv: Path, path: Path, published: TrainingCurve | None = None) -> None:
    """Draw loss, accuracy, learning rate and mIoU over steps.

    Args:
        metrics_csv: log of the run.
        path: PNG to write.
        published: log of a published run, drawn under the run's lines.
    """
    with metrics_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    run = {key: [(int(row["step"]), float(row[key])) for row in rows if row.get(key)] for key, _ in CURVES}
    _save(_draw_curves(run, _points(published) if published else {}), path)


def compared_curves(run: TrainingCurve, published: TrainingCurve, result: Comparison, path: Path) -> None:
    """Draw the curves of a run over those of a published log, with the first deviation marked and told.

    Args:
        run: its log.
        published: log to compare with.
        result: of that comparison.
        path: PNG to write.
    """
    figure = _draw_curves(_points(run), _points(published), result.deviations[0].step if result.deviations else None)
    text = "\n".join(textwrap.fill(sentence, CAPTION_WIDTH) for sentence in (result.sentence, *result.notes))
    figure.supxlabel(text, x=0.02, ha="left", fontsize=9)
    _save(figure, path)


def _points(curve: TrainingCurve) -> dict[str, Points]:
    """Return the points of each panel."""
    return {
        "train/loss": [(step, entry.loss) for step, entry in curve.train.items()],
        "train/acc_seg": [(step, entry.acc_seg) for step, entry in curve.train.items() if entry.acc_seg is not None],
        "lr": [(step, entry.lr) for step, entry in curve.train.items()],
        "val/mIoU": [(step, entry.miou) for step, entry in curve.val.items()],
    }


def _draw_curves(run: dict[str, Points], published: dict[str, Points], mark: int | None = None) -> Figure:
    """Draw the four panels.

    Args:
        run: panel -> points.
        published: the same of a published log; may be empty.
        mark: step to mark with a vertical line.
    """
    figure = Figure(figsize=(10, 6), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(2, 2).flat, CURVES, strict=True):
        for points, label, color, width in ((published.get(key), "published", "0.75", 3), (run[key], "run", "tab:blue", 1.2)):
            if points:
                marker = "o" if len(points) < 30 else None
                axes.plot(*zip(*points, strict=True), color=color, label=label, linewidth=width, marker=marker, markersize=3)
        if mark is not None:
            axes.axvline(mark, color="tab:red", linestyle=":", linewidth=1, label=f"first deviation, step {mark}")
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
    if published:
        shown = {label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=len(shown), frameon=False)
    return figure


def class_bars(result: Scores, classes: tuple[str, ...], path: Path) -> None:
    """Draw IoU and accuracy of each class in percent, best IoU first.

    Args:
        result: of the data set.
        classes: K names.
        path: PNG to write.
    """
    iou, acc = np.nan_to_num(result.iou.numpy()) * 100, np.nan_to_num(result.acc.numpy()) * 100
    order = np.argsort(iou)
    figure = Figure(figsize=(7, 1.2 + PER_CLASS_INCHES * len(classes)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(order)), acc[order], color="0.85", label="Acc")
    axes.barh(range(len(order)), iou[order], height=0.5, label="IoU")
    names = [name if occurs else f"{name} (absent)" for name, occurs in zip(classes, ~result.iou.isnan(), strict=True)]
    axes.set_yticks(range(len(order)), [names[index] for index in order])
    axes.axvline(100 * result.miou, color="0.3", linestyle="--", linewidth=1, label=f"mIoU {100 * result.miou:.2f}")
    axes.set(xlim=(0, 100), xlabel="percent")
    axes.legend(loc="lower right")
    _save(figure, path)


def confusion(confmat: Tensor, classes: tuple[str, ...], path: Path) -> None:
    """Draw the share of each true class (row) that was predicted as each class (column).

    Args:
        confmat: (K, K) counts.
        classes: K names.
        path: PNG to write.
    """
    counts = confmat.double().numpy()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 2.5 + PER_CLASS_INCHES * 1.6 * len(classes)
    figure = Figure(figsize=(side, side * 0.9), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    if len(classes) <= 30:  # more would not be readable
        for row, column in np.ndindex(*share.shape):
            if not math.isclose(share[row, column], 0, abs_tol=0.005):
                color = "white" if share[row, column] > 0.5 else "black"
                axes.text(column, row, f"{100 * share[row, column]:.0f}", ha="center", va="center", fontsize=8, color=color)
    figure.colorbar(picture, ax=axes, shrink=0.7, label="share of the true class")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
