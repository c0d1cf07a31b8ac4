"""Which samples each process reads: of the endless training stream, and of the validation images."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from fcn_lightning import InputError


class PositionSampler(Sampler[list[int]]):
    """Batches of positions for the steps `start_step` to `max_steps`: stateless, so a resume is a number.

    Step s reads the positions s * global_batch_size to (s + 1) * global_batch_size, in `accumulate` parts that the ranks
    share; any number of ranks and parts sees the same samples in each step.

    Args:
        global_batch_size: images per optimiser step over all ranks.
        max_steps: where training ends.
        start_step: optimiser steps already done.
        rank: of this process.
        world_size: number of processes.
        accumulate: batches per optimiser step that each process reads one after the other.

    Raises:
        InputError: the images of a step cannot be shared evenly.
    """

    def __init__(
        self,
        *,
        global_batch_size: int,
        max_steps: int,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        """Check that the ranks can share a step evenly."""
        parts = world_size * accumulate
        if global_batch_size % parts:
            fitting = [number for number in range(1, global_batch_size + 1) if global_batch_size % number == 0]
            raise InputError(
                f"dataset.global_batch_size={global_batch_size} images cannot be shared evenly by {world_size} devices with "
                f"trainer.accumulate={accumulate}; devices times accumulate can be {', '.join(map(str, fitting))}"
            )
        self.global_batch_size = global_batch_size
        self.max_steps = max_steps
        self.start_step = start_step
        self.rank = rank
        self.world_size = world_size
        self.accumulate = accumulate
        self.batch_size = global_batch_size // parts  # per device, at a time

    def __len__(self) -> int:
        """Return the number of batches that remain for this process."""
        return (self.max_steps - self.start_step) * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        """Yield one list of positions per batch."""
        for step in range(self.start_step, self.max_steps):
            for part in range(self.accumulate):
                first = step * self.global_batch_size + (part * self.world_size + self.rank) * self.batch_size
                yield list(range(first, first + self.batch_size))


class ShardSampler(Sampler[int]):
    """Every image once, over all processes: rank r reads the images r, r + world_size, and so on.

    Args:
        images: of the data set.
        rank: of this process.
        world_size: number of processes.

    Raises:
        InputError: there are more processes than images.
    """

    def __init__(self, images: int, *, rank: int, world_size: int) -> None:
        """Check that every process has something to do: one that never validates would let the others wait."""
        if images < world_size:
            raise InputError(f"{images} validation images are too few for {world_size} devices; set trainer.devices={images}")
        self.shard = range(rank, images, world_size)

    def __len__(self) -> int:
        """Return the number of images of this process."""
        return len(self.shard)

    def __iter__(self) -> Iterator[int]:
        """Yield the images of this process, in the order of the data set."""
        return iter(self.shard)
