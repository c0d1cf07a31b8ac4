"""Images that are there twice: byte for byte among all, nearly among those that were decoded."""

from collections import defaultdict

import numpy as np

from fcn_lightning.data.pairs import Pair
from fcn_lightning.diagnosis.findings import Finding, Offender, finding
from fcn_lightning.diagnosis.scan import Scan

NEAR_BITS = 2  # of 64, in which the fingerprints of near duplicates may differ


def check_duplicates(scan: Scan) -> list[Finding]:
    """Find images that validation has in common with training, and copies inside a split."""
    return [*_equal(scan), *_alike(scan)]


def _equal(scan: Scan) -> list[Finding]:
    """Compare by content; the same file listed in both splits is a duplicate too."""
    alike: defaultdict[str, list[tuple[str, Pair]]] = defaultdict(list)
    for split in scan.splits:
        for pair in split.pairs:
            if pair.image in scan.images:
                alike[scan.hashes.get(pair.image) or str(pair.image)].append((split.name, pair))
    across: list[Offender] = []
    within: list[Offender] = []
    for places in alike.values():
        (name, pair), *others = places
        for other_name, other in others:
            twin = Offender(f"equals {other.image}", pair.image, twin=other.image)
            (across if other_name != name else within).append(twin)
    return [
        *finding(
            "duplicate-across-splits",
            f"{len(across)} of {len(scan.images)} images are in train and in val, byte for byte, first {_twins(across)}; "
            "remove them from one of the two, as the validation score would count what was trained on",
            across,
        ),
        *finding(
            "duplicate-within-split",
            f"{len(within)} of {len(scan.images)} images are twice in one split, byte for byte, first {_twins(within)}; "
            "remove the copies, unless they are meant to weigh more",
            within,
        ),
    ]


def _alike(scan: Scan) -> list[Finding]:
    """Compare the fingerprints of the decoded sample; equal files are `_equal`'s business."""
    sides = [
        [image for pair in split.pairs if (image := scan.images.get(pair.image)) and image.fingerprint is not None]
        for split in scan.splits
    ]
    if len(sides) != 2 or not all(sides):
        return []
    train, val = sides
    prints = np.array([image.fingerprint for image in train], np.uint64)
    offenders = []
    for image in val:
        differing = np.bitwise_count(prints ^ np.uint64(image.fingerprint or 0))
        twin = train[int(np.argmin(differing))]
        equal = image.path == twin.path or scan.hashes.get(image.path, "a") == scan.hashes.get(twin.path, "b")
        if differing.min() <= NEAR_BITS and not equal:
            offenders.append(Offender(f"looks like {twin.path}", image.path, twin=twin.path))
    sentence = (
        f"{len(offenders)} of {len(val)} validation images look like one of {len(train)} training images that were decoded, first "
        f"{_twins(offenders)}; compare the pictures, and split by scene or recording"
    )
    return finding("near-duplicate-across-splits", sentence, offenders)


def _twins(offenders: list[Offender]) -> str:
    return f"{offenders[0].image} and {offenders[0].twin}" if offenders else ""
