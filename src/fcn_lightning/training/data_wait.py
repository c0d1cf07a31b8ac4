"""How long a device stands still because the next batch is not there yet."""

import time

import torch

Mark = float | torch.cuda.Event


class DataWait:
    """Add up the waits between the end of a step and the start of the next.

    On a CPU a wait is the time in between. A GPU works on while this process waits for a batch, so there the time in between
    would be counted although nothing stands still: what counts is how long the GPU's queue was empty, by its own clock. It
    includes the copy of the batch to the device.

    Args:
        device: of the training.
    """

    def __init__(self, device: torch.device) -> None:
        """Start with nothing added up."""
        self.device = device
        self._end: Mark | None = None
        self._waits: list[tuple[Mark, Mark]] = []

    def begin(self) -> None:
        """Note that no more is to be done until the next batch is there: after a step, or after a validation."""
        self._end = self._mark()

    def end(self) -> None:
        """Note that the next batch is there. Without a `begin` before it, as in the first step, nothing is added."""
        if self._end is not None:
            self._waits.append((self._end, self._mark()))
            self._end = None

    def take(self) -> float:
        """Return the seconds since the last call, and start anew; a GPU has to reach the last step for this."""
        seconds = sum(_seconds(begin, end) for begin, end in self._waits)
        self._waits = []
        return seconds

    def _mark(self) -> Mark:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # PyTorch's constructor has no types
        event.record(torch.cuda.current_stream(self.device))
        return event


def _seconds(begin: Mark, end: Mark) -> float:
    if isinstance(begin, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000
    if isinstance(begin, float) and isinstance(end, float):
        return end - begin
    raise TypeError(f"{begin} and {end} are marks of two clocks")
