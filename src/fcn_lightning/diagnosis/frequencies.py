"""How often each class occurs in a split: in pixels, and in images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fcn_lightning.data.dataset import IGNORE_INDEX, UNLISTED
from fcn_lightning.diagnosis.mask_files import MaskFile
from fcn_lightning.diagnosis.reading import Reading


@dataclass(frozen=True)
class Frequencies:
    """Class frequencies of one split.

    Args:
        name: of the split.
        masks: that were counted; smeared ones and those in unknown colours are not.
        classes: K names.
        pixels: of each class.
        images: in which each class occurs.
        ignored: pixels that mean no class.
        unlisted: pixels whose value means nothing.
    """

    name: str
    masks: int
    classes: tuple[str, ...]
    pixels: tuple[int, ...]
    images: tuple[int, ...]
    ignored: int
    unlisted: int

    def pixel_share(self, number: int) -> float:
        """Return the share of a class in the labelled pixels, 0 to 1."""
        return self.pixels[number] / max(sum(self.pixels), 1)

    def image_share(self, number: int) -> float:
        """Return the share of images in which a class occurs, 0 to 1."""
        return self.images[number] / max(self.masks, 1)


def frequencies(name: str, masks: Sequence[MaskFile], reading: Reading) -> Frequencies:
    """Count the classes of a split.

    Args:
        name: of the split.
        masks: of the split that can be read.
        reading: what their values mean.
    """
    pixels: Counter[int] = Counter()
    images: Counter[int] = Counter()
    counted = [found for found in (count_classes(mask, reading) for mask in masks) if found is not None]
    for found in counted:
        pixels.update(found)
        images.update(found.keys())
    numbers = range(len(reading.classes))
    return Frequencies(
        name,
        len(counted),
        reading.classes,
        tuple(pixels[number] for number in numbers),
        tuple(images[number] for number in numbers),
        pixels[IGNORE_INDEX],
        pixels[UNLISTED],
    )


def count_classes(mask: MaskFile, reading: Reading) -> Mapping[int, int] | None:
    """Return class, `IGNORE_INDEX` or `UNLISTED` -> pixels of a mask; None where its values do not tell."""
    if mask.problem or mask.path in reading.smeared or (mask.colored and not reading.colors):
        return None
    found: Counter[int] = Counter()
    for value, pixels in mask.values.items():
        if mask.path in reading.by_palette:
            found[reading.colors[mask.palette[value]]] += pixels
        else:
            found[reading.class_of(value, colored=mask.colored)] += pixels
    return found
