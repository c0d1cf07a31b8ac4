"""What is wrong with how masks are encoded: modes, bit depths, lossy compression, colours, palettes."""

from collections import Counter
from collections.abc import Callable, Sequence

from fcn_lightning.diagnosis.findings import Finding, Offender, finding, first
from fcn_lightning.diagnosis.mask_files import MaskFile, unpack
from fcn_lightning.diagnosis.reading import LEAST_GAP, Reading, centres, speaks_in_colors
from fcn_lightning.diagnosis.scan import Scan

REMEDY = "export one 8-bit class number per pixel as PNG, or let fix=true convert them"
NAMED_COLORS = 6


def check_masks(scan: Scan, reading: Reading | None) -> list[Finding]:
    """Find masks that training cannot read, or reads as something else than was drawn."""
    masks = [mask for mask in scan.masks.values() if not mask.problem]
    found = []
    for code, explain in EXPLAIN.items():
        chosen = [mask for mask in masks if mask.encoding == code]
        if chosen:
            offenders = [
                Offender(_detail(mask), scan.image_of.get(mask.path), mask.path, wrong=_wrong(mask, reading)) for mask in chosen
            ]
            where = f"{len(chosen)} of {len(masks)} masks {explain(chosen, reading)}, first {chosen[0].path}"
            found += finding(code, f"{where}; {_remedy(chosen, reading)}", offenders)
    return [*found, *_smeared(scan, masks, reading), *_palettes(scan, masks, reading)]


def cannot_be_snapped(mask: MaskFile, reading: Reading) -> bool:
    """Tell whether lossy compression has mixed up the labels of a mask beyond repair."""
    return mask.path in reading.smeared and (not reading.colors if mask.colored else reading.gap < LEAST_GAP)


def _remedy(masks: Sequence[MaskFile], reading: Reading | None) -> str:
    if reading is not None and any(cannot_be_snapped(mask, reading) for mask in masks):
        why = (
            "their colours are no class's"
            if masks[0].colored
            else f"the labels lie only {reading.gap} apart, closer than the errors"
        )
        return f"{why}, so export them again as PNG from where they were drawn"
    if any(mask.colored for mask in masks) and (reading is None or reading.drafted or not reading.colors):
        return "no class list explains them: give each class its colour as `colors` in classes.yaml, and let fix=true convert them"
    return REMEDY


def _sixteen(masks: Sequence[MaskFile], reading: Reading | None) -> str:
    most = max(max(mask.values, default=0) for mask in masks)
    fits = "all of which fit 8 bits" if most < 256 else "some of which do not fit 8 bits"
    return f"have 16 or more bits per pixel (values up to {most}, {fits})"


def _colors(masks: Sequence[MaskFile], reading: Reading | None) -> str:
    return f"hold colours instead of class numbers ({_listing(masks, reading)})"


def _alpha(masks: Sequence[MaskFile], reading: Reading | None) -> str:
    hidden = sum(mask.transparent for mask in masks)
    words = f"{hidden} transparent pixels" if hidden else "nothing transparent"
    colors = f"; colours: {_listing(masks, reading)}" if any(mask.colored for mask in masks) else ""
    return f"have an alpha channel ({words}{colors})"


def _jpeg(masks: Sequence[MaskFile], reading: Reading | None) -> str:
    return f"are compressed as JPEG, which smears labels: {_spread(masks, reading)}"


def _spread(masks: Sequence[MaskFile], reading: Reading | None) -> str:
    """Say around which values those of smeared masks lie."""
    counts: Counter[int] = Counter()
    colored = masks[0].colored
    for mask in masks:
        if mask.colored == colored:
            counts.update(mask.values)
    if reading is not None and any(cannot_be_snapped(mask, reading) for mask in masks):
        return f"{len(counts)} different values"
    around = sorted(centres(counts, color=colored))
    names = first((_color(value) if colored else str(value) for value in around), NAMED_COLORS)
    strays = sum(number for value, number in counts.items() if value not in around)
    share = 100 * strays / max(sum(counts.values()), 1)
    return f"{len(counts)} different values lie around {len(around)} ({names}), with {share:.1f} % of the pixels beside these"


def _smeared(scan: Scan, masks: Sequence[MaskFile], reading: Reading | None) -> list[Finding]:
    """Find masks of plain encoding whose labels run into each other; colours and JPEGs have findings of their own."""
    chosen = [mask for mask in masks if reading is not None and not mask.encoding and mask.path in reading.smeared]
    if not chosen:
        return []
    offenders = [Offender(_detail(mask), scan.image_of.get(mask.path), mask.path, wrong=_wrong(mask, reading)) for mask in chosen]
    sentence = (
        f"{len(chosen)} of {len(masks)} masks have soft edges, as after resizing with interpolation: {_spread(chosen, reading)}, "
        f"first {chosen[0].path}; resize and draw labels without smoothing, or {_remedy(chosen, reading)}"
    )
    return finding("mask-smeared", sentence, offenders)


def _palettes(scan: Scan, masks: Sequence[MaskFile], reading: Reading | None) -> list[Finding]:
    if reading is None or reading.drafted:
        return []
    chosen = [mask for mask in masks if speaks_in_colors(mask, reading.colors, reading.values)]
    offenders = [Offender(_by_palette(mask, reading), scan.image_of.get(mask.path), mask.path) for mask in chosen]
    sentence = (
        f"{len(chosen)} of {len(masks)} palette masks show the colours of the classes at other indices, first "
        f"{chosen[0].path if chosen else ''} ({offenders[0].detail if offenders else ''}); training reads the indices, so put "
        "either the class list or the masks into the right order"
    )
    return finding("palette-order", sentence, offenders)


def _by_palette(mask: MaskFile, reading: Reading) -> str:
    names = [(value, reading.classes[reading.colors[mask.palette[value]]]) for value in mask.values]
    return first(f"{value} has the colour of {name}" for value, name in names)


def _listing(masks: Sequence[MaskFile], reading: Reading | None) -> str:
    """Name the most frequent colours, with the classes that have them."""
    counts: Counter[int] = Counter()
    for mask in masks:
        if mask.colored:
            counts.update(mask.values)
    total = sum(counts.values())
    names = []
    for color, pixels in counts.most_common(NAMED_COLORS):
        number = reading.colors.get(color) if reading is not None and not reading.drafted else None
        name = "" if number is None or reading is None else f" {reading.classes[number]}"
        names.append(f"{_color(color)}{name} {100 * pixels / total:.1f} %")
    return ", ".join(names) + (f" and {len(counts) - NAMED_COLORS} more" if len(counts) > NAMED_COLORS else "")


def _color(value: int) -> str:
    return "[{}, {}, {}]".format(*unpack(value))


def _detail(mask: MaskFile) -> str:
    return f"{mask.format} of mode {mask.mode}, {mask.distinct} different values"


def _wrong(mask: MaskFile, reading: Reading | None) -> tuple[int, ...]:
    """Return the values of a mask that no class has."""
    known = {} if reading is None else reading.colors if mask.colored else reading.values
    return tuple(value for value in mask.values if value not in known) if known else ()


EXPLAIN: dict[str, Callable[[Sequence[MaskFile], Reading | None], str]] = {
    "mask-jpeg": _jpeg,
    "mask-colour": _colors,
    "mask-alpha": _alpha,
    "mask-grey-as-rgb": lambda masks, _: f"repeat one grey value in the three channels of mode {masks[0].mode}",
    "mask-16-bit": _sixteen,
    "mask-few-bits": lambda masks, _: "have 2 or 4 bits per grey pixel, which image libraries stretch to 0..255",
}
