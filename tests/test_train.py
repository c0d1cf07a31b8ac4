"""Training through the command: what a person sees, and what a run leaves behind."""

import csv
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from fcn_lightning.config import build, compose
from fcn_lightning.data.shapes import LABELS
from fcn_lightning.reporting.data_sheets import training_sheet
from tests.conftest import SHORT, Run

CLASSES = LABELS.classes
LOGGED = {
    "train/loss", "train/loss_decode", "train/loss_aux", "train/acc_seg", "train/acc_seg_aux", "train/data_share", "lr",
    "val/loss", "val/mIoU", "val/mAcc", "val/aAcc", *(f"val/{kind}/{name}" for kind in ("IoU", "Acc") for name in CLASSES),
}  # fmt: skip


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_output_of_a_run(run: Run) -> None:
    result = run("train", *SHORT, "trainer.log_interval=2", "hydra.run.dir=here")
    assert result.status == 0, result.err
    lines = result.out.splitlines()
    facts = [line.split("  ")[0].strip() for line in lines[:7]]
    assert facts == ["data", "model", "device", "loader", "batch", "schedule", "run folder"]
    assert "2000 training, 6 validation images, 9 classes" in lines[0]
    assert "12.8 M parameters, random start" in lines[1]
    assert re.fullmatch(r"loader      no process of its own, about [\d.]+ crops/s between the steps", lines[3])
    assert "3 steps = 0.0 epochs" in lines[5]
    progress = [line for line in lines if line.startswith("step ")]
    assert re.fullmatch(r"step 2/3  loss \d+\.\d{3}  lr 0\.\d{5}  \d+\.\d\d s/step  data \d+ %  ETA \d+:\d\d", progress[0])
    assert [line for line in lines if line.startswith("validation")] == ["validation at step 2", "validation at step 3"]
    assert lines[lines.index("validation at step 3") + 2].startswith("sky")
    assert re.fullmatch(r"mIoU \d\.\d{3} mAcc \d\.\d{3} aAcc \d\.\d{3}  .*here", lines[-1])


