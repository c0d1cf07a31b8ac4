"""Run as a program: read an epoch with eight loader processes and print what each holds alone, after each tenth, as JSON."""

import json
import sys
from pathlib import Path

from fcn_lightning.config import build, compose

IMAGES, WORKERS, BATCH = 20_000, 8, 50


def private_megabytes(workers: list[int]) -> float:
    """Return what the worker processes hold alone, on average: what copying on write adds to.

    Huge pages do not count: the system makes them in the background, of pages that were shared, whatever the process does.
    """
    kilobytes = 0
    for worker in workers:
        lines = [line.split() for line in Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()[1:]]
        sizes = {name: int(number) for name, number, *_ in lines}
        kilobytes += sizes["Private_Clean:"] + sizes["Private_Dirty:"] - sizes.get("AnonHugePages:", 0)
    return kilobytes / 1024 / len(workers)


def measure(root: str, cache: str) -> dict[int, float]:
    """Return images read -> MB per worker."""
    small = ("dataset.base_scale=[24,24]", "dataset.crop_size=[16,16]", f"dataset.cache={cache}")
    loading = (f"dataset.workers={WORKERS}", f"dataset.global_batch_size={BATCH}")
    datamodule = build(compose("dataset=folder", f"dataset.root={root}", *small, *loading).dataset)
    steps = IMAGES // BATCH
    datamodule.plan(max_steps=steps, ms_flip=False)
    loader = iter(datamodule.train_dataloader())
    workers = [process.pid for process in loader._workers]
    used = {}
    for step, _ in enumerate(loader, start=1):
        if step % (steps // 10) == 0 and step < steps:
            used[step * BATCH] = round(private_megabytes(workers), 1)
    return used


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1], sys.argv[2])))
