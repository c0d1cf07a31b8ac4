"""Every YAML file composes, says what it is, and holds only keys that something reads."""

from pathlib import Path

import pytest

from fcn_lightning.config import CONF_DIR, build, compose
from fcn_lightning.models.fcn import fcn
from tests.conftest import ROOT

GROUPS = ("dataset", "backbone", "head", "schedule", "trainer", "logger")
FILES = sorted(path.relative_to(CONF_DIR) for path in CONF_DIR.rglob("*.yaml"))
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF_DIR / group).glob("*.yaml"))]


def test_the_folder_is_the_one_at_the_root() -> None:
    assert CONF_DIR == ROOT / "conf"
    assert len(OPTIONS) == 21


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
    assert build(config.inference).mode == "whole"
    assert set(config.trainer) == {"accelerator", "precision", "log_interval"}


@pytest.mark.parametrize(
    ("dataset", "steps", "pretrained"), [("shapes", "demo", False), ("camvid", "camvid", False), ("folder", "20k", True)]
)
def test_a_data_set_brings_its_schedule_and_the_command_line_wins(dataset: str, steps: str, pretrained: bool) -> None:
    config = compose(f"dataset={dataset}")
    assert config.schedule == compose(f"schedule={steps}").schedule
    assert config.model.pretrained is pretrained
    assert compose(f"dataset={dataset}", "schedule=160k").schedule.max_steps == 160_000


def test_run_names_say_what_was_chosen() -> None:
    config = compose("dataset=camvid", "backbone=r101", "head=d6", "schedule=40k")
    assert config.run_name == "fcn_r101-d6_40k_camvid"


def test_published_settings() -> None:
    config = compose("dataset=folder")
    assert dict(config.optimizer) == {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
    assert config.loss.aux_weight == 0.4
    assert (config.schedule.power, config.schedule.min_lr) == (0.9, 1e-4)
    assert compose("schedule=80k").schedule.val_interval == 8000


def test_model_scalars_are_arguments_of_the_builder() -> None:
    scalars = {key: value for key, value in compose("backbone=r18b").model.items() if key != "_target_"}
    assert fcn(3, **scalars | {"pretrained": False}).num_classes == 3
