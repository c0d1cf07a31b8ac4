"""`SegmentationDataset`: pairs of image and mask files with one label table, and the two views that loaders iterate.

Plain PyTorch. A data set of its own says which files belong together and which file value means which class.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from fcn_lightning import InputError
from fcn_lightning.data.images import UInt8, read_image, read_index_map
from fcn_lightning.data.pairs import Pair, Pairs

if TYPE_CHECKING:  # albumentations takes seconds to import, and only loaders need it
    from fcn_lightning.data.transforms import Transform

IGNORE_INDEX = 255
UNLISTED = 254  # what the table gives for a file value that the data set does not know
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # in a name they would steer the terminal that it is shown on

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Labels:
    """The classes of a data set: names, colours, and the file value of each.

    Args:
        classes: K names.
        palette: K colours, RGB, 0 to 255.
        values: K file values; `values[c]` is what a mask file holds where the class is c.
        ignored: file values that mean "no class": not trained on, not scored.
        aliases: further file values, each with its class, where several mean the same.
    """

    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    values: tuple[int, ...]
    ignored: tuple[int, ...] = (IGNORE_INDEX,)
    aliases: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Check that the three lists go together, and that they hold words and numbers."""
        if not len(self.classes) == len(self.palette) == len(self.values):
            raise InputError(
                f"a class list of the wrong length: {len(self.classes)} classes, {len(self.palette)} colours, "
                f"{len(self.values)} values; give one of each per class"
            )
        if not 1 < len(self.classes) < UNLISTED:
            raise InputError(f"{len(self.classes)} classes; between 2 and {UNLISTED - 1} can be used")

        strange = [name for name in self.classes if not isinstance(name, str) or CONTROL.search(name)]
        if strange:
            raise InputError(f"a class is called {strange[0]!r:.80}, which is no name; write a word without control characters")
        if not all(len(color) == 3 for color in self.palette):
            raise InputError("a class's colour is not three numbers; write [r, g, b] for each")

        numbers = [
            *self.values,
            *self.ignored,
            *(value for value, _ in self.aliases),
            *(channel for color in self.palette for channel in color),
        ]
        stray = [number for number in numbers if not isinstance(number, int) or not 0 <= number <= 255]
        if stray:
            raise InputError(f"{stray[0]} is no value of an 8-bit mask or colour; use 0 to 255")

    @property
    def table(self) -> UInt8:
        """(256,): file value to class, `IGNORE_INDEX`, or `UNLISTED`."""
        table = np.full(256, UNLISTED, np.uint8)
        table[list(self.ignored)] = IGNORE_INDEX
        table[list(self.values)] = np.arange(len(self.values), dtype=np.uint8)
        for value, number in self.aliases:
            table[value] = number
        return table


class SegmentationDataset(Dataset[tuple[UInt8, UInt8]]):
    """Images and masks on disk, as uint8 arrays.

    Args:
        pairs: the files, in a fixed order.
        labels: the classes and the label table.
    """

    def __init__(self, pairs: Sequence[Pair], labels: Labels) -> None:
        """Keep the list of files; nothing is read yet."""
        self.pairs = Pairs(pairs)
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
        image, mask = read_image(pair.image), self.mask(index)
        if image.shape[:2] != mask.shape:
            raise InputError(
                f"sizes differ: image {pair.image} is {image.shape[0]}x{image.shape[1]} (height x width, EXIF rotation applied), "
                f"mask {pair.mask} is {mask.shape[0]}x{mask.shape[1]}; export both at one size"
            )
        return image, mask

    def mask(self, index: int) -> UInt8:
        """Read one mask: (H, W), whose values are classes or `IGNORE_INDEX`.

        Raises:
            InputError: the file is broken, or holds a value outside the table.
        """
        path = self.pairs[index].mask
        values = read_index_map(path)
        mask = cv2.LUT(values, self._table).astype(np.uint8, copy=False)  # five times as fast as numpy's indexing
        if (mask == UNLISTED).any():
            raise InputError(self._unlisted(path, values[mask == UNLISTED]))
        return mask

    def _unlisted(self, path: Path, values: UInt8) -> str:
        found, counts = np.unique(values, return_counts=True)
        listing = ", ".join(f"{value} ({count} pixels)" for value, count in zip(found[:5], counts[:5], strict=True))
        return (
            f"mask {path} holds label {listing}, which is out of range: the {len(self.labels.classes)} classes have the values "
            f"{min(self.labels.values)} to {max(self.labels.values)}, ignored are {list(self.labels.ignored)}; "
            "correct the mask, or add the value to the class list, the ignored values or the label_map"
        )


