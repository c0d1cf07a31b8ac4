"""The contact sheet shows the samples that training reads, to the pixel, and says what they hold."""

import random
from itertools import pairwise

import numpy as np
import pytest
import torch

from fcn_lightning.data.dataset import IGNORE_INDEX, Labels
from fcn_lightning.data.shapes import LABELS, ShapesDataModule
from fcn_lightning.reporting import contact_sheet as sheets
from fcn_lightning.reporting.contact_sheet import GAP, LINE, MARGIN, PADDING, Grid, Sample, contact_sheet, make_grid, make_legend
from fcn_lightning.reporting.data_sheets import training_samples, training_sheet
from fcn_lightning.reporting.panels import MIN_SIDE, overlay

FACTOR = 3  # by which crops of 64 pixels are enlarged


def module(crop_size: tuple[int, int] = (64, 64), ratio_range: tuple[float, float] = (0.75, 1.25)) -> ShapesDataModule:
    return ShapesDataModule(
        base_scale=(96, 96), ratio_range=ratio_range, crop_size=crop_size, global_batch_size=4, workers=0, seed=5
    )


def tiles(sheet: np.ndarray, grid: Grid, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a pair out of a sheet."""
    x, y = grid.corner(number)
    height, width = grid.tile
    return sheet[y : y + height, x : x + width], sheet[y : y + height, x + width + GAP : x + 2 * width + GAP]


def test_position_p_shows_sample_p_of_the_training_stream() -> None:
    datamodule = module()
    datamodule.plan(max_steps=4, ms_flip=False)
    positions = range(6, 13)
    sheet, rate = training_sheet(datamodule, positions)
    samples, _ = training_samples(datamodule, positions)
    grid = make_grid(samples, top=MARGIN + 2 * LINE)
    stream = module().train_samples()
    loaded = torch.cat([batch["image"] for batch in datamodule.train_dataloader()]).numpy()
    assert rate > 0
    for number, position in enumerate(positions):
        image, painted = tiles(sheet, grid, number)
        want = np.asarray(stream[position]["image"])
        assert (want == loaded[position]).all()
        assert (image[::FACTOR, ::FACTOR] == want).all()
        assert (image[FACTOR - 1 :: FACTOR, FACTOR - 1 :: FACTOR] == want).all()
        assert (painted[::FACTOR, ::FACTOR] == overlay(want, np.asarray(stream[position]["mask"]), LABELS.palette)).all()


def test_a_sheet_leaves_the_random_numbers_of_a_run_alone() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    training_sheet(module(), range(3))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def plain(size: tuple[int, int], valid: tuple[int, int], label: int = 0) -> Sample:
    """Return a sample of one colour and one class, with padding."""
    image, mask = np.full((*size, 3), 100, np.uint8), np.full(size, label, np.uint8)
    for part, value in ((image, 0), (mask, IGNORE_INDEX)):
        part[valid[0] :] = value
        part[:, valid[1] :] = value
    return Sample(image, mask, valid, "0  a.png")


def test_ignored_pixels_and_padding_are_hatched_and_no_others() -> None:
    sample = plain((200, 300), (160, 240))
    sample.mask[:50, :60] = IGNORE_INDEX
    grid = make_grid([sample], top=MARGIN + LINE)
    image, painted = tiles(contact_sheet([sample], LABELS, "x"), grid, 0)
    assert grid.scale == 1
    assert (image[:160, :240] == 100).all(), "the image itself is not hatched"
    ignored = painted[:50, :60].reshape(-1, 3)
    assert set(map(tuple, ignored)) == {(50, 50, 50), (255, 255, 255)}
    assert set(map(tuple, painted[50:160, 60:240].reshape(-1, 3))) == {(150, 150, 150)}, "half the image, half the class"
    for part in (image, painted):
        for region in (part[160:], part[:, 240:]):
            assert set(map(tuple, region.reshape(-1, 3))) == {(grey,) * 3 for grey in PADDING}
    # Stripes of the two kinds cross: one stays the same along one diagonal, the other along the other.
    assert (painted[10, 20] == painted[9, 21]).all()
    assert (painted[10:13, 20] != painted[11:14, 21]).any()
    assert (painted[190, 20] == painted[191, 21]).all()
    assert (painted[190:193, 20] != painted[189:192, 21]).any()


def test_large_samples_are_reduced_without_new_classes() -> None:
    mask = np.random.default_rng(0).choice(np.array([2, 7, IGNORE_INDEX], np.uint8), (769, 769))
    sample = Sample(np.full((769, 769, 3), 100, np.uint8), mask, (769, 769), "")
    samples = [sample] * 12
    grid = make_grid(samples, top=MARGIN + LINE)
    assert 0.3 < grid.scale < 1
    image, painted = tiles(contact_sheet(samples, LABELS, "x"), grid, 11)
    assert (image == 100).all()
    mixed = [tuple((np.array(LABELS.palette[label]) + 100) // 2) for label in (2, 7)]
    assert set(map(tuple, painted.reshape(-1, 3))) == {*mixed, (50, 50, 50), (255, 255, 255)}


@pytest.mark.parametrize("size", [(64, 64), (256, 256), (480, 480), (512, 1024), (769, 769), (1024, 2048), (600, 200), (8, 900)])
@pytest.mark.parametrize("count", [1, 2, 7, 16, 64])
def test_pairs_fit_the_sheet_and_do_not_overlap(size: tuple[int, int], count: int) -> None:
    grid = make_grid([plain(size, size)] * count, top=50)
    assert max(grid.size) <= 2400 + MARGIN
    assert 0.03 < grid.scale <= -(-MIN_SIDE // size[0])
    assert grid.scale < 1 or grid.scale == int(grid.scale)
    corners = [grid.corner(number) for number in range(count)]
    assert len(set(corners)) == count
    assert max(x for x, _ in corners) + 2 * grid.tile[1] + GAP <= grid.size[1] + MARGIN
    assert max(y for _, y in corners) + grid.tile[0] <= 50 + grid.size[0]
    columns, rows = sorted({x for x, _ in corners}), sorted({y for _, y in corners})
    assert all(b - a >= 2 * grid.tile[1] + GAP for a, b in pairwise(columns))
    assert all(b - a >= grid.tile[0] + LINE for a, b in pairwise(rows))


def test_images_of_different_sizes_have_one_scale() -> None:
    samples = [plain((100, 400), (100, 400)), plain((300, 80), (300, 80), 1)]
    grid = make_grid(samples, top=MARGIN + LINE)
    assert grid.tile == (300, 400)
    sheet = contact_sheet(samples, LABELS, "x")
    assert (tiles(sheet, grid, 0)[0][:100] == 100).all()
    assert (tiles(sheet, grid, 0)[0][100:] == 255).all()
    assert (tiles(sheet, grid, 1)[0][:, :80] == 100).all()
    assert (tiles(sheet, grid, 1)[0][:, 80:] == 255).all()


def test_the_legend_counts_all_pixels() -> None:
    sample = plain((10, 10), (10, 8), 2)
    sample.mask[:3, :8] = 5
    sample.mask[9, 0] = IGNORE_INDEX
    legend = make_legend([sample, plain((10, 10), (10, 10), 5)], LABELS, 1000)
    texts = [text for _, text, _ in legend.entries]
    assert texts[:4] == ["diamond 62.0 %", "disk 27.5 %", "ignored 0.5 %", "padding 10.0 %"]
    assert texts[4:] == [f"{name} -" for name in LABELS.classes if name not in ("disk", "diamond")]
    assert [tuple(swatch[0, 0]) for swatch, _, _ in legend.entries[:2]] == [LABELS.palette[5], LABELS.palette[2]]
    hatched = [swatch for swatch, _, _ in legend.entries[2:4]]
    assert all(len(np.unique(swatch.reshape(-1, 3), axis=0)) == 2 for swatch in hatched)
    assert (hatched[0] != hatched[1]).any()
    assert legend.note == ""


def test_of_many_classes_only_those_that_occur_are_listed() -> None:
    labels = Labels(tuple(f"class {index}" for index in range(150)), ((9, 9, 9),) * 150, tuple(range(150)))
    samples = [plain((10, 10), (10, 10), label) for label in (149, 3, 3)]
    samples[0].mask[0, 0] = 77
    legend = make_legend(samples * 4, labels, 1000)
    assert [text for _, text, _ in legend.entries] == ["class 3 66.7 %", "class 149 33.0 %", "class 77 0.3 %"]
    assert legend.note == "147 of 150 classes do not occur here"
    assert contact_sheet(samples, labels, "x").shape[1] >= 960


def test_long_names_are_shortened_in_the_middle() -> None:
    name = "17  frankfurt_000001_064925_leftImg8bit.png"
    shortened = sheets._fitted(name, 200)
    assert sheets._font().getlength(shortened) <= 200 < sheets._font().getlength(name)
    assert shortened.startswith("17  fra")
    assert shortened.endswith("Img8bit.png")
    assert sheets._fitted(name, 2000) == name
