"""`report.md`: what a run reached, for a person to read, and against which published figure."""

import math
from pathlib import Path

from fcn_lightning import InputError
from fcn_lightning.evaluation.dialects import Dialect
from fcn_lightning.evaluation.scores import Scores
from fcn_lightning.reporting.comparison import compare
from fcn_lightning.reporting.ledger import Ledger
from fcn_lightning.training.task import SegmentationTask
from fcn_lightning.zoo.logs import TrainingCurve, read_log


def write_report(folder: Path, name: str, task: SegmentationTask, ledger: Ledger | None, published: TrainingCurve | None) -> None:
    """Write the report of a finished training.

    Args:
        folder: of the run.
        name: of the run.
        task: trained and validated.
        ledger: how it differs from the row it was started from, if any.
        published: log of a published run to compare with, if any.
    """
    if task.scores is None or task.dialects is None:
        raise RuntimeError("validation gave no scores")
    result = task.scores
    parts = [
        f"# {name}",
        f"mIoU {100 * result.miou:.2f}, mAcc {100 * result.macc:.2f}, aAcc {100 * result.aacc:.2f} at the last step.",
    ]
    if ledger is not None:
        figure = ledger.row.figure(ms_flip=task.card.inference.ms_flip)
        reached = "no published figure" if figure is None else f"{100 * result.miou - figure:+.2f} to the published {figure:.2f}"
        parts += [f"## Row {ledger.row.id}", f"mIoU: {reached}.", _deviation_table(ledger)]
    if published is not None:
        parts += ["## Against the published log", _against(published, folder / "log.jsonl")]
    parts += [
        "![Curves](plots/curves.png)",
        "## Classes",
        _class_table(result, task.card.labels.classes),
        "## What others would call it",
        _dialects(task.dialects),
    ]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _against(published: TrainingCurve, own_log: Path) -> str:
    try:
        result = compare(published, read_log(own_log))
    except InputError as error:  # a run too short to share a step with the log is a finished run all the same
        return f"{error}."
    return "\n\n".join(f"{text}." for text in (result.sentence, *result.notes))


def _deviation_table(ledger: Ledger) -> str:
    lines = ["| differs in | published | here |", "|---|---|---|"]
    return "\n".join(lines + [f"| {item.what} | {item.published} | {item.here} |" for item in ledger.deviations])


def _class_table(result: Scores, classes: tuple[str, ...]) -> str:
    lines = ["| class | IoU | Acc |", "|---|--:|--:|"]
    values = zip(classes, result.iou.tolist(), result.acc.tolist(), strict=True)
    return "\n".join(lines + [f"| {name} | {_percent(iou)} | {_percent(acc)} |" for name, iou, acc in values])


def _dialects(dialects: tuple[Dialect, ...]) -> str:
    lines = ["| by | mIoU | because |", "|---|--:|---|"]
    return "\n".join(lines + [f"| {item.name} | {_percent(item.miou)} | {item.reason} |" for item in dialects])


def _percent(fraction: float) -> str:
    return "-" if math.isnan(fraction) else f"{100 * fraction:.2f}"
