"""Contact sheets through the command: the samples of any training command, and what cannot be shown."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image

from fcn_lightning import InputError
from fcn_lightning.browse import check_request
from fcn_lightning.config import build, compose
from fcn_lightning.reporting.data_sheets import training_sheet, validation_sheet
from fcn_lightning.zoo.recipes import row
from tests.conftest import Run
from tests.data.layouts import draw

ROW = "fcn_r50-d8_512x1024_40k_cityscapes"


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def test_the_sheet_is_the_one_of_these_positions(run: Run) -> None:
    result = run("browse", "count=3", "first=5", "seed=1", "output=new/look")
    assert result.status == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("one process makes about ")
    assert lines[-1] == "new/look/browse.png"
    sheet, _ = training_sheet(build(compose("seed=1").dataset), range(5, 8))
    assert (pixels("new/look/browse.png") == sheet).all()
    config = yaml.safe_load(Path("new/look/config.yaml").read_text())
    assert (config["first"], config["count"], config["seed"]) == (5, 3, 1)


def test_without_an_output_the_folder_is_named_by_data_set_and_time(run: Run) -> None:
    assert run("browse", "count=1").status == 0
    (sheet,) = Path("outputs/browse_shapes").glob("*/browse.png")
    assert pixels(str(sheet)).shape[2] == 3


def test_a_row_shows_its_crops(run: Run, tmp_path: Path) -> None:
    root = draw("cityscapes", tmp_path / "city", train=2, val=1, size=(64, 128))
    result = run("browse", f"recipe={ROW}", f"dataset.root={root}", "count=1", "output=o")
    assert result.status == 0, result.err
    datamodule = build(compose(f"recipe={ROW}", f"dataset.root={root}").dataset)
    assert datamodule.crop_size == row(ROW).crop_size
    assert (pixels("o/browse.png") == training_sheet(datamodule, range(1))[0]).all()


def test_a_training_command_with_the_verb_replaced(run: Run, folder_data: Path) -> None:
    own = (f"dataset.root={folder_data}", "dataset.base_scale=[56,40]", "dataset.crop_size=[32,32]", "optimizer.lr=0.1")
    result = run("browse", "dataset=folder", "backbone=r50", "schedule=80k", *own, "count=2", "output=o")
    assert result.status == 0, result.err
    assert len(np.unique(pixels("o/browse.png").reshape(-1, 3), axis=0)) > 50


def test_validation_images_in_their_original_size(run: Run, folder_data: Path) -> None:
    data = ("dataset=folder", f"dataset.root={folder_data}")
    result = run("browse", *data, "split=val", "first=1", "count=9", "output=o")
    assert result.status == 0, result.err
    datamodule = build(compose(*data).dataset)
    sheet = pixels("o/browse.png")
    assert (sheet == validation_sheet(datamodule, range(1, 3))).all(), "what lies beyond the end is left out"
    image, _ = datamodule.val_data[1]
    enlarged = image.repeat(5, axis=0).repeat(5, axis=1)
    assert any((sheet[y : y + 200, 16 : 16 + 280] == enlarged).all() for y in range(100))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"split": "test"}, "split=test is not known; use train or val"),
        ({"count": 0}, "count=0 does not fit on a sheet; give 1 to 64, and first=<position> for those that follow"),
        ({"count": 65}, "count=65 does not fit on a sheet"),
        ({"first": -1}, "first=-1 is no position; the first sample has 0"),
    ],
)
def test_positions_that_do_not_exist(request_: dict[str, object], words: str) -> None:
    defaults = compose(verb="browse")
    check_request(defaults)
    with pytest.raises(InputError, match=re.escape(words)):
        check_request(OmegaConf.merge(defaults, request_))


def test_positions_beyond_the_validation_images(run: Run) -> None:
    result = run("browse", "split=val", "first=6", "output=o")
    assert result.status == 1
    assert result.err == "error: first=6 is beyond the 6 validation images; give 0 to 5\n"
    assert not list(Path.cwd().iterdir())


def test_a_broken_sample_is_named(run: Run, folder_data: Path) -> None:
    path = folder_data / "images/train/3.jpg"
    path.write_bytes(path.read_bytes()[:300])
    result = run("browse", "dataset=folder", f"dataset.root={folder_data}", "count=6", "output=o")
    assert result.status == 1
    assert "images/train/3.jpg is truncated" in result.err
    assert not list(Path.cwd().iterdir())


def test_a_sheet_is_never_overwritten(run: Run) -> None:
    assert run("browse", "count=1", "output=o").status == 0
    before = Path("o/browse.png").read_bytes()
    again = run("browse", "count=2", "output=o")
    assert again.status == 1
    assert again.err == "error: output=o is not empty, and nothing is overwritten; give a new folder\n"
    assert Path("o/browse.png").read_bytes() == before
