"""`Finding`: one thing that is wrong, as a sentence, with the files that show it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

LISTED = 100  # offenders kept of a finding


class Severity(IntEnum):
    """How much a finding matters; the gravest is the smallest."""

    ERROR = 0  # training would stop, or learn something wrong
    WARNING = 1  # the numbers would mislead, or somebody should look
    NOTE = 2  # worth knowing


SEVERITIES = {
    "split-unreadable": Severity.ERROR,
    "pair-missing": Severity.ERROR,
    "image-without-mask": Severity.ERROR,
    "mask-without-image": Severity.ERROR,
    "mask-name": Severity.ERROR,
    "image-broken": Severity.ERROR,
    "mask-broken": Severity.ERROR,
    "size-differs": Severity.ERROR,
    "exif-rotation": Severity.ERROR,
    "exif-unclear": Severity.WARNING,
    "exif-applied": Severity.NOTE,
    "image-mode": Severity.NOTE,
    "duplicate-across-splits": Severity.WARNING,
    "near-duplicate-across-splits": Severity.WARNING,
    "duplicate-within-split": Severity.NOTE,
    "mask-jpeg": Severity.ERROR,
    "mask-colour": Severity.ERROR,
    "mask-alpha": Severity.ERROR,
    "mask-grey-as-rgb": Severity.ERROR,
    "mask-16-bit": Severity.ERROR,
    "mask-few-bits": Severity.ERROR,
    "mask-smeared": Severity.ERROR,
    "palette-order": Severity.WARNING,
    "labels-unclear": Severity.ERROR,
    "binary-255": Severity.ERROR,
    "off-by-one": Severity.ERROR,
    "reduce-zero-label": Severity.ERROR,
    "other-values": Severity.ERROR,
    "unlisted-values": Severity.ERROR,
    "class-missing-train": Severity.WARNING,
    "class-missing-val": Severity.WARNING,
    "class-rare": Severity.NOTE,
    "mask-empty": Severity.WARNING,
    "mask-single-class": Severity.NOTE,
}


@dataclass(frozen=True)
class Offender:
    """A file, or a pair of files, that shows a finding.

    Args:
        detail: what it shows.
        image: its image.
        mask: its mask.
        twin: the other image, of duplicates.
        wrong: values of the mask, or colours as 0xRRGGBB, whose pixels are wrong.
    """

    detail: str
    image: Path | None = None
    mask: Path | None = None
    twin: Path | None = None
    wrong: tuple[int, ...] = ()

    @property
    def path(self) -> Path | None:
        """The file to name first."""
        return self.mask or self.image


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        code: one of `SEVERITIES`; it stays the same from release to release.
        sentence: what is wrong, where, and the edit that mends it.
        count: how many files, classes or splits show it.
        offenders: the first of them.
    """

    code: str
    sentence: str
    count: int
    offenders: Sequence[Offender] = ()

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return SEVERITIES[self.code]


def finding(code: str, sentence: str, offenders: Sequence[Offender]) -> list[Finding]:
    """Return a finding of all offenders; none where there are none."""
    return [Finding(code, sentence, len(offenders), tuple(offenders[:LISTED]))] if offenders else []


def count(number: int, noun: str) -> str:
    """Write a number with its noun: 1 mask, 1,200 masks."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(height_and_width: tuple[int, int]) -> str:
    """Write a size as height x width."""
    return f"{height_and_width[0]}x{height_and_width[1]}"


def first(items: Iterable[str], number: int = 5) -> str:
    """Write the first of some words, and that there are more."""
    words = list(items)
    return ", ".join(words[:number]) + (f" and {len(words) - number} more" if len(words) > number else "")
