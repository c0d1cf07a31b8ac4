"""`Diagnosis`: everything that is known of a data set, from its files to the sentences."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.diagnosis.duplicates import check_duplicates
from fcn_lightning.diagnosis.findings import Finding, Offender, Severity
from fcn_lightning.diagnosis.frequencies import Frequencies, frequencies
from fcn_lightning.diagnosis.label_checks import check_labels
from fcn_lightning.diagnosis.mask_checks import check_masks
from fcn_lightning.diagnosis.pair_checks import check_pairs
from fcn_lightning.diagnosis.reading import Reading, read_as
from fcn_lightning.diagnosis.scan import Scan, scan
from fcn_lightning.diagnosis.splits import Split, find_splits


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a data set.

    Args:
        name: of the data set.
        root: its folder.
        scan: of its files.
        readings: split -> what its masks hold; None where that is unclear.
        frequencies: of the classes, per split that has masks.
        findings: the gravest first.
        seconds: that the scan took.
    """

    name: str
    root: Path
    scan: Scan
    readings: Mapping[str, Reading | None]
    frequencies: Sequence[Frequencies]
    findings: Sequence[Finding]
    seconds: float

    def having(self, severity: Severity) -> list[Finding]:
        """Return the findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def errors(self) -> list[Finding]:
        """The findings by which training would stop, or learn something wrong."""
        return self.having(Severity.ERROR)

    def reading_of(self, mask: Path) -> Reading | None:
        """Return what a mask is read as."""
        split = next((split for split in self.scan.splits if any(pair.mask == mask for pair in split.pairs)), None)
        return self.readings[split.name] if split else None

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it; the keys stay the same from release to release."""
        return {
            "dataset": self.name,
            "root": str(self.root),
            **{f"{severity.name.lower()}s": len(self.having(severity)) for severity in Severity},
            "examined": {
                "masks": len(self.scan.masks),
                "images": len(self.scan.images),
                "decoded_images": self.scan.decoded,
                "seconds": round(self.seconds, 2),
            },
            "splits": {split.name: self._split_as_json(split) for split in self.scan.splits},
            "findings": [_finding_as_json(finding) for finding in self.findings],
        }

    def _split_as_json(self, split: Split) -> dict[str, Any]:
        masks, reading = self.scan.masks_of(split), self.readings[split.name]
        values: Counter[int] = Counter()
        for mask in masks:
            if not mask.colored:
                values.update(mask.values)
        content: dict[str, Any] = {
            "pairs": len(split.pairs),
            "values": {str(value): values[value] for value in sorted(values)},
            "suggested_label_map": dict(reading.label_map) if reading and reading.code else None,
        }
        counted = next((each for each in self.frequencies if each.name == split.name), None)
        if counted is not None:
            content |= {
                "counted_masks": counted.masks,
                "ignored_pixels": counted.ignored,
                "unlisted_pixels": counted.unlisted,
                "classes": [
                    {
                        "name": name,
                        "pixels": counted.pixels[number],
                        "pixel_share": counted.pixel_share(number),
                        "images": counted.images[number],
                        "image_share": counted.image_share(number),
                    }
                    for number, name in enumerate(counted.classes)
                ],
            }
        return content


def diagnose(data: SegmentationDataModule, *, images: int, processes: int) -> Diagnosis:
    """Scan a data set and say what is wrong with it.

    Args:
        data: of the data set.
        images: how many to decode in full.
        processes: that work at the same time.

    Raises:
        InputError: there is nothing to examine.
    """
    start = time.perf_counter()
    everything = scan(find_splits(data), images=images, processes=processes)
    findings = [*check_pairs(everything), *check_duplicates(everything)]
    readings: dict[str, Reading | None] = {}
    counted: list[Frequencies] = []
    for part in _parts(everything):
        reading = read_as([mask for mask in part.masks.values() if not mask.problem], part.splits[0].labels)
        own = [] if reading is None else [frequencies(split.name, part.masks_of(split), reading) for split in part.splits]
        findings += [*check_masks(part, reading), *check_labels(part, reading, own)]
        readings |= {split.name: reading for split in part.splits}
        counted += own
    findings.sort(key=lambda finding: finding.severity)
    return Diagnosis(data.name, Path(data.root), everything, readings, counted, findings, time.perf_counter() - start)


def _parts(everything: Scan) -> list[Scan]:
    """Part the scan by class lists: both splits have the same, unless a data set has two encodings of its masks."""
    first, *others = everything.splits
    same = [split for split in others if split.labels == first.labels]
    rest = [split for split in others if split.labels != first.labels]
    return [everything.only([first, *same]), *(everything.only([split]) for split in rest)]


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity.name.lower(),
        "sentence": finding.sentence,
        "count": finding.count,
        "offenders": [_offender_as_json(offender) for offender in finding.offenders],
    }


def _offender_as_json(offender: Offender) -> dict[str, str | None]:
    paths = {"image": offender.image, "mask": offender.mask, "twin": offender.twin}
    return {"detail": offender.detail} | {name: str(path) if path else None for name, path in paths.items()}