class TrainSamples(Dataset[dict[str, Any]]):
    """An endless stream of augmented samples, addressed by position.

    Args:
        dataset: of uint8 pairs.
        transform: the training pipeline.
        crop_size: height and width that smaller crops are padded to.
        seed: of order and augmentation.

    Position p is sample number p of the whole training: which image it is and how it is augmented follow
    from (seed, p) alone, for any number of workers, and after a resume. Each pass over the data is a new
    permutation.
    """

    def __init__(
        self, dataset: Dataset[tuple[UInt8, UInt8]], transform: "Transform", *, crop_size: tuple[int, int], seed: int
    ) -> None:
        """Wrap a data set of uint8 pairs."""
        self.dataset = dataset
        self.transform = transform
        self.crop_size = crop_size
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
        """Return one augmented sample, padded to the crop size.

        Returns:
            image (h, w, 3) RGB uint8, 0 in the padding at the right and the bottom; mask (h, w) uint8, `IGNORE_INDEX`
            there; size, height and width without the padding; index of the image.

        Raises:
            InputError: a file is broken, or a transform enlarged the crop.
        """
        index = self.image_index(position)
        image, mask = self.dataset[index]
        a, b = np.random.SeedSequence([self.seed, position]).generate_state(2, np.uint64)
        self.transform.set_random_state(np.random.default_rng(int(a)), random.Random(int(b)))
        out = self.transform(image=image, mask=mask)
        crop, labels = out["image"], out["mask"]
        size = (labels.shape[0], labels.shape[1])
        if size != crop.shape[:2] or crop.dtype != np.uint8 or size[0] > self.crop_size[0] or size[1] > self.crop_size[1]:
            raise InputError(
                f"the transforms of dataset.augment made an image of {crop.shape} {crop.dtype} and a mask of {size}, where uint8 "
                f"of at most {self.crop_size} belongs; put those that enlarge under `before`, and leave out those that make floats"
            )
        padded = torch.from_numpy(_padded(crop, self.crop_size, 0)), torch.from_numpy(_padded(labels, self.crop_size, IGNORE_INDEX))
        return {"image": padded[0], "mask": padded[1], "size": size, "index": index}

    def _draw_permutation(self, epoch: int) -> np.ndarray[Any, Any]:
        # The third word keeps this stream apart from the augmentation's.
        return np.random.default_rng([self.seed, epoch, 1]).permutation(self.size)


class ValSamples(Dataset[dict[str, Any]]):
    """Each image once, at the scales of the test; the mask keeps its original size.

    Args:
        dataset: of uint8 pairs.
        prepare: image to one (h, w, 3) per scale.
    """

    def __init__(self, dataset: Dataset[tuple[UInt8, UInt8]], prepare: Callable[[UInt8], list[UInt8]]) -> None:
        """Wrap a data set of uint8 pairs."""
        self.dataset = dataset
        self.prepare = prepare

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)  # type: ignore[arg-type]  # Dataset does not promise a length, ours have one

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {"images": one (h, w, 3) uint8 per scale, "mask": (H, W) uint8, "index": int}."""
        image, mask = self.dataset[index]
        return {
            "images": [torch.from_numpy(scaled) for scaled in self.prepare(image)],
            "mask": torch.from_numpy(np.require(mask, requirements="W")),
            "index": index,
        }


def _padded(pixels: UInt8, size: tuple[int, int], fill: int) -> UInt8:
    """Fill up at the right and the bottom; what has the size already is not copied unless it lies scattered."""
    if pixels.shape[:2] == size:
        return np.ascontiguousarray(pixels)
    padded = np.full((*size, *pixels.shape[2:]), fill, np.uint8)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    return padded
