"""Worker processes share the list of files instead of copying it page by page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.data.worker_memory import IMAGES

SMAPS = Path("/proc/self/smaps_rollup")
MOST_GROWTH = 1.5  # MB per worker over nine tenths of an epoch; a list of Python objects costs 9.0, these arrays 0.9


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


@pytest.mark.slow
@pytest.mark.skipif(not SMAPS.exists(), reason="this system does not say what memory processes share")
@pytest.mark.parametrize("cache", ["none", "disk"])
def test_memory_of_eight_workers_is_flat_over_an_epoch(many: Path, cache: str, tmp_path: Path) -> None:
    # A process of its own, as a training is: this one holds all tests.
    command = [sys.executable, "-m", "tests.data.worker_memory", str(many), cache]
    environment = {**os.environ, "FCN_CACHE": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    used = list(json.loads(done.stdout.splitlines()[-1]).values())
    print(f"\ncache={cache}: MB of its own per worker, after each tenth of the epoch: {used}")  # noqa: T201  # with -s: the figure
    assert len(used) == 9
    assert used[-1] - used[0] < MOST_GROWTH, used
