"""`shapes`: the embedded data set. Scenes are drawn from a seed; nothing is on disk, nothing is downloaded.

Nine classes share seven inks, so colour alone tells little: what tells them apart is outline and texture.
A scene has two structured backgrounds and several textured objects of different size that hide each other.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.dataset import Labels, SegmentationDataset
from fcn_lightning.data.images import UInt8

LABELS = Labels(
    classes=("sky", "wall", "disk", "square", "triangle", "diamond", "star", "cross", "hexagon"),
    palette=(
        (200, 200, 200),
        (120, 120, 120),
        (230, 80, 60),
        (60, 120, 220),
        (250, 200, 40),
        (60, 180, 90),
        (170, 90, 200),
        (240, 140, 40),
        (70, 200, 210),
    ),
    values=tuple(range(9)),
)
TRAIN_IMAGES, VAL_IMAGES, SIDE = 2000, 100, 96
FIRST_OBJECT = 2  # sky and wall are the backgrounds
INKS = np.array([[225, 60, 55], [40, 95, 200], [245, 205, 70], [45, 150, 75], [150, 70, 170], [245, 245, 240], [25, 30, 40]])
OWN_INKS = np.array([0, 1, 3])  # of class c, counted on from c: of seven inks, any two classes share at least one

Field = NDArray[np.float64]


class Shapes(SegmentationDataset):
    """Procedurally drawn scenes.

    Args:
        size: number of scenes.
        side: height and width of a scene in pixels.
        seed: scene i follows from (seed, i) alone.
        labels: what the drawn values mean.
    """

    def __init__(self, size: int, side: int, seed: int, labels: Labels = LABELS) -> None:
        """Draw nothing yet."""
        super().__init__([], labels)
        self.size = size
        self.side = side
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self.size

    def name(self, index: int) -> str:
        """Say which scene this is."""
        return f"shapes-{self.seed}-{index:05d}"

    def __getitem__(self, index: int) -> tuple[UInt8, UInt8]:
        """Draw one scene: image (side, side, 3) RGB and mask (side, side)."""
        if not 0 <= index < self.size:
            raise IndexError(index)
        image, values = draw_scene(np.random.default_rng([self.seed, index]), self.side)
        return image, self._table[values]

    def mask(self, index: int) -> UInt8:
        """Draw the mask of one scene."""
        return self[index][1]


class ShapesDataModule(SegmentationDataModule):
    """`dataset=shapes`; training and validation scenes come from different seeds."""

    name = "shapes"
    canonical = LABELS

    def build(self, split: str) -> Shapes:
        """Return the scenes of "train" or "val"."""
        size, seed = (TRAIN_IMAGES, 1) if split == "train" else (VAL_IMAGES, 2)
        return Shapes(size, SIDE, seed, self.labels)


def draw_scene(rng: np.random.Generator, side: int) -> tuple[UInt8, UInt8]:
    """Draw a scene: image (side, side, 3) RGB and mask (side, side)."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    horizon = side * rng.uniform(0.3, 0.7) + rng.uniform(-0.3, 0.3) * (x - side / 2)
    mask = (y > horizon).astype(np.uint8)
    image = _paint(rng, 0, _haze(rng, y, x))
    image = np.where(mask[..., None] == 1, _paint(rng, 1, _bricks(rng, y, x)), image)
    for _ in range(rng.integers(3, 6)):
        label = int(rng.integers(FIRST_OBJECT, len(LABELS.classes)))
        outline, texture = OBJECTS[label]
        radius = side * rng.uniform(0.16, 0.36)
        dy, dx = y - rng.uniform(0, side), x - rng.uniform(0, side)
        inside = outline(dy / radius, dx / radius)
        mask[inside] = label
        image[inside] = _paint(rng, label, texture(rng, dy, dx))[inside]
    image += rng.normal(0, 6, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _paint(rng: np.random.Generator, label: int, texture: Field) -> Field:
    """Blend two inks by a texture in [0, 1]; a class has three inks, and shares each with others."""
    own = (label + OWN_INKS) % len(INKS)
    a, b = INKS[rng.choice(own, 2, replace=False)] + rng.normal(0, 12, (2, 3))
    blended: Field = a * (1 - texture[..., None]) + b * texture[..., None]
    return blended


def _haze(rng: np.random.Generator, y: Field, x: Field) -> Field:
    angle, length = rng.uniform(0, np.pi), rng.uniform(60, 120)
    field: Field = 0.5 + 0.5 * np.sin((np.cos(angle) * y + np.sin(angle) * x) / length * 2 * np.pi)
    return field


def _bricks(rng: np.random.Generator, y: Field, x: Field) -> Field:
    height, width = rng.integers(6, 10), rng.integers(13, 20)
    shifted = x + (y // height % 2) * width / 2
    return ((y % height < 1.5) | (shifted % width < 1.5)).astype(np.float64)


def _period(rng: np.random.Generator) -> float:
    return float(rng.uniform(5, 9))


def _rings(rng: np.random.Generator, dy: Field, dx: Field) -> Field:
    return (np.hypot(dy, dx) / _period(rng) % 1 < 0.5).astype(np.float64)


def _checks(rng: np.random.Generator, dy: Field, dx: Field) -> Field:
    period = _period(rng)
    return ((dy // period + dx // period) % 2).astype(np.float64)


def _rows(rng: np.random.Generator, dy: Field, dx: Field) -> Field:
    return (dy / _period(rng) % 1 < 0.5).astype(np.float64)


def _columns(rng: np.random.Generator, dy: Field, dx: Field) -> Field:
    return (dx / _period(rng) % 1 < 0.5).astype(np.float64)


def _dots(rng: np.random.Generator, dy: Field, dx: Field) -> Field:
    period = 1.3 * _period(rng)
    return (np.hypot(dy % period - period / 2, dx % period - period / 2) < period * 0.33).astype(np.float64)


def _diagonals(rng: np.random.Generator, dy: Field, dx: Field) -> Field:
    slope = float(rng.choice([-1, 1]))
    return ((dy + slope * dx) / (1.4 * _period(rng)) % 1 < 0.5).astype(np.float64)


def _grid(rng: np.random.Generator, dy: Field, dx: Field) -> Field:
    period = _period(rng)
    return ((dy % period < period * 0.3) | (dx % period < period * 0.3)).astype(np.float64)


def _star(dy: Field, dx: Field) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.hypot(dy, dx) < 0.72 + 0.28 * np.cos(5 * np.arctan2(dx, -dy))
    return inside


# Class -> (outline on coordinates in units of the radius, texture on coordinates in pixels).
OBJECTS: dict[int, tuple[Callable[[Field, Field], NDArray[np.bool_]], Callable[[np.random.Generator, Field, Field], Field]]] = {
    2: (lambda y, x: np.hypot(y, x) < 1, _rings),
    3: (lambda y, x: np.maximum(abs(y), abs(x)) < 0.88, _checks),
    4: (lambda y, x: (y < 0.7) & (y > 2 * abs(x) - 1), _rows),
    5: (lambda y, x: abs(y) + abs(x) < 1.1, _columns),
    6: (_star, _dots),
    7: (lambda y, x: (np.minimum(abs(y), abs(x)) < 0.38) & (np.maximum(abs(y), abs(x)) < 1), _diagonals),
    8: (lambda y, x: (abs(y) < 0.87) & (abs(y) * 0.5 + abs(x) * 0.87 < 0.87), _grid),
}
