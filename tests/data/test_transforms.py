"""The pipeline's steps against the reference's pixels and draws, and the pipeline as a whole."""

import random
from collections.abc import Callable
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_lightning.data import steps
from fcn_lightning.data import transforms as T
from fcn_lightning.data.batches import normalized
from fcn_lightning.data.windows import nearest_window, resized_window


class Replay:
    """The reference's random stream: numpy's legacy generator behind the names of the new one."""

    def __init__(self, seed: int) -> None:
        self.state = np.random.RandomState(seed)

    def uniform(self, low: float, high: float) -> float:
        return self.state.uniform(low, high)

    def integers(self, low: int, high: int) -> Any:
        return self.state.randint(low, high)


def test_keep_ratio_sizes(golden: dict[str, Any]) -> None:
    for case in golden["resize_keep_ratio"]:
        target = steps.scaled(case["base_scale"], case["ratio"])
        assert target == tuple(case["target_scale"])
        assert steps.keep_ratio_size((case["h"], case["w"]), target) == (case["new_h"], case["new_w"])


def test_sizes_of_the_multi_scale_test(golden: dict[str, Any]) -> None:
    assert {case["ratio"] for case in golden["tta_sizes"]} == set(T.MS_RATIOS)
    for case in golden["tta_sizes"]:
        assert steps.keep_ratio_size((case["h"], case["w"]), tuple(case["v0_target_scale"])) == tuple(case["v0_hw"])


def test_scale_draws(golden: dict[str, Any]) -> None:
    draws = Replay(0)
    drawn = [list(steps.draw_scale(draws, (2048, 1024), (0.5, 2.0))) for _ in range(4)]
    assert drawn == golden["random_resize_seed0"]


def inside(mask: T.UInt8) -> Callable[[steps.Box], T.UInt8]:
    return lambda box: mask[box[0] : box[1], box[2] : box[3]]


