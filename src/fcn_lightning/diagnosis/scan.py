"""The scan: every mask counted, the header of every image, all pixels of a sample, hashes where two files may be equal."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fcn_lightning.data.pairs import Pair
from fcn_lightning.diagnosis.image_files import ImageFile, read_header, read_pixels, sha256
from fcn_lightning.diagnosis.mask_files import MaskFile, read_mask
from fcn_lightning.diagnosis.splits import Split
from fcn_lightning.diagnosis.workers import Workers


@dataclass(frozen=True)
class Scan:
    """What is known of all files of a data set.

    Args:
        splits: which files belong to which.
        masks: of those that exist, by path.
        images: of those that exist, by path.
        hashes: SHA-256 of each image that has the length of another one.
    """

    splits: Sequence[Split]
    masks: Mapping[Path, MaskFile]
    images: Mapping[Path, ImageFile]
    hashes: Mapping[Path, str]

    def pairs(self) -> Iterator[tuple[Split, Pair, ImageFile, MaskFile]]:
        """Yield the pairs of which both files exist."""
        for split in self.splits:
            for pair in split.pairs:
                if pair.image in self.images and pair.mask in self.masks:
                    yield split, pair, self.images[pair.image], self.masks[pair.mask]

    def masks_of(self, split: Split) -> list[MaskFile]:
        """Return the readable masks of a split."""
        masks = (self.masks.get(pair.mask) for pair in split.pairs)
        return [mask for mask in masks if mask is not None and not mask.problem]

    def only(self, splits: Sequence[Split]) -> "Scan":
        """Return what is known of some splits."""
        masks = {pair.mask for split in splits for pair in split.pairs}
        return replace(self, splits=splits, masks={path: mask for path, mask in self.masks.items() if path in masks})

    @cached_property
    def image_of(self) -> dict[Path, Path]:
        """Mask -> its image."""
        return {pair.mask: pair.image for split in self.splits for pair in split.pairs}

    @property
    def decoded(self) -> int:
        """How many images were read in full."""
        return sum(image.decoded for image in self.images.values())


def scan(splits: Sequence[Split], *, images: int, processes: int) -> Scan:
    """Read what there is to know of the files.

    Args:
        splits: of the data set.
        images: how many to decode in full, evenly spaced in each split; the others give their headers.
        processes: that work at the same time.
    """
    pairs = [pair for split in splits for pair in split.pairs]
    mask_paths = [path for path in dict.fromkeys(pair.mask for pair in pairs) if path.is_file()]
    image_paths = [path for path in dict.fromkeys(pair.image for pair in pairs) if path.is_file()]
    chosen = _sample(splits, images)
    with Workers(processes) as workers:
        masks = workers.map(read_mask, mask_paths, doing="masks")
        found = workers.map(read_header, [path for path in image_paths if path not in chosen], doing="image headers")
        found += workers.map(read_pixels, [path for path in image_paths if path in chosen], doing="images")
        lengths = Counter(image.bytes for image in found)
        alike = [image.path for image in found if image.bytes and lengths[image.bytes] > 1]
        hashes = workers.map(sha256, alike, doing="images of equal length")
    return Scan(
        splits,
        {mask.path: mask for mask in masks},
        {image.path: image for image in sorted(found, key=lambda image: image.path)},
        dict(zip(alike, hashes, strict=True)),
    )


def _sample(splits: Sequence[Split], number: int) -> set[Path]:
    """Choose images evenly spaced in each split; what a small split leaves over goes to the others."""
    chosen: set[Path] = set()
    by_size = sorted(splits, key=lambda split: len(split.pairs))
    for position, split in enumerate(by_size):
        share = min(len(split.pairs), (number - len(chosen)) // (len(by_size) - position))
        chosen.update(split.pairs[index * len(split.pairs) // share].image for index in range(share))
    return chosen
