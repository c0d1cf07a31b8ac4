"""What the console shows: the sentences, the gravest first, and how often each class occurs."""

from collections.abc import Sequence

from fcn_lightning.diagnosis.diagnosis import Diagnosis
from fcn_lightning.diagnosis.findings import Severity, count
from fcn_lightning.diagnosis.frequencies import Frequencies

WIDEST = 24  # characters of a class name


def sentences(diagnosis: Diagnosis) -> str:
    """Lay out the findings, one per line."""
    lines = [f"{finding.severity.name.lower():<7}  {finding.code}: {finding.sentence}" for finding in diagnosis.findings]
    return "\n".join(lines) or "nothing is wrong with this data set"


def class_table(frequencies: Sequence[Frequencies]) -> str:
    """Lay out the share of each class in the labelled pixels, and in the images, per split; in percent."""
    names = frequencies[0].classes
    width = min(WIDEST, max(len("class"), *(len(name) for name in names)))
    lines = [f"{'class':<{width}}" + "".join(f"  {split.name + ' pixels':>13}  {'images':>6}" for split in frequencies)]
    for number, name in enumerate(names):
        shares = "".join(
            f"  {100 * split.pixel_share(number):13.3f}  {100 * split.image_share(number):6.1f}" for split in frequencies
        )
        lines.append(f"{name[:width]:<{width}}{shares}")
    ignored = "".join(
        f"  {100 * split.ignored / max(sum(split.pixels) + split.ignored, 1):13.3f}  {'':>6}" for split in frequencies
    )
    return "\n".join([*lines, f"{'ignored':<{width}}{ignored}   of all pixels"])


def examined(diagnosis: Diagnosis) -> str:
    """Say what was looked at, and how closely."""
    done = diagnosis.scan
    return (
        f"examined {count(len(done.masks), 'mask')} in full, {count(len(done.images), 'image header')}, "
        f"{count(done.decoded, 'image')} in full, in {diagnosis.seconds:.1f} s"
    )


def verdict(diagnosis: Diagnosis) -> str:
    """Count the findings."""
    return ", ".join(count(len(diagnosis.having(severity)), severity.name.lower()) for severity in Severity)
