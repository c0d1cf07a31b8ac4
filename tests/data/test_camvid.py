"""CamVid where it is at hand; it is never part of this repository."""

import os
from pathlib import Path

import numpy as np
import pytest

from fcn_lightning.data.camvid import LABELS, CamVidDataModule

ROOT = Path(os.environ.get("FCN_DATA", "data")) / "camvid"
needs_camvid = pytest.mark.skipif(
    not ROOT.is_dir(), reason=f"CamVid is not at {ROOT}; set FCN_DATA to the folder that holds camvid/"
)


def module() -> CamVidDataModule:
    return CamVidDataModule(
        base_scale=(480, 360), ratio_range=(0.5, 2.0), crop_size=(256, 256), global_batch_size=2, workers=0, seed=0, root=str(ROOT)
    )


def test_unlabelled_is_ignored() -> None:
    assert LABELS.table[[0, 10, 11, 255]].tolist() == [0, 10, 255, 255]


@needs_camvid
def test_counts_and_sizes() -> None:
    train, val = module().build("train"), module().build("val")
    assert (len(train), len(val)) == (367, 101)
    image, mask = val[0]
    assert image.shape == (360, 480, 3)
    assert mask.shape == (360, 480)


@needs_camvid
def test_share_of_each_class() -> None:
    train = module().build("train")
    counts = sum(np.bincount(train[index][1].ravel(), minlength=256) for index in range(len(train)))
    share = counts / counts.sum() * 100
    expected = [16.85, 23.26, 0.98, 31.66, 4.49, 9.72, 1.17, 1.13, 5.87, 0.64, 0.29]  # as published with the data
    np.testing.assert_allclose(share[:11], expected, atol=0.006)
    assert share[255] == pytest.approx(3.95, abs=0.006)


@needs_camvid
def test_a_training_batch() -> None:
    data = module()
    data.plan(max_steps=1, ms_flip=False)
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 256, 256, 3)
    assert batch["mask"].shape == (2, 256, 256)
    assert set(batch["mask"].unique().tolist()) <= {*range(11), 255}
