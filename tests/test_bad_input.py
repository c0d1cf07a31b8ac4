"""Each mistake gets one sentence with file, value and remedy, status 1, no traceback, and nothing half-written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcn_lightning.config import build, compose
from tests.conftest import SHORT, Run

TINY = (*SHORT, "model.pretrained=false", "dataset.base_scale=[56,40]", "dataset.crop_size=[32,32]")


def mask_with(pixels: np.ndarray, mode: str | None = None) -> Callable[[Path], None]:
    return lambda root: Image.fromarray(pixels, mode=mode).save(root / "masks/train/0.png")


def cut(name: str) -> Callable[[Path], None]:
    def break_file(root: Path) -> None:
        path = root / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return break_file


def palette_mask(root: Path) -> None:
    image = Image.fromarray(np.full((40, 56), 77, np.uint8), mode="P")
    image.putpalette(list(range(256)) * 3)
    image.save(root / "masks/train/0.png")


MISTAKES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "mask missing": (lambda root: (root / "masks/train/3.png").unlink(), ("have no mask, first", "3.jpg", "add the mask")),
    "image missing": (lambda root: (root / "images/val/1.jpg").unlink(), ("have no image, first", "1.png", "add the image")),
    "sizes differ": (
        mask_with(np.zeros((40, 55), np.uint8)), ("sizes differ", "0.jpg is 40x56", "0.png is 40x55", "export both")
    ),
    "colour mask": (mask_with(np.zeros((40, 56, 3), np.uint8)), ("0.png has mode RGB", "convert it")),
    "palette mask of another palette": (palette_mask, ("0.png holds label 77 (2240 pixels)", "correct the mask")),
    "label out of range": (mask_with(np.full((40, 56), 3, np.uint8)), ("0.png holds label 3 (2240 pixels)", "out of range")),
    "truncated image": (cut("images/train/0.jpg"), ("0.jpg is truncated or not an image", "replace or remove it")),
    "truncated mask": (cut("masks/train/0.png"), ("0.png is truncated or not an image", "replace or remove it")),
    "classes missing": (lambda root: (root / "classes.yaml").unlink(), ("classes.yaml cannot be read", "name the classes there")),
    "class list too short": (
        lambda root: (root / "classes.yaml").write_text("classes: [a, b]\nignored: [9]\n") and None,
        ("holds label 2", "the 2 classes have the values 0 to 1", "add the value to the class list"),
    ),
    "colours of the wrong length": (
        lambda root: (root / "classes.yaml").write_text("classes: [a, b, c]\ncolors: [[0, 0, 0]]\n") and None,
        ("classes.yaml: a class list of the wrong length: 3 classes, 1 colours",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_data(run: Run, folder_data: Path, mistake: str) -> None:
    plant, words = MISTAKES[mistake]
    plant(folder_data)
    result = run("train", "dataset=folder", f"dataset.root={folder_data}", *TINY)
    assert_one_sentence(result.status, result.err, words)
    assert not list(Path.cwd().iterdir()), "no run folder stays"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_met_in_the_middle(run: Run, folder_data: Path, workers: int) -> None:
    data = ("dataset=folder", f"dataset.root={folder_data}")
    samples = build(compose(*data).dataset).train_samples()
    # The first image and the first batch are read before the run begins.
    for index in {samples.image_index(position) for position in range(2, 6)} - {0}:
        cut(f"images/train/{index}.jpg")(folder_data)
    result = run("train", *data, *TINY, f"dataset.workers={workers}", "hydra.run.dir=r")
    assert_one_sentence(result.status, result.err, (".jpg is truncated or not an image", "replace or remove it"))
    assert "is truncated" in Path("r/train.log").read_text(), "a run that had begun keeps its log"
    assert not list(Path("r").rglob("*.part"))


COMMANDS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "root": ("train", ("dataset=camvid", "dataset.root=/nowhere"), ("/nowhere, does not exist", "set dataset.root=", "FCN_DATA")),
    "default root": ("train", ("dataset=camvid",), ("data/camvid, does not exist", "FCN_DATA")),
    "key": ("train", ("dataset.crop_sise=[8,8]",), ("dataset.crop_sise is no key", "did you mean dataset.crop_size?")),
    "group": ("train", ("backbon=r50",), ("backbon is no key", "did you mean backbone?")),
    "option": ("train", ("backbone=r50c",), ("backbone=r50c does not exist", "did you mean r50", "r101b")),
    "value": ("train", ("schedule.max_steps=many",), ("schedule.max_steps", "many")),
    "crop": ("train", ("dataset.crop_size=64",), ("crop_size", "64")),
    "mode": ("train", ("inference.mode=tile",), ("inference.mode=tile is not known; use whole or slide",)),
    "wandb mode": ("train", ("logger=wandb", "logger.mode=maybe", *SHORT), ("logger.mode=maybe is not known",)),
    "precision": ("train", ("trainer.precision=fp9", *SHORT), ("trainer.precision=fp9 is not known",)),
    "equals sign": (
        "predict",
        ("checkpoint=step=3.ckpt", "source=x", "output=y"),
        ("checkpoint=step=3.ckpt cannot be read", "quote the value twice"),
    ),
    "window": (
        "train",
        ("inference.mode=slide", "inference.crop_size=[5]", "inference.stride=[5,5]"),
        ("inference.crop_size=[5] is not a pair",),
    ),
    "learning rate": ("train", ("optimizer.lr=0", *SHORT), ("optimizer.lr=0 cannot be trained with; give a number above 0",)),
    "momentum": ("train", ("optimizer.momentum=-0.9", *SHORT), ("optimizer.momentum=-0.9 cannot", "give a number from 0")),
    "batch": ("train", ("dataset.global_batch_size=0",), ("dataset.global_batch_size=0",)),
    "checkpoint not given": ("evaluate", ("dataset=shapes",), ("checkpoint is not set; add checkpoint=<value>",)),
    "dataset not given": (
        "evaluate",
        ("checkpoint=x",),
        (
            "dataset is not set; add dataset=<name>",
            "ade20k, camvid, cityscapes, cityscapes_769, folder, pascal_context, pascal_context_59, shapes, voc12aug",
        ),
    ),
    "checkpoint missing": ("evaluate", ("checkpoint=no.ckpt", "dataset=shapes"), ("no.ckpt does not exist", "best.ckpt")),
}


@pytest.mark.parametrize("mistake", COMMANDS)
def test_mistakes_on_the_command_line(run: Run, mistake: str) -> None:
    verb, arguments, words = COMMANDS[mistake]
    result = run(verb, *arguments)
    assert_one_sentence(result.status, result.err, words)
    assert not list(Path.cwd().iterdir()), "no run folder stays"


def test_no_pretrained_weights_stop_the_run(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fcn_lightning.models import pretrained

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setitem(pretrained.IMAGENET_URLS, (18, False), "file:///nowhere/resnet18-f37072fd.pth")
    result = run("train", "model.pretrained=true")
    assert_one_sentence(result.status, result.err, ("resnet18-f37072fd.pth", "put the file at", "model.pretrained=false"))
    assert not list(Path.cwd().iterdir())


def test_a_checkpoint_of_other_classes(run: Run, trained: Path, folder_data: Path) -> None:
    result = run("evaluate", f"checkpoint={trained}/checkpoints/last.ckpt", "dataset=folder", f"dataset.root={folder_data}")
    words = ("was trained on shapes with 9 classes", "folder has 3", "give dataset=shapes, or another checkpoint")
    assert_one_sentence(result.status, result.err, words)
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_a_corrupt_checkpoint(run: Run, trained: Path, folder_data: Path, verb: str) -> None:
    Path("cut.ckpt").write_bytes((trained / "checkpoints/last.ckpt").read_bytes()[:100_000])
    more = ("dataset=shapes",) if verb == "evaluate" else (f"source={folder_data}/images", "output=o")
    result = run(verb, "checkpoint=cut.ckpt", *more)
    assert_one_sentence(result.status, result.err, ("cut.ckpt is corrupt", "use another file"))
    assert [path.name for path in Path.cwd().iterdir()] == ["cut.ckpt"]


def assert_one_sentence(status: int, err: str, words: tuple[str, ...]) -> None:
    lines = [line for line in err.splitlines() if line.strip()]
    assert status == 1
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0]
