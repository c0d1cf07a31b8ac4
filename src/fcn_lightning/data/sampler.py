"""Which positions of the endless training stream each step reads: stateless, so a resume is a number."""

from collections.abc import Iterator

from torch.utils.data import Sampler


class PositionSampler(Sampler[list[int]]):
    """Batches of positions for the steps `start_step` to `max_steps`.

    Step s reads the positions s * global_batch_size to (s + 1) * global_batch_size; each rank takes a
    contiguous part, so any number of ranks sees the same samples in each step.

    Args:
        global_batch_size: images per optimiser step over all ranks.
        max_steps: where training ends.
        start_step: optimiser steps already done.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, *, global_batch_size: int, max_steps: int, start_step: int = 0, rank: int = 0, world_size: int = 1) -> None:
        """Check that the ranks can share a batch evenly."""
        if global_batch_size % world_size:
            raise ValueError(f"global_batch_size={global_batch_size} is not divisible by {world_size} devices")
        self.global_batch_size = global_batch_size
        self.max_steps = max_steps
        self.start_step = start_step
        self.rank = rank
        self.batch_size = global_batch_size // world_size  # per device

    def __len__(self) -> int:
        """Return the number of steps that remain."""
        return self.max_steps - self.start_step

    def __iter__(self) -> Iterator[list[int]]:
        """Yield one list of positions per step."""
        for step in range(self.start_step, self.max_steps):
            first = step * self.global_batch_size + self.rank * self.batch_size
            yield list(range(first, first + self.batch_size))
