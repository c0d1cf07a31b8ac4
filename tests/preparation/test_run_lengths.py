"""Run lengths and polygons, against masks whose pixels are known."""

import numpy as np
import pytest
from pycocotools import mask as coco

from fcn_lightning import InputError
from fcn_lightning.preparation.run_lengths import decode

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


def compressed(pixels: np.ndarray) -> dict[str, object]:
    runs = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": list(pixels.shape), "counts": runs["counts"].decode()}


def uncompressed(pixels: np.ndarray) -> dict[str, object]:
    """Count runs down the columns, the first of zeros."""
    counts, value = [0], False
    for pixel in pixels.T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(pixels.shape), "counts": counts}


@pytest.mark.parametrize("density", [0, 0.01, 0.3, 0.99, 1])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (60, 90)])
def test_both_forms_of_runs_give_the_mask(density: float, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        pixels = rng.random(size) < density
        pixels[: size[0] // 2] |= rng.random() < 0.5  # long runs beside short ones, so that their changes are large
        assert (decode(compressed(pixels), *size) == pixels).all()
        assert (decode(uncompressed(pixels), *size) == pixels).all()


def test_polygons_are_joined() -> None:
    expected = np.zeros((6, 9), bool)
    expected[1:3, 2:5] = expected[3:6, 6:8] = True
    assert (decode([[2, 1, 5, 1, 5, 3, 2, 3], [6, 3, 8, 3, 8, 6, 6, 6]], 6, 9) == expected).all()


HALF = compressed(np.eye(5, 7))


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ({"size": [5, 7], "counts": [3, 4]}, "its runs have 7 pixels, the image 35"),
        ({"size": [5, 7], "counts": [30, 6]}, "its runs have 36 pixels, the image 35"),
        ({"size": [5, 7], "counts": [40, -5]}, "cannot be read"),
        ({"size": [5, 7], "counts": str(HALF["counts"])[:-2]}, "its runs have .* pixels"),
        ({"size": [5, 7], "counts": str(HALF["counts"]) + "P"}, "its runs are cut off"),
        ({"size": [5, 7], "counts": ""}, "its runs are cut off"),
        ({"size": [5, 7], "counts": "Pé"}, "its runs are cut off"),
        ({"size": [5, 7], "counts": "oooooooooo0"}, "its runs are too long"),
        ({"size": [5, 7], "counts": "d0d0K"}, "its runs are negative"),  # 20, 20, -5
        ({"size": [7, 5], "counts": HALF["counts"]}, r"its size is \[7, 5\], the image's \[5, 7\]"),
        ({"size": [5, 7]}, "no key 'counts'"),
        ({"counts": HALF["counts"]}, "no key 'size'"),
        ([], "no polygon"),
        ([[1, 2, 3, 4]], "three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "two numbers"),
        ([[1, 2, 3, 4, 5, 1e9]], "outside the image"),
        ([[1, 2, 3, 4, 5, float("nan")]], "outside the image"),
        ("text", "cannot be read"),
        (None, "cannot be read"),
        ({"size": [5, 7], "counts": ["a"]}, "cannot be read"),
        ({"size": 5, "counts": [35]}, "cannot be read"),
        # Their sums are right, but the library would cut the fractions off: to 34 pixels, or to 900.
        ({"size": [5, 7], "counts": [0.5, 34.5]}, "whole numbers from 0 up"),
        ({"size": [5, 7], "counts": [-0.5] * 1730 + [900]}, "whole numbers from 0 up"),
        ({"size": [5, 7], "counts": [-5, 40]}, "whole numbers from 0 up"),
        ({"size": [5, 7], "counts": None}, "whole numbers from 0 up"),
        ({"size": [5, 7], "counts": [True, 34]}, "whole numbers from 0 up"),
    ],
)
def test_what_does_not_fill_the_image_is_refused(segmentation: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        decode(segmentation, 5, 7)
