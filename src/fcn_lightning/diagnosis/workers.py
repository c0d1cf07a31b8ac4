"""One function on many files, in as many processes as there are cores."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Self, TypeVar

import cv2
from tqdm import tqdm

log = logging.getLogger(__name__)

FEW = 200  # files for which starting processes does not pay
CHUNK = 32  # files that a process gets at a time
LINE_EVERY = 10  # seconds between lines where there is no terminal

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Processes that apply functions to files; they start with the first long list, and end with the `with` block.

    Args:
        processes: that work at the same time.
    """

    def __init__(self, processes: int) -> None:
        """Start nothing yet."""
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item], *, doing: str) -> list[Result]:
        """Apply a function to each item, and show how far it is.

        Args:
            function: of a module, so that another process can import it.
            items: files, or what describes them.
            doing: what is done, for the progress line.

        Returns:
            The results, in the order of the items.
        """
        if self.processes < 2 or len(items) < FEW:
            return list(_shown(map(function, items), len(items), doing))
        if self._pool is None:
            # Spawned, not forked: this process may have threads, and forking a process with threads can hang.
            self._pool = ProcessPoolExecutor(self.processes, get_context("spawn"), initializer=_single_threaded)
        return list(_shown(self._pool.map(function, items, chunksize=CHUNK), len(items), doing))


def _shown(results: Iterable[Result], total: int, doing: str) -> Iterator[Result]:
    bar = tqdm(total=total, desc=doing, unit="file", dynamic_ncols=True) if sys.stderr.isatty() and total >= FEW else None
    last = time.perf_counter()
    for done, result in enumerate(results, start=1):
        yield result
        if bar is not None:
            bar.update()
        elif time.perf_counter() - last >= LINE_EVERY:
            log.info("%s: %d of %d files", doing, done, total)
            last = time.perf_counter()
    if bar is not None:
        bar.close()


def _single_threaded() -> None:
    cv2.setNumThreads(0)  # the processes themselves are the parallelism
