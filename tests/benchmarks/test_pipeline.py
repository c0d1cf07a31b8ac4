"""What the pipeline benchmark times is the training pipeline."""

from pathlib import Path

import numpy as np
import pytest

from fcn_lightning import InputError
from fcn_lightning.benchmarks import pipeline
from fcn_lightning.config import build, compose
from fcn_lightning.data import images
from fcn_lightning.data.images import write_png


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    write_png(tmp_path / "a.png", rng.integers(0, 256, (64, 128, 3)).astype(np.uint8))
    write_png(tmp_path / "b.png", rng.integers(0, 19, (4, 8)).astype(np.uint8).repeat(16, 0).repeat(16, 1))
    return tmp_path / "a.png", tmp_path / "b.png"


@pytest.mark.parametrize(("cache", "reads"), [("none", 5), ("ram", 2)])
def test_without_a_cache_each_sample_is_decoded(
    files: tuple[Path, Path], cache: str, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    whole = images._plain_png
    monkeypatch.setattr(images, "_plain_png", lambda path, data, kind: decoded.append(kind) or whole(path, data, kind))
    small = ("dataset.base_scale=[128,64]", "dataset.crop_size=[32,64]", f"dataset.cache={cache}")
    datamodule = build(compose("recipe=fcn_r50-d8_512x1024_40k_cityscapes", *small).dataset)
    timing = pipeline.time_pipeline(datamodule, *files, repeat=3)
    # One look at the files before the clock starts, one sample before it, three timed ones.
    assert decoded.count(images.RGB) == decoded.count(images.GREY) == reads
    assert timing["repeat"] == 3
    assert 0 < timing["min_s"] <= timing["median_s"] <= timing["max_s"]
    assert timing["images_per_s_per_core"] == pytest.approx(1 / timing["median_s"])


def test_values_that_the_data_set_does_not_know_are_said(files: tuple[Path, Path]) -> None:
    datamodule = build(compose("dataset=camvid").dataset)
    with pytest.raises(InputError, match=r"b.png holds label 1\d "):
        pipeline.time_pipeline(datamodule, *files, repeat=1)
