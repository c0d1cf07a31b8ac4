"""`Pair`, an image file and its mask file, and `Pairs`, a long list of them that worker processes can share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import overload

import numpy as np


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file, as a layout names them; either may be absent."""

    image: Path
    mask: Path

    @property
    def complete(self) -> bool:
        """Whether both files exist."""
        return self.image.is_file() and self.mask.is_file()


class Pairs(Sequence[Pair]):
    """Pairs in a fixed order, packed into two arrays.

    A list of Python objects would be copied into each worker process page by page, as reading an object writes its
    reference count; of an array, all processes share one copy.
    """

    def __init__(self, pairs: Iterable[Pair]) -> None:
        """Pack the names."""
        names = [str(path).encode("utf-8", "surrogateescape") for pair in pairs for path in (pair.image, pair.mask)]
        self._bytes = np.frombuffer(b"".join(names), np.uint8)
        self._ends = np.fromiter(accumulate(map(len, names), initial=0), np.int64, len(names) + 1)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return (len(self._ends) - 1) // 2

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> "Pairs": ...
    def __getitem__(self, index: int | slice) -> "Pair | Pairs":
        """Return one pair, or some."""
        if isinstance(index, slice):
            return Pairs(self[number] for number in range(*index.indices(len(self))))
        number = range(len(self))[index]
        return Pair(self._path(2 * number), self._path(2 * number + 1))

    def __eq__(self, other: object) -> bool:
        """Compare with any sequence of pairs."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of lists

    def __repr__(self) -> str:
        """Show the pairs."""
        return repr(list(self))

    def _path(self, number: int) -> Path:
        return Path(self._bytes[self._ends[number] : self._ends[number + 1]].tobytes().decode("utf-8", "surrogateescape"))
