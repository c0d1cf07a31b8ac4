"""A run that was started from a recipe says how it differs from the row: at its start, in its folder, in its report."""

import json
from pathlib import Path

import pytest

from fcn_lightning.config import build, compose, plain
from fcn_lightning.reporting.ledger import Deviation, Setting, make_ledger
from fcn_lightning.zoo.recipes import row
from tests.conftest import Run
from tests.data.layouts import draw

NAME = "fcn_r18-d8_512x1024_80k_cityscapes"
SMALL = (
    "schedule.max_steps=2", "dataset.workers=0", "dataset.base_scale=[56,40]", "dataset.crop_size=[32,32]",
    "model.pretrained=false", "trainer.accelerator=cpu", "hydra.run.dir=run",
)  # fmt: skip


def found(root: Path, *overrides: str, name: str = NAME, **setting: object) -> dict[str, Deviation]:
    config = compose(f"recipe={name}", f"dataset.root={root}", *overrides)
    known = {"precision": "32-true", "norm_batch": config.dataset.global_batch_size, "start": "ImageNet"} | setting
    datamodule = build(config.dataset)
    datamodule.published_counts = {"train": 2, "val": 1}
    result = make_ledger(
        row(name),
        plain(compose(f"recipe={name}")),
        plain(config),
        Setting(**known, datamodule=datamodule),  # type: ignore[arg-type]
    )
    return {item.what: item for item in result.deviations}


def test_an_unchanged_run_differs_only_in_what_always_does(tmp_path: Path) -> None:
    root = draw("cityscapes", tmp_path)
    assert set(found(root)) == {"sampling", "versions"}


def test_jpeg_data_name_the_decoder(tmp_path: Path) -> None:
    root = draw("ade20k", tmp_path)
    always = found(root, name="fcn_r50-d8_512x512_80k_ade20k")
    assert set(always) == {"sampling", "decoder", "versions"}
    assert always["decoder"].published == "OpenCV of 2020"


def test_the_replaced_context_rows_had_another_auxiliary_classifier(tmp_path: Path) -> None:
    root = draw("pascal_context", tmp_path)
    name = "fcn_r101-d8_480x480_40k_pascal_context"
    deviation = found(root, name=name)["auxiliary classifier"]
    assert (deviation.published, deviation.here) == ("19 outputs for 60 classes, by mistake", "60 outputs")
    assert "auxiliary classifier" not in found(root, name=f"{name}_20210421")


@pytest.mark.parametrize(
    ("overrides", "setting", "expected"),
    [
        (("dataset.global_batch_size=4",), {}, {"batch": ("8", "4"), "BatchNorm batch": ("8", "4")}),
        ((), {"norm_batch": 2}, {"BatchNorm batch": ("8", "2")}),
        ((), {"precision": "bf16-mixed"}, {"precision": ("32-true", "bf16-mixed")}),
        ((), {"start": "random"}, {"weights": ("ImageNet", "random")}),
        (
            ("dataset.crop_size=[512,512]",),
            {},
            {"augmentation, dataset.crop_size": ("[512, 1024]", "[512, 512]")},
        ),
        (("optimizer.lr=0.005",), {}, {"optimizer.lr": ("0.01", "0.005")}),
        (("schedule=40k",), {}, {"schedule.max_steps": ("80000", "40000"), "schedule.val_interval": ("8000", "4000")}),
        (
            ("loss.class_weight=inverse_log",),
            {"class_weight": [1.40012, 50.5]},
            {"loss.class_weight": ("none", "inverse_log: 1.4, 50.5")},
        ),
        (("loss.class_weight=[1,2]",), {"class_weight": [1.0, 2.0]}, {"loss.class_weight": ("none", "given: 1, 2")}),
        (("dataset.workers=3", "seed=5", "dataset.cache=disk"), {}, {}),
    ],
)
def test_what_differs(
    tmp_path: Path, overrides: tuple[str, ...], setting: dict[str, object], expected: dict[str, tuple[str, str]]
) -> None:
    result = found(draw("cityscapes", tmp_path), *overrides, **setting)
    differing = {what: (item.published, item.here) for what, item in result.items() if what not in ("sampling", "versions")}
    assert differing == expected


def test_fp16_is_the_published_precision_of_its_row(tmp_path: Path) -> None:
    root = draw("cityscapes", tmp_path)
    name = "fcn_r101-d8_fp16_512x1024_80k_cityscapes"
    assert "precision" not in found(root, name=name, precision="16-mixed")
    assert found(root, name=name, precision="bf16-mixed")["precision"].published == "16-mixed"


def test_start_block_run_folder_and_report(run: Run, tmp_path: Path) -> None:
    root = draw("cityscapes", tmp_path / "data")
    result = run("train", f"recipe={NAME}", f"dataset.root={root}", *SMALL, "dataset.global_batch_size=2")
    assert result.status == 0, result.err
    lines = [line.strip() for line in result.out.splitlines()]
    assert f"row         {NAME}; this run differs in" in result.out
    assert "batch: 2 (published: 8)" in lines
    assert "data count, train: 2 (published: 2975)" in lines
    written = json.loads(Path("run/deviations.json").read_text())
    assert written["row"] == NAME
    assert {"what": "weights", "published": "ImageNet", "here": "random"} in written["deviations"]
    report = Path("run/report.md").read_text()
    assert f"## Row {NAME}" in report
    assert "to the published 71.11." in report
    assert "| batch | 8 | 2 |" in report
    assert "| PaddleSeg |" in report
    assert "| road |" in report


def test_a_run_without_a_recipe_has_no_ledger(trained: Path) -> None:
    assert not (trained / "deviations.json").exists()
    assert "## Row" not in (trained / "report.md").read_text()
