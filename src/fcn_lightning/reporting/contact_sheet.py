"""Contact sheets: images beside their painted masks, as training sees them, with the ignored area hatched and a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcn_lightning.data.dataset import IGNORE_INDEX, Color, Labels
from fcn_lightning.data.images import UInt8
from fcn_lightning.reporting.panels import GAP, MIN_SIDE, overlay, stripes

MAX_HEIGHT, MAX_WIDTH = 2400, 2400  # of all pairs together; the legend stands below
MIN_WIDTH = 960  # of a sheet, so that its title fits
MARGIN = 16  # around the sheet, and between its pairs
LINE, FONT_SIZE = 24, 15  # height of a line of text, and of its letters
SWATCH = 18  # side of a colour in the legend
FEW_CLASSES = 30  # up to so many, the legend also lists those that do not occur
INK, FAINT = (20, 20, 20), (130, 130, 130)
PADDING = (200, 235)  # greys


@dataclass(frozen=True)
class Sample:
    """An image with its mask.

    Args:
        image: (h, w, 3) RGB.
        mask: (h, w), classes or 255.
        size: height and width of the part that holds the image; what lies right of it and below is padding.
        caption: what stands above it.
    """

    image: UInt8
    mask: UInt8
    size: tuple[int, int]
    caption: str


@dataclass(frozen=True)
class Grid:
    """Where the pairs of a sheet stand, and how large.

    Args:
        count: pairs.
        columns: pairs in a row.
        scale: pixels of the sheet per pixel of a sample: a whole number, or less than one.
        tile: height and width of the largest image on the sheet.
        top: where the first row begins.
    """

    count: int
    columns: int
    scale: float
    tile: tuple[int, int]
    top: int

    @property
    def pair(self) -> tuple[int, int]:
        """Height and width of a pair with its caption and the margin that follows."""
        return self.tile[0] + LINE + MARGIN, 2 * self.tile[1] + GAP + MARGIN

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of all pairs."""
        return -(-self.count // self.columns) * self.pair[0], self.columns * self.pair[1]

    def corner(self, number: int) -> tuple[int, int]:
        """Return x and y of an image's upper left corner; its painted twin stands a tile and the gap further right."""
        row, column = divmod(number, self.columns)
        return MARGIN + column * self.pair[1], self.top + row * self.pair[0] + LINE


@dataclass(frozen=True)
class Legend:
    """What the colours and the hatchings mean.

    Args:
        entries: a picture, what it means, and the colour of these words.
        note: what stands below them; may be empty.
        width: of the sheet.
    """

    entries: Sequence[tuple[UInt8, str, Color]]
    note: str
    width: int

    @property
    def step(self) -> int:
        """Width of an entry."""
        return SWATCH + 2 * MARGIN + int(max(_font().getlength(text) for _, text, _ in self.entries))

    @property
    def columns(self) -> int:
        """Entries in a row."""
        return max(1, (self.width - MARGIN) // self.step)

    @property
    def height(self) -> int:
        """Height of all rows and the note."""
        return (-(-len(self.entries) // self.columns) + bool(self.note)) * LINE

    def draw(self, canvas: Image.Image, top: int) -> None:
        """Draw the legend below a line of the sheet."""
        draw = ImageDraw.Draw(canvas)
        for number, (swatch, text, ink) in enumerate(self.entries):
            row, column = divmod(number, self.columns)
            x, y = MARGIN + column * self.step, top + row * LINE
            canvas.paste(Image.fromarray(swatch), (x, y))
            draw.text((x + SWATCH + MARGIN // 2, y - 1), text, ink, _font())
        draw.text((MARGIN, top + self.height - LINE), self.note, FAINT, _font())


def contact_sheet(samples: Sequence[Sample], labels: Labels, title: str) -> UInt8:
    """Draw pairs of image and painted mask, with a legend.

    A mask is blended over its image, half and half; the ignored area is darkened and has white stripes. Padding is grey in
    both, with stripes of the other direction. The legend gives each class its share of all pixels of the samples.

    Args:
        samples: at least one.
        labels: names and colours of the classes.
        title: of the sheet; any number of lines. How the samples are scaled is added.

    Returns:
        (H, W, 3).
    """
    lines = title.splitlines()
    grid = make_grid(samples, top=MARGIN + LINE * len(lines))
    lines[-1] += _zoom(grid.scale)
    width = max(grid.size[1] + MARGIN, MIN_WIDTH)
    legend = make_legend(samples, labels, width)
    bottom = grid.top + grid.size[0]
    canvas = Image.new("RGB", (width, bottom + legend.height + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN // 2 + number * LINE), line, INK, _font())
    for number, sample in enumerate(samples):
        x, y = grid.corner(number)
        draw.text((x, y - LINE + 2), _fitted(sample.caption, 2 * grid.tile[1]), INK, _font())
        image, painted = _tiles(sample, grid.scale, labels.palette)
        canvas.paste(Image.fromarray(image), (x, y))
        canvas.paste(Image.fromarray(painted), (x + grid.tile[1] + GAP, y))
    legend.draw(canvas, bottom)
    return np.asarray(canvas)


def make_grid(samples: Sequence[Sample], *, top: int) -> Grid:
    """Lay pairs out as large as they fit: small samples enlarged by a whole number, large ones reduced.

    Args:
        samples: at least one.
        top: where the first row begins.
    """
    height = max(sample.mask.shape[0] for sample in samples)
    width = max(sample.mask.shape[1] for sample in samples)
    count, wanted = len(samples), max(1, -(-MIN_SIDE // height))
    grids = []
    for columns in range(1, count + 1):
        room_x = (MAX_WIDTH // columns - GAP - MARGIN) / (2 * width)
        room_y = (MAX_HEIGHT // -(-count // columns) - LINE - MARGIN) / height
        room = min(room_x, room_y, wanted)
        scale = room if room < 1 else int(room)
        grids.append(Grid(count, columns, scale, _scaled((height, width), scale), top))
    # Of those with the largest pictures, the one that best fills a page in landscape format.
    return max(grids, key=lambda grid: (grid.scale, -max(1.5 * grid.size[0], grid.size[1], MIN_WIDTH), grid.columns))


def make_legend(samples: Sequence[Sample], labels: Labels, width: int) -> Legend:
    """List the classes that occur, most frequent first, then the hatchings, and the other classes where these are few.

    Args:
        samples: at least one.
        labels: names and colours of the classes.
        width: of the sheet.
    """
    counts = np.sum([np.bincount(sample.mask.ravel(), minlength=256) for sample in samples], axis=0)
    total = sum(sample.mask.size for sample in samples)
    padding = total - sum(sample.size[0] * sample.size[1] for sample in samples)
    occurring = sorted(np.flatnonzero(counts[: len(labels.classes)]), key=lambda index: -counts[index])
    absent = [index for index in range(len(labels.classes)) if not counts[index]]

    entries = [
        (_swatch(labels.palette[index]), f"{labels.classes[index]} {_percent(counts[index] / total)}", INK) for index in occurring
    ]
    hatched = (("ignored", counts[IGNORE_INDEX] - padding, (SWATCH, SWATCH)), ("padding", padding, (0, 0)))
    blank = np.full((SWATCH, SWATCH), IGNORE_INDEX, np.uint8)
    for name, count, size in hatched:
        if count:
            swatch = _finish(_swatch((200, 200, 200)), blank, size, labels.palette)[1]
            entries.append((swatch, f"{name} {_percent(count / total)}", INK))
    if len(labels.classes) <= FEW_CLASSES:
        entries += [(_swatch(labels.palette[index]), f"{labels.classes[index]} -", FAINT) for index in absent]
        return Legend(entries, "", width)
    return Legend(entries, f"{len(absent)} of {len(labels.classes)} classes do not occur here", width)


def _tiles(sample: Sample, scale: float, palette: Sequence[Color]) -> tuple[UInt8, UInt8]:
    """Return a sample's image and its painted twin in the size that they have on the sheet."""
    image, mask = sample.image, sample.mask
    height, width = _scaled((mask.shape[0], mask.shape[1]), scale)
    if scale < 1:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8, copy=False)
    else:
        image, mask = (part.repeat(int(scale), axis=0).repeat(int(scale), axis=1) for part in (image, mask))
    return _finish(image, mask, _scaled(sample.size, scale), palette)


def _finish(image: UInt8, mask: UInt8, size: tuple[int, int], palette: Sequence[Color]) -> tuple[UInt8, UInt8]:
    """Paint the twin, and hatch both: after scaling, so that the stripes are crisp."""
    shape = (mask.shape[0], mask.shape[1])
    painted = overlay(image, mask, palette)
    painted[(mask == IGNORE_INDEX) & stripes(shape)] = 255
    grey = np.where(stripes(shape, falling=True), *PADDING).astype(np.uint8)[..., None]
    image = image.copy()
    for part in (image, painted):
        part[size[0] :] = grey[size[0] :]
        part[:, size[1] :] = grey[:, size[1] :]
    return image, painted


def _swatch(color: Color) -> UInt8:
    """Return a square of one colour."""
    return np.full((SWATCH, SWATCH, 3), color, np.uint8)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _zoom(scale: float) -> str:
    return "" if scale == 1 else f", enlarged {scale:.0f} times" if scale > 1 else f", reduced to {100 * scale:.0f} %"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %" if fraction >= 0.001 else "< 0.1 %"


def _fitted(text: str, width: float) -> str:
    """Shorten a text in its middle until it fits."""
    if _font().getlength(text) <= width:
        return text
    kept = next((kept for kept in range(len(text) - 1, 1, -1) if _font().getlength(_cut(text, kept)) <= width), 1)
    return _cut(text, kept)


def _cut(text: str, kept: int) -> str:
    """Keep so many letters of a text, half of them at its end."""
    return f"{text[: kept - kept // 2]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - kept // 2 :]}"


@cache
def _font() -> ImageFont.FreeTypeFont:
    """Open the font that matplotlib brings; it has Latin, Greek and Cyrillic letters."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", FONT_SIZE)