def test_run_folder(trained: Path) -> None:
    files = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    steps = [name for name in files if re.fullmatch(r"checkpoints/step_00000[23]_mIoU_0\.\d{4}\.ckpt", name)]
    assert len(steps) == 2
    assert files == {
        "config.yaml", "overrides.txt", "environment.json", "data.json", "metrics.csv", "log.jsonl", "train.log", "report.md",
        "checkpoints/last.ckpt", "checkpoints/best.ckpt", "checkpoints/best.safetensors", *steps, "status.json", ".lock",
        "counts/step_000002.npz", "counts/step_000003.npz",
        "plots/curves.png", "plots/classes.png", "plots/confusion.png",
        "samples/train.png", *(f"samples/{index:05d}.png" for index in range(6)),
    }  # fmt: skip
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["schedule"]["max_steps"] == 3
    assert config["run_name"] == "fcn_r18b-d8_demo_shapes"
    assert "schedule.max_steps=3" in (trained / "overrides.txt").read_text().splitlines()
    environment = json.loads((trained / "environment.json").read_text())
    assert environment["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    data = json.loads((trained / "data.json").read_text())
    assert (data["train"]["count"], data["val"]["count"]) == (2000, 6)
    with Image.open(trained / "samples/00000.png") as panel:
        assert panel.size == (2 * (4 * 96 + 3 * 4), 2 * 96)
    with Image.open(trained / "samples/train.png") as sheet:
        first_step, _ = training_sheet(build(compose(*SHORT).dataset), range(2))
        assert (np.asarray(sheet) == first_step).all()


def test_log_names_are_an_interface(trained: Path) -> None:
    logged = rows(trained)
    assert set(logged[0]) == LOGGED | {"step"}
    assert [int(row["step"]) for row in logged] == [2, 3, 3], "validation at 2 and 3, training at its end"
    last = next(row for row in logged if row["train/loss"])
    assert float(last["train/loss"]) == pytest.approx(float(last["train/loss_decode"]) + float(last["train/loss_aux"]), rel=1e-5)
    assert all(0 <= float(row["val/aAcc"]) <= 1 for row in logged if row["val/aAcc"])


def test_the_published_log(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [(line["mode"], line["iter"], line["epoch"]) for line in lines] == [("val", 2, 1), ("train", 3, 1), ("val", 3, 1)]
    assert set(lines[1]) == {
        "mode", "epoch", "iter", "lr", "data_time",
        "decode.loss_seg", "decode.acc_seg", "aux.loss_seg", "aux.acc_seg", "loss", "time",
    }  # fmt: skip
    assert 0 <= lines[2]["mIoU"] <= 1
    assert lines[2]["IoU.sky"] == round(lines[2]["IoU.sky"], 5)


def test_the_learning_rate_of_a_log_line_is_the_one_its_step_used(trained: Path) -> None:
    last = next(row for row in rows(trained) if row["lr"])
    base = yaml.safe_load((trained / "config.yaml").read_text())["optimizer"]["lr"]
    assert float(last["lr"]) == pytest.approx((base - 1e-4) * (1 - 2 / 3) ** 0.9 + 1e-4, rel=1e-12)


def test_the_same_seed_gives_the_same_run_for_any_number_of_workers(run: Run) -> None:
    losses = []
    for workers, seed in ((0, 1), (2, 1), (0, 2)):
        folder = f"run{workers}{seed}"
        result = run("train", *SHORT, f"dataset.workers={workers}", f"seed={seed}", f"hydra.run.dir={folder}")
        assert result.status == 0, result.err
        losses.append([row["train/loss"] for row in rows(Path(folder)) if row["train/loss"]])
    assert losses[0] == losses[1] != losses[2]


def test_a_run_folder_is_never_overwritten(run: Run) -> None:
    assert run("train", *SHORT, "hydra.run.dir=mine").status == 0
    before = {path: path.read_bytes() for path in Path("mine").rglob("*.ckpt")}
    again = run("train", *SHORT, "hydra.run.dir=mine")
    assert again.status == 1
    assert "mine belongs to another run, which is never overwritten; choose another hydra.run.dir" in again.err
    assert before == {path: path.read_bytes() for path in Path("mine").rglob("*.ckpt")}


def test_wandb_offline(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")
    result = run("train", *SHORT, "logger=wandb", "hydra.run.dir=tracked")
    assert result.status == 0, result.err
    (tracked,) = Path("tracked/wandb").glob("offline-run-*")
    (file,) = tracked.glob("*.wandb")
    deadline = time.monotonic() + 20
    while b"val/mIoU" not in (content := file.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.1)  # another process writes the file, and on a busy machine it is not through when the run has ended
    for name in (b"val/mIoU", b"val/IoU/hexagon", b"train/loss", b"max_steps"):
        assert name in content
    images = sorted(path.relative_to(tracked / "files/media/images").as_posix() for path in tracked.rglob("*.png"))
    names = [name.split("_")[0] for name in images]
    assert names == ["samples"] * 12 + ["train/samples"], "six panels at two validations, and one sheet"


def test_each_job_of_a_sweep_is_a_tracked_run_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")
    result = run("train", "-m", *SHORT, "schedule.max_steps=1", "logger=wandb", "seed=0,1", "hydra.sweep.dir=sweep")
    assert result.status == 0, result.err
    assert [len(list(Path(f"sweep/{job}/wandb").glob("offline-run-*"))) for job in (0, 1)] == [1, 1]


def test_bf16_is_taken_where_asked(run: Run) -> None:
    result = run("train", *SHORT, "trainer.precision=bf16-mixed", "schedule.max_steps=1", "hydra.run.dir=half")
    assert result.status == 0, result.err
    assert ", bf16-mixed\n" in result.out


def test_folder_from_the_command_line(run: Run, folder_data: Path) -> None:
    result = run(
        "train", "dataset=folder", f"dataset.root={folder_data}", "model.pretrained=false", "dataset.base_scale=[56,40]",
        "dataset.crop_size=[32,32]", *SHORT, "hydra.run.dir=own",
    )  # fmt: skip
    assert result.status == 0, result.err
    assert "folder: 6 training, 3 validation images, 3 classes" in result.out


def test_multirun_makes_a_folder_each(run: Run) -> None:
    result = run("train", "-m", *SHORT, "schedule.max_steps=1", "seed=0,1", "hydra.sweep.dir=sweep")
    assert result.status == 0, result.err
    assert sorted(path.parent.name for path in Path("sweep").glob("*/config.yaml")) == ["0", "1"]


@pytest.mark.slow
def test_a_single_batch_can_be_learned(run: Run) -> None:
    result = run(
        "train", "schedule.max_steps=150", "schedule.val_interval=150", "dataset.workers=0", "trainer=cpu", "hydra.run.dir=learn",
    )  # fmt: skip
    assert result.status == 0, result.err
    loss = [float(row["train/loss_decode"]) for row in rows(Path("learn")) if row["train/loss"]]
    assert loss[-1] < 0.75 * loss[0]
    assert float(re.findall(r"mIoU (\d\.\d+)", result.out)[-1]) > 0.2


def test_starts_from_given_weights(run: Run, trained: Path) -> None:
    checkpoint = trained / "checkpoints/last.ckpt"
    result = run(
        "train",
        *SHORT,
        f"weights={checkpoint}",
        "schedule.max_steps=1",
        "optimizer.lr=1e-12",
        "schedule.min_lr=1e-12",
        "hydra.run.dir=r",
    )
    assert result.status == 0, result.err
    assert "weights     last.ckpt: 148 of 148 tensors kept, a checkpoint of this package" in result.out
    before, after = (torch.load(path, weights_only=True)["state_dict"] for path in (checkpoint, Path("r/checkpoints/last.ckpt")))
    for key, value in before.items():
        if not any(part in key for part in ("running_", "num_batches")):
            torch.testing.assert_close(value, after[key], rtol=0, atol=1e-9)


def test_weights_of_other_classes_keep_all_but_the_classifiers(run: Run, trained: Path, folder_data: Path) -> None:
    weights = f"weights={trained}/checkpoints/best.ckpt"
    data = (f"dataset.root={folder_data}", "dataset.base_scale=[56,40]", "dataset.crop_size=[32,32]")
    result = run("train", "dataset=folder", "backbone=r18b", *data, *SHORT, weights, "hydra.run.dir=r")
    assert result.status == 0, result.err
    assert "144 of 148 tensors kept" in result.out
    assert "both classifiers start anew (9 classes -> 3)" in result.out


def test_weights_of_another_network_are_refused(run: Run, trained: Path) -> None:
    result = run("train", *SHORT, "backbone=r18", f"weights={trained}/checkpoints/best.ckpt")
    assert result.status == 1
    assert "does not fit this network" in result.err
    assert not list(Path.cwd().iterdir())


def test_a_published_log_is_drawn_and_compared(run: Run, trained: Path) -> None:
    published = Path("published.log.json")
    lines = [{"env_info": "", "seed": None}]
    lines += [{"mode": "train", "epoch": 1, "iter": step, "lr": 0.01, "loss": 2.0, "decode.loss_seg": 1.5} for step in (1, 2, 3)]
    lines.append({"mode": "val", "epoch": 1, "iter": 3, "lr": 0.01, "mIoU": 0.9, "mAcc": 0.9, "aAcc": 0.9})
    published.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run("train", *SHORT, f"log={published}", "trainer.log_interval=1", "hydra.run.dir=r")
    assert result.status == 0, result.err
    report = Path("r/report.md").read_text()
    assert "## Against the published log" in report
    assert "at step 3 the mIoU is" in report
    with Image.open("r/plots/curves.png") as ours, Image.open(trained / "plots/curves.png") as plain:
        assert ours.tobytes() != plain.tobytes()


def test_a_log_that_is_none_is_refused_before_the_run(run: Run) -> None:
    result = run("train", *SHORT, "log=no.json")
    assert result.status == 1
    assert "no.json cannot be read" in result.err
    assert not list(Path.cwd().iterdir())


def classes_of(folder: Path) -> list[str]:
    lines = (folder / "metrics.csv").read_text().splitlines()
    return [name.removeprefix("val/IoU/") for name in lines[0].split(",") if name.startswith("val/IoU/")]


def test_a_label_map_serves_training_metric_evaluation_and_export(run: Run, folder_data: Path) -> None:
    data = ("dataset=folder", f"dataset.root={folder_data}", "dataset.label_map={0: house, 1: tree, 2: house, 9: ignore}")
    small = (*SHORT, "model.pretrained=false", "dataset.base_scale=[56,40]", "dataset.crop_size=[32,32]")
    result = run("train", *data, *small, "hydra.run.dir=here")
    assert result.status == 0, result.err
    assert "2 classes" in result.out
    assert sorted(classes_of(Path("here"))) == ["house", "tree"]
    result = run("evaluate", "checkpoint=here/checkpoints/last.ckpt", *data)
    assert result.status == 0, result.err
    result = run("predict", "checkpoint=here", f"source={folder_data}/images/val", "output=up", "format=submission")
    assert result.status == 0, result.err
    values = {value for path in Path("up").rglob("*.png") for value in np.unique(np.asarray(Image.open(path))).tolist()}
    assert values <= {0, 1}, "house is written as its first file value, tree as 1"
    assert run("evaluate", "checkpoint=here/checkpoints/last.ckpt", *data[:2]).status == 1, "three classes are not these two"


def test_class_weights_are_counted_and_shown(run: Run, folder_data: Path) -> None:
    small = (*SHORT, "model.pretrained=false", "dataset.base_scale=[56,40]", "dataset.crop_size=[32,32]")
    result = run(
        "train", "dataset=folder", f"dataset.root={folder_data}", *small, "loss.class_weight=median_frequency", "hydra.run.dir=here"
    )
    assert result.status == 0, result.err
    assert "counting the classes in 6 masks" in result.out
    # Quadrants without the first row: 28 x 19, 28 x 19 + 28 x 20, 28 x 20 pixels of 56 x 39.
    shares = [28 * 19, 28 * 39, 28 * 20]
    expected = ", ".join(f"{name} {28 * 20 / share:.3g}" for name, share in zip(("ground", "tree", "house"), shares, strict=True))
    assert f"class weights  {expected}" in result.out


def test_augmentation_from_the_command_line(run: Run, trained: Path) -> None:
    black = "dataset.augment.after=[{_target_: albumentations.Illumination, p: 0.5}]"
    result = run("train", *SHORT, black, "hydra.run.dir=here")
    assert result.status == 0, result.err
    assert rows(Path("here")) != rows(trained)
    again = run("train", *SHORT, black, "hydra.run.dir=again")
    assert again.status == 0
    losses = [[row["train/loss"] for row in rows(Path(name)) if row["train/loss"]] for name in ("here", "again")]
    assert losses[0] == losses[1]


def test_a_misspelt_transform_is_named(run: Run) -> None:
    result = run("train", *SHORT, "dataset.augment.after=[{_target_: albumentations.GausBlur}]")
    assert result.status == 1
    assert "Traceback" not in result.err
    assert "albumentations.GausBlur" in result.err


def test_a_cache_changes_nothing(run: Run, folder_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FCN_CACHE", str(tmp_path / "cache"))
    small = (*SHORT, "model.pretrained=false", "dataset.base_scale=[56,40]", "dataset.crop_size=[32,32]")
    for cache in ("none", "disk", "ram"):
        result = run(
            "train", "dataset=folder", f"dataset.root={folder_data}", *small, f"dataset.cache={cache}", f"hydra.run.dir={cache}"
        )
        assert result.status == 0, result.err
    scores = {tuple(row["val/mIoU"] + row["train/loss"] for row in rows(Path(cache))) for cache in ("none", "disk", "ram")}
    assert len(scores) == 1
    assert len([path for path in (tmp_path / "cache/samples").rglob("*") if path.is_file()]) == 9
