"""A window of a resized image has the pixels of the whole resized image."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_lightning.data import windows
from fcn_lightning.data.steps import Box

SIDES = st.integers(2, 200)


def pixels(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(size[0]).integers(0, 256, (*size, 3), dtype=np.uint8)


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], Box]:
    source = draw(SIDES), draw(SIDES)
    factor = draw(st.sampled_from((0.5, 1.0, 2.0)) | st.floats(0.3, 3))
    size = max(1, int(source[0] * factor + 0.5)), max(1, int(source[1] * factor + 0.5))
    y1, x1 = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
    return source, size, (y1, draw(st.integers(y1 + 1, size[0])), x1, draw(st.integers(x1 + 1, size[1])))


@settings(max_examples=400, deadline=None)
@given(case=cases())
def test_image_windows_are_bit_equal(case: tuple[tuple[int, int], tuple[int, int], Box]) -> None:
    source, size, (y1, y2, x1, x2) = case
    image = pixels(source)
    whole = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(windows.resized_window(image, size, (y1, y2, x1, x2)), whole[y1:y2, x1:x2])


@settings(max_examples=400, deadline=None)
@given(case=cases())
def test_mask_windows_are_bit_equal(case: tuple[tuple[int, int], tuple[int, int], Box]) -> None:
    source, size, (y1, y2, x1, x2) = case
    mask = pixels(source)[..., 0].copy()
    whole = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(windows.nearest_window(mask, size, (y1, y2, x1, x2)), whole[y1:y2, x1:x2])


@pytest.mark.parametrize("ratio", [0.5, 0.73, 1.0, 1.31, 1.999, 2.0])
def test_at_the_size_of_cityscapes(ratio: float) -> None:
    image = pixels((1024, 2048))
    size = int(1024 * ratio + 0.5), int(2048 * ratio + 0.5)
    box = size[0] - 500, size[0] - 4, size[1] - 1000, size[1] - 3
    whole = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(windows.resized_window(image, size, box), whole[box[0] : box[1], box[2] : box[3]])


def test_a_build_of_opencv_whose_corners_differ_resizes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert windows.corners_are_exact()
    exact = windows._resized_corner
    monkeypatch.setattr(windows, "_resized_corner", lambda *arguments: exact(*arguments) ^ 1)
    windows.corners_are_exact.cache_clear()
    try:
        assert not windows.corners_are_exact()
        image = pixels((40, 50))
        whole = cv2.resize(image, (75, 60), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(windows.resized_window(image, (60, 75), (10, 30, 20, 50)), whole[10:30, 20:50])
    finally:
        windows.corners_are_exact.cache_clear()
