"""`SegmentationDataset`: pairs of image and mask files with one label table, and the two views that loaders iterate.

Plain PyTorch. A data set of its own says which files belong together and which file value means which class.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fcn_lightning import InputError
from fcn_lightning.data.images import UInt8, read_image, read_index_map

if TYPE_CHECKING:  # albumentations takes seconds to import, and only loaders need it
    from fcn_lightning.data.transforms import Transform

IGNORE_INDEX = 255
UNLISTED = 254  # what the table gives for a file value that the data set does not know

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Labels:
    """The classes of a data set: names, colours, and the file value of each.

    Args:
        classes: K names.
        palette: K colours, RGB, 0 to 255.
        values: K file values; `values[c]` is what a mask file holds where the class is c.
        ignored: file values that mean "no class": not trained on, not scored.
    """

    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    values: tuple[int, ...]
    ignored: tuple[int, ...] = (IGNORE_INDEX,)

    def __post_init__(self) -> None:
        """Check that the three lists go together."""
        if not len(self.classes) == len(self.palette) == len(self.values):
            raise InputError(
                f"a class list of the wrong length: {len(self.classes)} classes, {len(self.palette)} colours, "
                f"{len(self.values)} values; give one of each per class"
            )
        if not 1 < len(self.classes) < UNLISTED:
            raise InputError(f"{len(self.classes)} classes; between 2 and {UNLISTED - 1} can be used")

        numbers = [*self.values, *self.ignored, *(channel for color in self.palette for channel in color)]
        stray = [number for number in numbers if not 0 <= number <= 255]
        if stray:
            raise InputError(f"{stray[0]} is no value of an 8-bit mask or colour; use 0 to 255")

    @property
    def table(self) -> UInt8:
        """(256,): file value to class, `IGNORE_INDEX`, or `UNLISTED`."""
        table = np.full(256, UNLISTED, np.uint8)
        table[list(self.ignored)] = IGNORE_INDEX
        table[list(self.values)] = np.arange(len(self.values), dtype=np.uint8)
        return table


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file, as a layout names them; either may be absent."""

    image: Path
    mask: Path

    @property
    def complete(self) -> bool:
        """Whether both files exist."""
        return self.image.is_file() and self.mask.is_file()


class SegmentationDataset(Dataset[tuple[UInt8, UInt8]]):
    """Images and masks on disk, as uint8 arrays.

    Args:
        pairs: the files, in a fixed order.
        labels: the classes and the label table.
    """

    def __init__(self, pairs: Sequence[Pair], labels: Labels) -> None:
        """Keep the list of files; nothing is read yet."""
        self.pairs = pairs
        self.labels = labels
        self._table = labels.table

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pairs)

    def name(self, index: int) -> str:
        """Say which sample this is, for messages and file lists."""
        return str(self.pairs[index].image)

    def missing(self) -> list[Pair]:
        """Return the pairs of which a file is absent."""
        return [pair for pair in self.pairs if not pair.complete]

    def present(self) -> "SegmentationDataset":
        """Return the data set without the pairs of which a file is absent: this one, where none is."""
        complete = [pair for pair in self.pairs if pair.complete]
        return self if len(complete) == len(self.pairs) else SegmentationDataset(complete, self.labels)

    def __getitem__(self, index: int) -> tuple[UInt8, UInt8]:
        """Read one sample.

        Returns:
            image (H, W, 3) RGB and mask (H, W), whose values are classes or `IGNORE_INDEX`.

        Raises:
            InputError: a file is broken, the sizes differ, or the mask holds a value outside the table.
        """
        pair = self.pairs[index]
        image, values = read_image(pair.image), read_index_map(pair.mask)
        if image.shape[:2] != values.shape:
            raise InputError(
                f"sizes differ: image {pair.image} is {image.shape[0]}x{image.shape[1]} (height x width, EXIF rotation applied), "
                f"mask {pair.mask} is {values.shape[0]}x{values.shape[1]}; export both at one size"
            )
        mask = self._table[values]
        if (mask == UNLISTED).any():
            raise InputError(self._unlisted(pair.mask, values[mask == UNLISTED]))
        return image, mask

    def _unlisted(self, path: Path, values: UInt8) -> str:
        found, counts = np.unique(values, return_counts=True)
        listing = ", ".join(f"{value} ({count} pixels)" for value, count in zip(found[:5], counts[:5], strict=True))
        return (
            f"mask {path} holds label {listing}, which is out of range: the {len(self.labels.classes)} classes have the values "
            f"{min(self.labels.values)} to {max(self.labels.values)}, ignored are {list(self.labels.ignored)}; "
            "correct the mask, or add the value to the class list or to the ignored values"
        )


class TrainSamples(Dataset[dict[str, Any]]):
    """An endless stream of augmented samples, addressed by position.

    Position p is sample number p of the whole training: which image it is and how it is augmented follow
    from (seed, p) alone, for any number of workers, and after a resume. Each pass over the data is a new
    permutation.
    """

    def __init__(self, dataset: Dataset[tuple[UInt8, UInt8]], transform: "Transform", *, seed: int) -> None:
        """Wrap a data set of uint8 pairs."""
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self.size = len(dataset)  # type: ignore[arg-type]  # Dataset does not promise a length, ours have one
        self._permutation = lru_cache(maxsize=2)(self._draw_permutation)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the cache behind: worker processes started afresh make their own."""
        return {key: value for key, value in self.__dict__.items() if key != "_permutation"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore in a worker process."""
        self.__dict__.update(state)
        self._permutation = lru_cache(maxsize=2)(self._draw_permutation)

    def image_index(self, position: int) -> int:
        """Return which image stands at a position."""
        epoch, offset = divmod(position, self.size)
        return int(self._permutation(epoch)[offset])

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return {"image": (3, h, w) float32, "mask": (h, w) int64, "index": int}, h x w the crop size."""
        index = self.image_index(position)
        image, mask = self.dataset[index]
        a, b = np.random.SeedSequence([self.seed, position]).generate_state(2, np.uint64)
        self.transform.set_random_state(np.random.default_rng(int(a)), random.Random(int(b)))
        out = self.transform(image=image, mask=mask)
        return {"image": out["image"], "mask": out["mask"].long(), "index": index}

    def _draw_permutation(self, epoch: int) -> np.ndarray[Any, Any]:
        # The third word keeps this stream apart from the augmentation's.
        return np.random.default_rng([self.seed, epoch, 1]).permutation(self.size)


class ValSamples(Dataset[dict[str, Any]]):
    """Each image once, at the scales of the test; the mask keeps its original size.

    Args:
        dataset: of uint8 pairs.
        prepare: image to its normalised tensors, one (3, h, w) per scale.
    """

    def __init__(self, dataset: Dataset[tuple[UInt8, UInt8]], prepare: Callable[[UInt8], list[Tensor]]) -> None:
        """Wrap a data set of uint8 pairs."""
        self.dataset = dataset
        self.prepare = prepare

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)  # type: ignore[arg-type]  # Dataset does not promise a length, ours have one

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {"images": one (3, h, w) per scale, "mask": (H, W) uint8, "index": int}."""
        image, mask = self.dataset[index]
        return {"images": self.prepare(image), "mask": torch.from_numpy(mask), "index": index}