def test_crop_boxes(golden: dict[str, Any]) -> None:
    y, x = np.mgrid[:60, :100]
    mask = ((y // 15 + x // 25) % 4).astype(np.uint8)
    mask[:5] = 255
    mask[30:] = 1
    draws = Replay(3)
    drawn = [list(steps.draw_crop(draws, (60, 100), (32, 48), inside(mask))[0]) for _ in range(5)]
    assert drawn == golden["random_crop_seed3"]["boxes"]


def test_crop_of_a_mask_without_labels_takes_the_eleventh_box() -> None:
    mask = np.full((40, 40), 255, np.uint8)
    draws, expected = Replay(1), Replay(1)
    box, labels = steps.draw_crop(draws, (40, 40), (16, 16), inside(mask))
    assert labels.shape == (16, 16)
    boxes = [(int(expected.integers(0, 25)), int(expected.integers(0, 25))) for _ in range(11)]
    assert (box[0], box[2]) == boxes[-1]


@pytest.mark.parametrize("seed", range(6))
def test_photometric_distortion(golden: dict[str, Any], seed: int) -> None:
    case = golden["photometric"]
    rgb = np.array(case["bgr_in"], np.uint8)[..., ::-1].copy()
    out = steps.apply_photometric(rgb, steps.draw_photometric(Replay(seed)))
    assert out[..., ::-1].tolist() == case["outs"][seed]["out"]


def test_resampling_is_opencvs(golden: dict[str, Any]) -> None:
    case = golden["cv2_resize"]
    down = (3 * np.arange(64)).astype(np.uint8).reshape(8, 8)
    assert steps.resize(down, (3, 3)).tolist() == case["down_to_3x3"]
    assert resized_window(down, (3, 3), (0, 3, 0, 3)).tolist() == case["down_to_3x3"]
    nearest = np.array(case["nearest_in"] * 5, np.uint8)
    for side in (7, 3):
        whole = nearest_window(nearest, (side, side), (0, side, 0, side))
        assert whole.tolist() == case[f"nearest_to_{side}"] * side


def test_normalisation(golden: dict[str, Any]) -> None:
    case = golden["normalize"]
    pixel = np.array(case["bgr_pixel"][::-1], np.uint8).reshape(1, 1, 3)
    tensor = normalized(torch.from_numpy(pixel)[None])
    np.testing.assert_allclose(tensor.flatten().numpy(), case["rgb_normalised"], atol=1e-6)


def test_normalisation_is_the_references_division_to_the_last_bit() -> None:
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    expected = (values.astype(np.float32) - np.array(steps.MEAN, np.float32)) / np.array(steps.STD, np.float32)
    ours = normalized(torch.from_numpy(values))
    assert ours.is_contiguous()
    assert (ours.numpy() == expected.transpose(0, 3, 1, 2)).all()


def sample(height: int, width: int) -> tuple[T.UInt8, T.UInt8]:
    """Return an image whose red channel repeats the mask, so that both can be compared after any step."""
    mask = np.random.default_rng(0).integers(0, 5, (height // 8 + 1, width // 8 + 1)).astype(np.uint8)
    mask = mask.repeat(8, 0).repeat(8, 1)[:height, :width].copy()
    return np.stack([mask * 50] * 3, axis=-1), mask


def run(seed: int, crop_size: tuple[int, int], size: tuple[int, int], augment: T.Augment | None = None) -> dict[str, Any]:
    pipeline = T.train_transform((96, 64), (0.5, 2.0), crop_size, augment)
    pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
    image, mask = sample(*size)
    out: dict[str, Any] = pipeline(image=image, mask=mask)
    return out


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(20, 140), width=st.integers(20, 140))
def test_training_pipeline_gives_crops_with_the_mask_aligned(seed: int, height: int, width: int) -> None:
    out = run(seed, (48, 64), (height, width))
    image, mask = out["image"], out["mask"]
    assert (image.dtype, mask.dtype) == (np.uint8, np.uint8)
    assert image.shape == (*mask.shape, 3)
    assert mask.shape <= (48, 64)
    # Brightness is distorted the same for all pixels, so its order follows the mask's; small areas are mostly mixed borders.
    areas = [image[..., 0][mask == label] for label in np.unique(mask)]
    medians = [np.median(area) for area in areas if area.size > 60]
    assert medians == sorted(medians)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(20, 140), width=st.integers(20, 140))
def test_training_pipeline_equals_its_steps_one_by_one(seed: int, height: int, width: int) -> None:
    """Resize all, crop, flip, distort, as the reference does, with the same draws."""
    image, mask = sample(height, width)
    rng = np.random.default_rng(seed)
    scale = steps.draw_scale(rng, (96, 64), (0.5, 2.0))
    new = steps.keep_ratio_size((height, width), scale)
    image = cv2.resize(image, new[::-1], interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(mask, new[::-1], interpolation=cv2.INTER_NEAREST)
    box, _ = steps.draw_crop(rng, new, (48, 64), inside(mask))
    image, mask = image[box[0] : box[1], box[2] : box[3]], inside(mask)(box)
    if rng.uniform(0, 1) < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    image = steps.apply_photometric(np.ascontiguousarray(image), steps.draw_photometric(rng))
    out = run(seed, (48, 64), (height, width))
    np.testing.assert_array_equal(out["image"], image)
    np.testing.assert_array_equal(out["mask"], mask)


def test_further_transforms_before_and_after_the_standard_ones() -> None:
    whole = run(5, (32, 32), (64, 96), T.Augment(before=[A.CenterCrop(20, 20)]))
    assert max(whole["mask"].shape) <= 32
    inverted = run(5, (32, 32), (64, 96), T.Augment(after=[A.InvertImg(p=1)]))
    assert (inverted["image"] == 255 - run(5, (32, 32), (64, 96))["image"]).all()
    noisy = [run(seed, (32, 32), (64, 96), T.Augment(after=[A.GaussNoise(p=1)]))["image"] for seed in (5, 5, 6)]
    assert (noisy[0] == noisy[1]).all()
    assert (noisy[0] != run(5, (32, 32), (64, 96))["image"]).any()


def test_same_random_state_gives_the_same_sample() -> None:
    first, second, third = run(5, (32, 32), (64, 96)), run(5, (32, 32), (64, 96)), run(6, (32, 32), (64, 96))
    assert (first["image"] == second["image"]).all()
    assert (first["image"] != third["image"]).any()


def test_flip_and_coins_are_not_correlated() -> None:
    # albumentations' own seeding gives every step the same numbers; ours shares one generator.
    rng = np.random.default_rng(0)
    pipeline = A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)])
    image = np.array([[0, 1], [2, 3]], np.uint8)
    pipeline.set_random_state(rng, random.Random(0))
    corners = [int(pipeline(image=image)["image"][0, 0]) for _ in range(400)]
    assert min(corners.count(value) for value in range(4)) > 60


def test_no_test_padding_and_six_scales() -> None:
    image, _ = sample(75, 100)
    images = T.ImagePreparation((128, 96), T.MS_RATIOS)(image)
    assert [scaled.shape for scaled in images] == [
        (48, 64, 3),
        (72, 96, 3),
        (96, 128, 3),
        (120, 160, 3),
        (144, 192, 3),
        (168, 224, 3),
    ]


@settings(max_examples=100, deadline=None)
@given(offset=st.floats(-32, 32) | st.integers(-32, 32).map(float))
def test_brightness_is_the_references_table(offset: float) -> None:
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    draw = steps.Photometric(offset, None, False, None, None)
    expected = np.clip(values.astype(np.float32) + offset, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(steps.apply_photometric(values, draw), expected)
