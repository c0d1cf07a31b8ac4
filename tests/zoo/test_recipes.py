"""The 43 recipes say what was published, and compose to what the published configurations said."""

from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

import fcn_lightning
from fcn_lightning import InputError
from fcn_lightning.config import CONF_DIR, build, compose
from fcn_lightning.training.optimizers import SGD
from fcn_lightning.zoo.recipes import card, row, row_id, row_of_file, rows
from tests.conftest import ROOT

GOLDEN = yaml.safe_load((ROOT / "tests/golden/mmseg_zoo.yaml").read_text())
PUBLISHED: dict[str, dict[str, Any]] = {entry["id"]: entry for entry in GOLDEN["seed_rows"] + GOLDEN["beyond_seed"]}
COUNTS = {"cityscapes": 29, "ade20k": 4, "voc12aug": 4, "pascal_context": 4, "pascal_context_59": 2}


def composed(*overrides: str) -> dict[str, Any]:
    content = OmegaConf.to_container(compose(*overrides))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key != "row"}


def test_all_rows_have_a_recipe() -> None:
    assert len(rows()) == len(PUBLISHED) == 43
    assert set(rows()) == set(PUBLISHED)
    assert fcn_lightning.zoo.rows() == rows()
    assert {name: sum(row(entry).dataset == name for entry in rows()) for name in COUNTS} == COUNTS


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_published_figures(name: str) -> None:
    ours, theirs = row(name), PUBLISHED[name]
    assert (ours.id, ours.method, ours.backbone, ours.dataset) == (name, theirs["method"], theirs["backbone"], theirs["dataset"])
    assert (ours.miou, ours.miou_ms_flip) == (theirs["miou"], theirs["miou_ms_flip"])
    assert (ours.memory_gb, ours.fps, ours.device) == (theirs["train_mem_gb"], theirs["inference_fps"], theirs["inference_device"])
    assert (ours.checkpoint, ours.log, ours.file_name) == (theirs["checkpoint_url"], theirs["log_url"], theirs["checkpoint_file"])
    assert (ours.sha256_prefix, ours.date, ours.steps) == (theirs["sha256_prefix"], theirs["date"], theirs["iterations"])
    assert ours.crop_size == (theirs["crop_h"], theirs["crop_w"])
    assert ours.config_name == theirs.get("config_name_1x")
    assert ours.auxiliary_classes == (19 if "known_issue" in theirs else None)
    assert row_of_file(theirs["checkpoint_file"]) == name


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_recipe_composes_to_the_published_settings(name: str) -> None:
    config, theirs = compose(f"recipe={name}"), PUBLISHED[name]
    slide = theirs["test_mode"] == "slide"
    assert (config.model.depth, config.model.deep_stem) == (theirs["depth"], theirs["stem"] == "v1c")
    assert (config.model.output_stride, config.model.head_dilation) == (theirs["output_stride"], theirs["head_dilation"])
    assert config.model.align_corners is theirs["align_corners"]
    assert config.model.pretrained
    assert list(config.dataset.crop_size) == [theirs["crop_h"], theirs["crop_w"]]
    assert list(config.dataset.base_scale) == theirs["test_scale_wh"]
    assert list(config.dataset.ratio_range) == [0.5, 2.0]
    assert config.dataset.global_batch_size == theirs["total_batch_size"]
    assert build(config.optimizer) == SGD(theirs["base_lr"], momentum=0.9, weight_decay=theirs["weight_decay"])
    assert (config.schedule.max_steps, config.schedule.val_interval) == (theirs["iterations"], theirs["iterations"] // 10)
    assert (config.schedule.power, config.schedule.min_lr, config.loss.aux_weight) == (0.9, 1e-4, 0.4)
    assert config.inference.mode == theirs["test_mode"]
    assert config.inference.crop_size == ([theirs["test_crop"]] * 2 if slide else None)
    assert config.inference.stride == ([theirs["test_stride"]] * 2 if slide else None)
    assert config.inference.pad_windows == (theirs["crop_h"] == 769 and theirs["date"].startswith("202006"))
    assert (config.trainer.precision, config.trainer.loss_scale) == (("16-mixed", 512) if theirs["fp16"] else ("auto", None))


def test_june_2020_is_four_rows_with_padded_windows() -> None:
    padded = [name for name in rows() if card(name).inference.pad_windows]
    assert padded == [f"fcn_r{depth}-d8_769x769_{steps}k_cityscapes" for depth in (101, 50) for steps in (40, 80)]


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("fcn_r101-d8_512x512_80k_ade20k", ("dataset=ade20k", "backbone=r101")),
        ("fcn_r50-d8_512x512_160k_ade20k", ("dataset=ade20k", "schedule=160k")),
        ("fcn_r18b-d8_512x1024_80k_cityscapes", ("dataset=cityscapes", "backbone=r18b")),
        ("fcn_r18-d8_769x769_80k_cityscapes", ("dataset=cityscapes_769", "backbone=r18")),
        ("fcn_d6_r50b-d16_512x1024_80k_cityscapes", ("dataset=cityscapes", "backbone=r50b", "head=d6")),
        ("fcn_r50-d8_512x512_20k_voc12aug", ("dataset=voc12aug",)),
        ("fcn_r101-d8_480x480_40k_pascal_context_20210421", ("dataset=pascal_context", "backbone=r101")),
        ("fcn_r101-d8_480x480_80k_pascal_context_59", ("dataset=pascal_context_59", "backbone=r101", "schedule=80k")),
    ],
)
def test_a_recipe_is_the_same_training_as_its_choices(name: str, choices: tuple[str, ...]) -> None:
    assert composed(f"recipe={name}") == composed(*choices)


def test_the_command_line_wins() -> None:
    name = "fcn_r101-d8_512x512_80k_ade20k"
    assert composed(f"recipe={name}", "schedule=160k")["schedule"]["max_steps"] == 160_000
    assert composed(f"recipe={name}", "backbone=r50")["model"]["depth"] == 50
    assert composed("recipe=fcn_r101-d8_fp16_512x1024_80k_cityscapes", "trainer.precision=auto")["trainer"]["precision"] == "auto"


def test_config_names_are_accepted_and_recipe_answers_with_the_id() -> None:
    for entry in PUBLISHED.values():
        if "config_name_1x" in entry:
            assert row_id(entry["config_name_1x"]) == entry["id"]
    assert row("fcn_r50-d8_4xb2-40k_cityscapes-512x1024").miou == 72.25
    with pytest.raises(InputError, match=r"did you mean fcn_r50-d8_512x1024_40k_cityscapes\?.*lists all 43"):
        row_id("fcn_r50-d8_512x1024_40k_cityscape")


def test_each_file_is_named_by_its_row_and_says_its_command() -> None:
    for file in (CONF_DIR / "recipe").glob("*.yaml"):
        lines = file.read_text().splitlines()
        assert lines[2] == f"# Run: python -m fcn_lightning.train recipe={file.stem}"
        assert f"  id: {file.stem}" in lines


def test_parameters_of_untrained_networks(golden: dict[str, Any]) -> None:
    assert sum(p.numel() for p in fcn_lightning.zoo.build("fcn_r18-d8_512x1024_80k_cityscapes").parameters()) == 12_822_342
    assert fcn_lightning.zoo.build("fcn_r18b-d8_4xb2-80k_cityscapes-512x1024").num_classes == 19
