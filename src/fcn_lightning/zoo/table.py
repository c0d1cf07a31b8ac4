"""The published table, made from the recipes."""

import json
from pathlib import Path

from fcn_lightning import InputError
from fcn_lightning.zoo.recipes import Row, row, rows

BEGIN, END = "<!-- zoo table: begin -->", "<!-- zoo table: end -->"
TITLES = {
    "cityscapes": "Cityscapes",
    "ade20k": "ADE20K",
    "voc12aug": "Pascal VOC 2012 + Aug",
    "pascal_context": "Pascal Context",
    "pascal_context_59": "Pascal Context 59",
}
COLUMNS = (
    "Method",
    "Backbone",
    "Crop Size",
    "Lr schd",
    "Mem (GB)",
    "Inf time (fps)",
    "mIoU",
    "mIoU(ms+flip)",
    "recipe",
    "download",
)
VERIFIED = "verified here"


def zoo_table(verified: Path | None) -> str:
    """Lay out all rows in Markdown, one table per data set, in the published order of columns.

    Args:
        verified: JSON that says what of a row was checked against the reference, row id -> words; None leaves the
            column out.

    Raises:
        InputError: the file is missing, or names something that is no row.
    """
    checked = _read(verified) if verified else None
    parts = []
    for dataset, title in TITLES.items():
        own = sorted((row(name) for name in rows() if row(name).dataset == dataset), key=_order)
        columns = [*COLUMNS, VERIFIED] if checked is not None else COLUMNS
        lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(_cells(entry, checked))} |" for entry in own]
        parts.append(f"**{title}**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _cells(entry: Row, checked: dict[str, str] | None) -> list[str]:
    cells = [
        entry.method,
        entry.backbone,
        f"{entry.crop_size[0]}x{entry.crop_size[1]}",
        str(entry.steps),
        "-" if entry.memory_gb is None else str(entry.memory_gb),
        "-" if entry.fps is None else f"{entry.fps:.2f}",
        f"{entry.miou:.2f}",
        "-" if entry.miou_ms_flip is None else f"{entry.miou_ms_flip:.2f}",
        f"[{entry.date}](conf/recipe/{entry.id}.yaml)",
        f"[model]({entry.checkpoint}) \\| [log]({entry.log})",
    ]
    return cells if checked is None else [*cells, checked.get(entry.id, "")]


def _order(entry: Row) -> tuple[object, ...]:
    """Sort as published: schedules, crops and depths growing, the plain stem after the deep one, later kinds at the end."""
    name, stride = entry.backbone.removeprefix("R-").split("-")  # "101b-D8" -> "101b", "D8"
    depth = int(name.removesuffix("b"))
    return stride == "D16", "FP16" in entry.method, name.endswith("b"), entry.steps, entry.crop_size[1] == 769, depth, entry.date


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"verified={path} cannot be read ({error}); give the JSON of row id and words, or verified=null"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"verified={path} holds no table; give the JSON of row id and words, or verified=null")
    unknown = sorted(set(content) - set(rows()))
    if unknown:
        raise InputError(f"{path} names {unknown[0]}, which is no row; correct it")
    return {str(key): str(value) for key, value in content.items()}
