"""`Reading`: what the values of the masks mean, as the class list says, or where that does not fit, as the masks suggest."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcn_lightning.data.colors import distinct_colors
from fcn_lightning.data.dataset import IGNORE_INDEX, UNLISTED, Color, Labels
from fcn_lightning.diagnosis.mask_files import MaskFile, pack, unpack

FEW = 0.001  # share of the pixels up to which a value counts as not used
STRAYS = 64  # values of no class in one mask above which it was resized with interpolation, or drawn with soft edges
CENTRE_SHARE = 0.005  # of the pixels of smeared masks, that a value needs to be a label
CENTRE_REACH = 8  # grey levels around a label within which lossy compression puts most of its pixels
COLOR_REACH = 24  # the same per channel of a colour
LEAST_GAP = 16  # grey levels between two labels below which lossy compression mixes them up
MAX_CLASSES = UNLISTED - 1
CANDIDATES = 4096  # most frequent values among which labels of smeared masks are looked for


@dataclass(frozen=True)
class Reading:
    """What the masks hold.

    Args:
        classes: names.
        palette: one colour each.
        values: file value -> class or `IGNORE_INDEX`.
        colors: colour as 0xRRGGBB -> class; empty where the colours are not the palette's.
        smeared: masks in which values between the labels are to be expected.
        by_palette: palette masks with indices of no class, of which the colours are the classes'.
        code: of the finding that this reading comes from; empty where it is the class list's own.
        drafted: whether the classes are made up from what the masks hold.
    """

    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    values: Mapping[int, int]
    colors: Mapping[int, int] = field(default_factory=dict)
    smeared: frozenset[Path] = frozenset()
    by_palette: frozenset[Path] = frozenset()
    code: str = ""
    drafted: bool = False

    def class_of(self, value: int, *, colored: bool) -> int:
        """Return the class of a value, `IGNORE_INDEX`, or `UNLISTED`."""
        return (self.colors if colored else self.values).get(value, UNLISTED)

    @property
    def void(self) -> int:
        """A file value that means no class."""
        ignored = [value for value, number in self.values.items() if number == IGNORE_INDEX]
        free = (value for value in range(255, -1, -1) if value not in self.values)
        return max(ignored) if ignored else next(free)

    @property
    def value_of(self) -> dict[int, int]:
        """Class -> the smallest file value that means it."""
        return {number: value for value, number in sorted(self.values.items(), reverse=True)}

    @property
    def gap(self) -> int:
        """Least distance of two values that mean different things."""
        values = sorted(self.values)
        return min((b - a for a, b in pairwise(values)), default=255)

    @property
    def label_map(self) -> dict[int, str | int]:
        """The table as `label_map` is written: file value -> class name, or its number where names are not unique, or ignore."""
        unique = len(set(self.classes)) == len(self.classes) and "ignore" not in self.classes
        table: dict[int, str | int] = {}
        for value, number in sorted(self.values.items()):
            table[value] = "ignore" if number == IGNORE_INDEX else self.classes[number] if unique else number
        return table

    @property
    def plain(self) -> bool:
        """Whether a class list says it all: class c has the value c, and 255 alone is ignored."""
        own = {number: number for number in range(len(self.classes))}
        return own.items() <= self.values.items() and set(self.values) - set(own) <= {IGNORE_INDEX}


def read_as(masks: Sequence[MaskFile], labels: Labels | None) -> Reading | None:
    """Say what the masks of a data set hold.

    Args:
        masks: that could be read.
        labels: the class list; None where there is none.

    Returns:
        The reading by which most files make sense; None where no class list can be drafted.
    """
    listed: dict[int, int] = {}
    known: dict[int, int] = {}
    if labels is not None:
        listed = {value: int(number) for value, number in enumerate(labels.table) if number != UNLISTED}
        for number, color in enumerate(labels.palette):
            known.setdefault(pack(color), number)  # of classes that share a colour, the first
    smeared = frozenset(mask.path for mask in masks if _is_smeared(mask, known if mask.colored else listed))
    colors = count_values(masks, smeared, colored=True)
    if labels is None:
        return draft(count_values(masks, smeared), colors, smeared)
    if colors and not _explains(known, colors):
        known = {}
    by_palette = {mask.path for mask in masks if not set(mask.values) <= set(listed) and speaks_in_colors(mask, known, listed)}
    values = count_values([mask for mask in masks if mask.path not in by_palette], smeared)
    if colors and not known and not values and (drafted := draft(values, colors, smeared)):
        return drafted
    code, table = _suggested(values, listed, len(labels.classes))
    return Reading(labels.classes, labels.palette, table, known, smeared, frozenset(by_palette), code)


def speaks_in_colors(mask: MaskFile, known: Mapping[int, int], table: Mapping[int, int]) -> bool:
    """Tell whether the palette of a mask names the classes otherwise than its indices do.

    Args:
        mask: of any kind.
        known: colour as 0xRRGGBB -> class.
        table: index -> class.
    """
    used = [(mask.palette[value], value) for value in mask.values if value < len(mask.palette)] if mask.mode == "P" else []
    by_color = [known.get(color, UNLISTED) for color, _ in used]
    by_index = [table.get(value, UNLISTED) for _, value in used]
    return len(set(by_color)) == len(used) > 1 and UNLISTED not in by_color and by_color != by_index


def count_values(masks: Iterable[MaskFile], smeared: Container[Path], *, colored: bool = False) -> Counter[int]:
    """Count the values of all masks that hold numbers, or colours; of smeared ones, each stands for the label it surrounds."""
    exact: Counter[int] = Counter()
    soft: Counter[int] = Counter()
    for mask in masks:
        if mask.colored == colored:
            (soft if mask.path in smeared else exact).update(mask.values)
    return exact + centres(soft, color=colored)


def centres(counts: Mapping[int, int], *, color: bool = False) -> Counter[int]:
    """Return the values around which the others of smeared masks lie, with all pixels near them.

    Args:
        counts: value -> pixels.
        color: the values are colours as 0xRRGGBB.
    """
    total = sum(counts.values())
    frequent = sorted(counts.items(), key=lambda item: -item[1])[:CANDIDATES]
    channels: NDArray[np.int64] = np.array([unpack(value) if color else (value,) for value, _ in frequent], np.int64)
    reach = COLOR_REACH if color else CENTRE_REACH
    chosen: list[int] = []  # positions in both
    found: Counter[int] = Counter()
    for position, (value, number) in enumerate(frequent):
        apart = np.abs(channels[chosen] - channels[position]).max(axis=-1)
        near = [centre for centre, distance in zip(chosen, apart, strict=True) if distance <= reach]
        if near:
            found[frequent[near[0]][0]] += number
        elif number >= CENTRE_SHARE * total and len(chosen) < MAX_CLASSES:
            chosen.append(position)
            found[value] = number
    return found


def draft(values: Mapping[int, int], colors: Mapping[int, int], smeared: frozenset[Path]) -> Reading | None:
    """Make up a class list from what most pixels hold: numbers, or colours.

    Args:
        values: -> pixels.
        colors: as 0xRRGGBB -> pixels.
        smeared: masks in which values between the labels are to be expected.

    Returns:
        A reading with names such as class_7; None where that would be fewer than two classes, or too many.
    """
    if sum(colors.values()) > sum(values.values()):
        found = sorted(colors, key=lambda color: -colors[color])
        if not 1 < len(found) <= MAX_CLASSES:
            return None
        names = tuple(f"class_{number}" for number in range(len(found)))
        table = {number: number for number in range(len(found))} | {IGNORE_INDEX: IGNORE_INDEX}
        known = {color: number for number, color in enumerate(found)}
        return Reading(names, tuple(unpack(color) for color in found), table, known, smeared, drafted=True)
    if set(values) == {0, 255}:
        return Reading(("background", "foreground"), distinct_colors(2), {0: 0, 255: 1}, smeared=smeared, drafted=True)
    labels = sorted(value for value in values if value < IGNORE_INDEX)
    if not 1 < len(labels) <= MAX_CLASSES:
        return None
    table = {value: number for number, value in enumerate(labels)} | {IGNORE_INDEX: IGNORE_INDEX}
    return Reading(tuple(f"class_{value}" for value in labels), distinct_colors(len(labels)), table, smeared=smeared, drafted=True)


def _is_smeared(mask: MaskFile, known: Container[int]) -> bool:
    return mask.lossy or mask.distinct - sum(value in known for value in mask.values) > STRAYS


def _explains(known: Iterable[int], colors: Mapping[int, int]) -> bool:
    """Tell whether most pixels have a colour of the palette, or one so near that compression may have made it."""
    palette = [unpack(color) for color in known]

    def is_near(color: int) -> bool:
        return any(max(abs(a - b) for a, b in zip(unpack(color), own, strict=True)) <= CENTRE_REACH for own in palette)

    return 2 * sum(pixels for color, pixels in colors.items() if is_near(color)) > sum(colors.values())


def _suggested(values: Mapping[int, int], listed: dict[int, int], classes: int) -> tuple[str, dict[int, int]]:
    """Return the code of the first known mistake that explains the values, and the table that mends it."""
    total = sum(values.values())
    by_number = {number: number for number in range(classes)}
    is_plain = {value: number for value, number in listed.items() if number != IGNORE_INDEX} == by_number
    # A few stray pixels hide no mistake; they are reported beside it.
    seen = {value for value, number in values.items() if value in listed or value == classes or number > FEW * total}
    labels = {value for value in seen if listed.get(value) != IGNORE_INDEX}
    ignored = {value: IGNORE_INDEX for value, number in listed.items() if number == IGNORE_INDEX}
    if not is_plain or not total:
        return "", listed
    if classes == 2 and seen == {0, 255}:
        return "binary-255", {0: 0, 255: 1}
    if max(labels, default=0) == classes and len(labels - {0}) >= max(2, classes / 2):  # exactly one beyond the last class
        counted = {0: IGNORE_INDEX} | ignored | {number + 1: number for number in range(classes)}
        return ("off-by-one" if values.get(0, 0) <= FEW * total else "reduce-zero-label"), counted
    if len(labels) == classes and labels - set(listed) and max(labels) < IGNORE_INDEX:
        return "other-values", ignored | {value: number for number, value in enumerate(sorted(labels))}
    return "", listed


def as_label_map(table: Mapping[int, Any]) -> str:
    """Write a label_map in one line, shortened where it is long."""
    items = [f"{value}: {name}" for value, name in table.items()]
    return "{" + ", ".join(items if len(items) <= 8 else [*items[:6], "...", items[-1]]) + "}"
