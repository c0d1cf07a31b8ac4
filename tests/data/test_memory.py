"""Worker processes share the list of files instead of copying it page by page."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from fcn_lightning.config import build, compose
from fcn_lightning.data.batches import collate_train
from fcn_lightning.data.sampler import PositionSampler

IMAGES, WORKERS, BATCH = 20_000, 8, 50
SMAPS = Path("/proc/self/smaps_rollup")
MOST_GROWTH = 1.5  # MB per worker over nine tenths of an epoch; a list of Python objects costs 9.0, these arrays 0.8


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 20,000 tiny pairs under long names, all links to one image and one mask."""
    root = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    sources = {"images": (".jpg", rng.integers(0, 256, (24, 24, 3))), "masks": (".png", rng.integers(0, 3, (24, 24)))}
    for kind, (suffix, pixels) in sources.items():
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{kind}{suffix}")
        for split, number in (("train", IMAGES), ("val", 1)):
            folder = root / kind / split
            folder.mkdir(parents=True)
            for index in range(number):
                os.link(root / f"{kind}{suffix}", folder / f"a_long_name_as_data_sets_have_them_{index:08d}{suffix}")
    (root / "classes.yaml").write_text("classes: [a, b, c]\n")
    return root


def private_megabytes(workers: list[int]) -> float:
    """Return what the worker processes hold alone, on average: what copying on write adds to."""
    kilobytes = 0
    for worker in workers:
        lines = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Private"))
    return kilobytes / 1024 / len(workers)


@pytest.mark.slow
@pytest.mark.skipif(not SMAPS.exists(), reason="this system does not say what memory processes share")
@pytest.mark.parametrize("cache", ["none", "disk"])
def test_memory_of_eight_workers_is_flat_over_an_epoch(
    many: Path, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FCN_CACHE", str(tmp_path))
    small = ("dataset.base_scale=[24,24]", "dataset.crop_size=[16,16]", f"dataset.cache={cache}")
    datamodule = build(compose("dataset=folder", f"dataset.root={many}", *small).dataset)
    sampler = PositionSampler(global_batch_size=BATCH, max_steps=IMAGES // BATCH)
    loader = iter(DataLoader(datamodule.train_samples(), batch_sampler=sampler, num_workers=WORKERS, collate_fn=collate_train))
    workers = [process.pid for process in loader._workers]  # type: ignore[attr-defined]
    used = {}
    for step, _ in enumerate(loader, start=1):
        if step % (len(sampler) // 10) == 0 and step < len(sampler):
            used[step * BATCH] = private_megabytes(workers)
    shown = {images: round(megabytes, 1) for images, megabytes in used.items()}
    print(f"\ncache={cache}: MB of its own per worker, after so many images: {shown}")  # noqa: T201  # with -s: the figure itself
    growth = used[max(used)] - used[min(used)]
    assert growth < MOST_GROWTH, used
