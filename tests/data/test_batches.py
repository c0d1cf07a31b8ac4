"""Batches: what padding becomes, and what travels as bytes."""

import numpy as np
import pytest
import torch

from fcn_lightning import InputError
from fcn_lightning.data.batches import collate_train, collate_val, train_batch, val_batch
from fcn_lightning.data.dataset import TrainSamples, ValSamples
from fcn_lightning.data.shapes import Shapes
from fcn_lightning.data.transforms import A, Augment, ImagePreparation, train_transform


def samples(crop_size: tuple[int, int], augment: Augment | None = None) -> TrainSamples:
    return TrainSamples(Shapes(5, 48, 0), train_transform((48, 48), (0.5, 0.9), crop_size, augment), crop_size=crop_size, seed=0)


def test_padding_has_the_mean_colour_and_no_label() -> None:
    source = samples((40, 64))
    collated = collate_train([source[position] for position in range(3)])
    assert (collated["image"].dtype, collated["mask"].dtype) == (torch.uint8, torch.uint8)
    batch = train_batch(collated)
    assert (batch["image"].dtype, batch["mask"].dtype) == (torch.float32, torch.int64)
    for number in range(3):
        height, width = source[number]["size"]
        assert height < 48
        assert width < 64
        padding = torch.ones(40, 64, dtype=torch.bool)
        padding[:height, :width] = False
        assert (batch["image"][number][:, padding] == 0).all()
        assert (batch["mask"][number][padding] == 255).all()
        assert (batch["image"][number][:, ~padding] != 0).any()
        assert (batch["mask"][number][~padding] != 255).all()


def test_a_batch_of_the_test_is_one_image_at_all_scales() -> None:
    collated = collate_val([ValSamples(Shapes(2, 48, 0), ImagePreparation((96, 96), (0.5, 1.0)))[1]])
    batch = val_batch(collated)
    assert [tuple(image.shape) for image in batch["images"]] == [(1, 3, 48, 48), (1, 3, 96, 96)]
    assert (batch["mask"].shape, batch["index"]) == ((48, 48), 1)


@pytest.mark.parametrize("bad", [A.Resize(64, 64), A.ToFloat(max_value=255)])
def test_a_transform_that_breaks_the_crop_is_named(bad: A.BasicTransform) -> None:
    with pytest.raises(InputError, match=r"transforms of dataset\.augment made an image of \(\d+, \d+, 3\)"):
        samples((32, 32), Augment(after=[bad]))[0]


def test_samples_are_the_same_for_any_augmentation_object() -> None:
    one, two = (samples((32, 32), Augment(after=[A.GaussNoise(p=0.5)])) for _ in range(2))
    assert all(torch.equal(one[position]["image"], two[position]["image"]) for position in range(6))
    assert isinstance(np.asarray(one[0]["image"]), np.ndarray)
