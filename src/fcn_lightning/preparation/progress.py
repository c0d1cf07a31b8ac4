"""How far a long step is: a bar on a terminal, a line now and then elsewhere."""

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

log = logging.getLogger(__name__)

LINE_EVERY = 30  # seconds


class Progress:
    """Show a step's progress while it lasts: `with Progress(...) as progress: progress.update(1)`.

    Args:
        what: is being done, as in "writing".
        total: amount of it.
        unit: it is counted in; "B" for bytes.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        """Show nothing yet."""
        self.what = what
        self.total = total
        self.done = 0
        self.bar: tqdm | None = None
        self._unit = unit
        self._last = time.perf_counter()

    def __enter__(self) -> Self:
        """Start the clock, and the bar."""
        self._last = time.perf_counter()
        if sys.stderr.isatty() and self.total:
            self.bar = tqdm(
                total=self.total, desc=self.what, unit=self._unit, unit_scale=self._unit == "B", leave=False, dynamic_ncols=True
            )
        return self

    def update(self, amount: int) -> None:
        """Add what has been done; write a line if the last one is some time ago."""
        self.done += amount
        now = time.perf_counter()
        if self.bar is not None:
            self.bar.update(amount)
        elif now - self._last >= LINE_EVERY:
            log.info("%s: %d %%", self.what, 100 * self.done // max(1, self.total))
            self._last = now

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End the bar's line."""
        if self.bar is not None:
            self.bar.close()


def in_words(size: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1000:.1f} kB"
