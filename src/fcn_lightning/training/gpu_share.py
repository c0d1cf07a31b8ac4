"""Dividing the GPUs of a machine among jobs that run on it at once, each in a process of its own."""

import os
from collections.abc import Sequence
from pathlib import Path

from fcn_lightning.data import locks

VISIBLE = "CUDA_VISIBLE_DEVICES"
_held: list[int] = []  # the lock on this process's share, for as long as it lives; several jobs may follow each other in it


def take_share(folder: Path, jobs: int) -> None:
    """Let this process see its share of the GPUs alone: otherwise each job would take the first ones.

    Call it before the process uses a GPU. Where a machine has fewer than two, nothing happens.

    Args:
        folder: in which the processes agree.
        jobs: that run at once.
    """
    gpus = _visible()
    if _held or len(gpus) < 2 or not locks.AVAILABLE:
        return
    for slot in range(jobs):
        file = os.open(folder / f"share{slot}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        if locks.try_lock(file):
            _held.append(file)
            os.environ[VISIBLE] = ",".join(share(gpus, jobs, slot))
            return
        os.close(file)


def share(gpus: Sequence[str], jobs: int, slot: int) -> list[str]:
    """Return the GPUs of one of several jobs: equal numbers; one GPU for several jobs, where there are more jobs than GPUs.

    Args:
        gpus: names, G.
        jobs: that run at once.
        slot: which of them, from 0.
    """
    each = max(1, len(gpus) // jobs)
    return [gpus[(slot * each + number) % len(gpus)] for number in range(each)]


def _visible() -> list[str]:
    given = os.environ.get(VISIBLE)
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
