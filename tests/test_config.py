"""Every YAML file composes, says what it is, and holds only keys that something reads."""

from pathlib import Path

import pytest

from fcn_lightning.config import CONF_DIR, build, compose, options
from fcn_lightning.models.fcn import fcn
from fcn_lightning.training.optimizers import SGD
from tests.conftest import ROOT

GROUPS = ("dataset", "backbone", "head", "optimizer", "schedule", "trainer", "logger")
FILES = sorted(path.relative_to(CONF_DIR) for path in CONF_DIR.rglob("*.yaml"))
SLIDING = {"cityscapes_769", "pascal_context", "pascal_context_59"}
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF_DIR / group).glob("*.yaml"))]


def test_the_folder_is_the_one_at_the_root() -> None:
    assert CONF_DIR == ROOT / "conf"
    assert len(OPTIONS) == 31


@pytest.mark.parametrize("file", FILES, ids=str)
def test_file_opens_with_what_it_is(file: Path) -> None:
    head = (CONF_DIR / file).read_text().splitlines()[:4]
    assert head[0].startswith("# ")
    if file.parts[0] != "hydra":
        assert any("python -m fcn_lightning." in line for line in head)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_option_composes_and_builds(group: str, option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FCN_DATA", str(tmp_path))
    config = compose(f"{group}={option}")
    datamodule = build(config.dataset)
    assert datamodule.crop_size[0] > 0
    assert build(config.schedule).max_steps > 0
    assert build(config.inference).mode == ("slide" if option in SLIDING else "whole")
    assert build(config.trainer).log_interval == 50


@pytest.mark.parametrize(
    ("dataset", "steps", "pretrained"), [("shapes", "demo", False), ("camvid", "camvid", False), ("folder", "20k", True)]
)
def test_a_data_set_brings_its_schedule_and_the_command_line_wins(dataset: str, steps: str, pretrained: bool) -> None:
    config = compose(f"dataset={dataset}")
    assert config.schedule == compose(f"schedule={steps}").schedule
    assert config.model.pretrained is pretrained
    assert compose(f"dataset={dataset}", "schedule=160k").schedule.max_steps == 160_000


# As published by open-mmlab/mmsegmentation: base scale, crop, batch, steps, (lr, weight decay), (window, stride), align_corners.
PUBLISHED = {
    "cityscapes": ((2048, 1024), (512, 1024), 8, 80_000, (0.01, 5e-4), None, False),
    "cityscapes_769": ((2049, 1025), (769, 769), 8, 80_000, (0.01, 5e-4), (769, 513), True),
    "ade20k": ((2048, 512), (512, 512), 16, 80_000, (0.01, 5e-4), None, False),
    "voc12aug": ((2048, 512), (512, 512), 16, 20_000, (0.01, 5e-4), None, False),
    "pascal_context": ((520, 520), (480, 480), 16, 40_000, (0.004, 1e-4), (480, 320), False),
    "pascal_context_59": ((520, 520), (480, 480), 16, 40_000, (0.004, 1e-4), (480, 320), False),
}


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_a_public_data_set_brings_the_published_settings(dataset: str) -> None:
    base_scale, crop_size, batch, steps, (lr, weight_decay), window, align_corners = PUBLISHED[dataset]
    config = compose(f"dataset={dataset}")
    data = config.dataset
    assert (tuple(data.base_scale), tuple(data.ratio_range), tuple(data.crop_size)) == (base_scale, (0.5, 2.0), crop_size)
    assert (data.global_batch_size, config.schedule.max_steps) == (batch, steps)
    assert build(config.optimizer) == SGD(lr, momentum=0.9, weight_decay=weight_decay)
    sides = [None, None] if window is None else [[side] * 2 for side in window]
    assert [config.inference.mode, config.inference.crop_size, config.inference.stride] == ["slide" if window else "whole", *sides]
    assert (config.model.align_corners, config.model.pretrained) == (align_corners, True)
    assert (config.model.depth, config.model.deep_stem) == (50, True)
    assert config.run_name.endswith(f"_{dataset}")


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_the_command_line_wins_over_a_public_data_set(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FCN_DATA", "/somewhere")
    own = ("backbone=r18b", "schedule=160k", "dataset.crop_size=[64,32]", "inference.mode=whole", "model.align_corners=false")
    config = compose(f"dataset={dataset}", *own, "optimizer.lr=0.5")
    assert config.dataset.root == f"/somewhere/{dataset.removesuffix('_769').removesuffix('_59')}"
    assert (config.model.depth, config.model.deep_stem, config.schedule.max_steps) == (18, False, 160_000)
    assert (config.dataset.crop_size, config.inference.mode, config.model.align_corners) == ([64, 32], "whole", False)
    assert (config.optimizer.lr, config.run_name) == (0.5, f"fcn_r18b-d8_160k_{dataset}")


def test_run_names_say_what_was_chosen() -> None:
    config = compose("dataset=camvid", "backbone=r101", "head=d6", "schedule=40k")
    assert config.run_name == "fcn_r101-d6_40k_camvid"


def test_published_settings() -> None:
    config = compose("dataset=folder")
    assert build(config.optimizer) == SGD(0.01, momentum=0.9, weight_decay=5e-4)
    assert config.loss.aux_weight == 0.4
    assert (config.schedule.power, config.schedule.min_lr) == (0.9, 1e-4)
    assert compose("schedule=80k").schedule.val_interval == 8000


def test_model_scalars_are_arguments_of_the_builder() -> None:
    scalars = {key: value for key, value in compose("backbone=r18b").model.items() if key != "_target_"}
    assert fcn(3, **scalars | {"pretrained": False}).num_classes == 3


def test_help_lists_the_choices() -> None:
    text = (CONF_DIR / "hydra/help/train.yaml").read_text()
    for group, choices in options().items():
        assert (f"  {group}: the id of a published row" if group == "recipe" else f"  {group}: {', '.join(choices)}\n") in text
