"""What is wrong with the labels: values that no class has, shifted numbering, classes and masks without pixels."""

from collections.abc import Iterator, Sequence

from fcn_lightning.data.dataset import IGNORE_INDEX, UNLISTED
from fcn_lightning.diagnosis.findings import Finding, Offender, finding, first
from fcn_lightning.diagnosis.frequencies import Frequencies, count_classes
from fcn_lightning.diagnosis.mask_files import MaskFile
from fcn_lightning.diagnosis.reading import Reading, as_label_map, count_values
from fcn_lightning.diagnosis.scan import Scan

RARE = 1e-4  # share of the labelled pixels
NAMED = 8  # classes or values in a sentence
MISTAKES = {
    "binary-255": "the masks hold 0 and 255, never 1, and 255 is ignored, so that the second of the two classes is never seen",
    "off-by-one": (
        "the masks count from 1 to {number}, while the {number} classes have the values 0 to {last}, and {zeros} pixels are 0"
    ),
    "reduce-zero-label": (
        "the masks hold the values 0 to {number}, one more than the {number} classes: either the class list lacks a name, or 0 "
        'means "no class", which other programs call reduce_zero_label'
    ),
    "other-values": "the masks hold as many values as there are classes, {number}, but other ones than the class list: {found}",
}


def check_labels(scan: Scan, reading: Reading | None, frequencies: Sequence[Frequencies]) -> list[Finding]:
    """Find what is wrong with the values of masks, and which classes lack pixels.

    Args:
        scan: of the files.
        reading: what the values mean, mended where a known mistake explains them.
        frequencies: of the classes under that reading, one per split.
    """
    if reading is None:
        return _unclear(scan)
    missing = [found for split in frequencies for found in _missing(split)]
    return [*_mistakes(scan, reading), *_unlisted(scan, reading), *missing, *_empty(scan, reading), *_rare(frequencies)]


def _unclear(scan: Scan) -> list[Finding]:
    """Say that no class list can be drafted from masks of far too many values, or of a single one."""
    masks = [mask for mask in scan.masks.values() if not mask.problem]
    offenders = [Offender(f"{mask.distinct} different values", scan.image_of.get(mask.path), mask.path) for mask in masks]
    sentence = (
        f"no class list can be drafted from {len(masks)} masks, as they hold a single value or more than 253, first "
        f"{_named(offenders)}; check that they are label maps, and write classes.yaml by hand"
    )
    return finding("labels-unclear", sentence, offenders)


def _mistakes(scan: Scan, reading: Reading) -> list[Finding]:
    """Explain the mistake that the reading mends."""
    if reading.drafted or reading.code not in MISTAKES:
        return []
    masks = [mask for mask in scan.masks.values() if not (mask.problem or mask.colored or mask.path in reading.by_palette)]
    counts, number = count_values(masks, reading.smeared), len(reading.classes)
    wrong = [value for value in counts if value >= number and (value < IGNORE_INDEX or reading.code == "binary-255")]
    what = MISTAKES[reading.code].format(
        number=number, last=number - 1, zeros=counts.get(0, 0), found=first(map(str, sorted(counts)), NAMED)
    )
    remedy = (
        f"if the classes stand in order, set label_map: {as_label_map(reading.label_map)}, in classes.yaml or as dataset.label_map"
    )
    return finding(reading.code, f"{what}; {remedy}", _holding(scan, masks, wrong))


def _unlisted(scan: Scan, reading: Reading) -> list[Finding]:
    """Name the files whose values mean nothing; colour masks and smeared ones have findings of their own."""
    masks = [mask for mask in scan.masks.values() if not (mask.problem or mask.colored or mask.path in reading.smeared)]
    counts = count_values(masks, reading.smeared)
    wrong = {value: counts[value] for value in sorted(counts) if value not in reading.values}
    offenders = _holding(scan, masks, list(wrong))
    values = first((f"{value} ({pixels:,} pixels)" for value, pixels in wrong.items()), NAMED)
    palettes = sum(scan.masks[offender.mask].mode == "P" for offender in offenders if offender.mask)
    remark = f"; {palettes} of them are palette images, whose indices count, not their colours" if palettes else ""
    sentence = (
        f"{len(offenders)} of {len(masks)} masks hold values that no class has: {values}, first {_named(offenders)}{remark}; "
        "correct the masks, or add the values to the class list, to `ignored` or to the label_map"
    )
    return finding("unlisted-values", sentence, offenders)


def _holding(scan: Scan, masks: Sequence[MaskFile], wrong: Sequence[int]) -> list[Offender]:
    """Return the masks that hold some of these values, those with the most pixels first."""
    found = []
    for mask in masks:
        here = {value: mask.values[value] for value in wrong if value in mask.values}
        if here:
            detail = first((f"value {value}: {pixels:,} pixels" for value, pixels in here.items()), 4)
            found.append((sum(here.values()), Offender(detail, scan.image_of.get(mask.path), mask.path, wrong=tuple(here))))
    return [offender for _, offender in sorted(found, key=lambda item: -item[0])]


def _missing(split: Frequencies) -> Iterator[Finding]:
    names = [name for name, pixels in zip(split.classes, split.pixels, strict=True) if not pixels]
    if names and split.masks:
        why = "cannot be learnt" if split.name == "train" else "has no score, and the mean leaves it out"
        sentence = (
            f"{len(names)} of {len(split.classes)} classes have no pixel in {split.name}: {first(names, NAMED)}; add images "
            f"that show them, or take them off the class list, as such a class {why}"
        )
        yield Finding(f"class-missing-{split.name}", sentence, len(names))


def _empty(scan: Scan, reading: Reading) -> list[Finding]:
    """Find masks that teach nothing, and those of a single class."""
    empty: list[Offender] = []
    single: list[Offender] = []
    for mask in scan.masks.values():
        pixels = count_classes(mask, reading)
        if pixels is not None and len(pixels) == 1:
            (number,) = pixels
            image = scan.image_of.get(mask.path)
            if number == IGNORE_INDEX:
                empty.append(Offender("ignored pixels alone", image, mask.path))
            elif number != UNLISTED:
                single.append(Offender(f"{reading.classes[number]} alone", image, mask.path))
    nothing = f"{len(empty)} of {len(scan.masks)} masks have only ignored pixels, so that nothing is learnt or scored there"
    one = f"{len(single)} of {len(scan.masks)} masks hold one class alone"
    return [
        *finding("mask-empty", f"{nothing}, first {_named(empty)}; label them, or remove the pairs", empty),
        *finding("mask-single-class", f"{one}, first {_named(single)}; look whether they are finished", single),
    ]


def _rare(frequencies: Sequence[Frequencies]) -> Iterator[Finding]:
    for split in frequencies:
        least = RARE * sum(split.pixels)
        rare = {name: pixels for name, pixels in zip(split.classes, split.pixels, strict=True) if 0 < pixels < least}
        if rare and split.name == "train":
            names = first((f"{name} ({pixels:,} pixels)" for name, pixels in rare.items()), NAMED)
            sentence = (
                f"{len(rare)} of {len(split.classes)} classes have less than {RARE:.2%} of the labelled pixels of train: {names}; "
                "add images that show them"
            )
            yield Finding("class-rare", sentence, len(rare))


def _named(offenders: Sequence[Offender]) -> str:
    return f"{offenders[0].mask} ({offenders[0].detail})" if offenders else ""
