"""The table from file values to classes, where somebody writes his own: `label_map` of a data set or of a `classes.yaml`.

label_map: {0: ignore, 1: road, 2: car, 3: car}       class names or numbers; 255 is ignored unless it is listed
label_map: reduce_zero_label                          the alias: {0: ignore, 1: <first class>, 2: <second class>, ...}
"""

import logging
from collections.abc import Mapping
from typing import Any

from fcn_lightning import InputError
from fcn_lightning.data.dataset import IGNORE_INDEX, UNLISTED, Labels

log = logging.getLogger(__name__)

IGNORE = "ignore"
REDUCE_ZERO_LABEL = "reduce_zero_label"


def with_label_map(labels: Labels, label_map: Mapping[Any, Any] | str, where: str) -> Labels:
    """Return the labels with another table; classes that the table does not name are left out.

    Args:
        labels: names and colours of the classes.
        label_map: file value to class name, class number or "ignore"; or "reduce_zero_label".
        where: it was written, for messages.

    Raises:
        InputError: it is no such table.
    """
    if label_map == REDUCE_ZERO_LABEL:
        label_map = reduce_zero_label(labels)
        log.info("%s: reduce_zero_label is the label_map %s", where, show(label_map))
    if not isinstance(label_map, Mapping) or not label_map:
        raise InputError(f"{where}: label_map must be a table such as {{0: ignore, 1: {labels.classes[0]}}}, not {label_map!r:.80}")
    numbers = {_value(value, where): _number(name, labels, where) for value, name in label_map.items()}
    ignored = tuple(value for value, number in numbers.items() if number is None)
    if IGNORE_INDEX not in numbers:
        ignored += (IGNORE_INDEX,)
    kept = [number for number in range(len(labels.classes)) if number in numbers.values()]
    values = [[value for value, number in numbers.items() if number == kept_number] for kept_number in kept]
    return Labels(
        classes=tuple(labels.classes[number] for number in kept),
        palette=tuple(labels.palette[number] for number in kept),
        values=tuple(own[0] for own in values),
        ignored=ignored,
        aliases=tuple((value, index) for index, own in enumerate(values) for value in own[1:]),
    )


def reduce_zero_label(labels: Labels) -> dict[int, str]:
    """Write out what the reference calls `reduce_zero_label`: 0 is ignored, value v is class v - 1.

    Source: open-mmlab/mmsegmentation, `LoadAnnotations`.
    """
    return {0: IGNORE} | {number + 1: name for number, name in enumerate(labels.classes)} | {IGNORE_INDEX: IGNORE}


def table_of(labels: Labels) -> dict[int, str]:
    """Write out the table of any labels."""
    table = {int(value): labels.classes[number] if number != IGNORE_INDEX else IGNORE for value, number in _listed(labels)}
    return dict(sorted(table.items()))


def show(label_map: Mapping[Any, Any]) -> str:
    """Write a table in one line, as YAML reads it."""
    return "{" + ", ".join(f"{value}: {name}" for value, name in label_map.items()) + "}"


def _listed(labels: Labels) -> list[tuple[int, int]]:
    return [(value, int(number)) for value, number in enumerate(labels.table) if number != UNLISTED]


def _value(value: Any, where: str) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if not 0 <= number <= 255 or isinstance(value, bool):
        raise InputError(f"{where}: label_map has the file value {value!r:.80}; the left side must be a pixel value from 0 to 255")
    return number


def _number(name: Any, labels: Labels, where: str) -> int | None:
    """Return the class that is meant; None for ignored."""
    if name == IGNORE:
        return None
    if isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(labels.classes):
        return name
    if str(name) in labels.classes:
        return labels.classes.index(str(name))
    raise InputError(
        f"{where}: label_map maps to {name!r:.80}, which is no class; write {IGNORE}, a number from 0 to "
        f"{len(labels.classes) - 1}, or one of {', '.join(labels.classes[:12])}{', ...' if len(labels.classes) > 12 else ''}"
    )
