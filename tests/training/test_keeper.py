"""Which checkpoints stay, under which names; and that a name never holds half a file."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn

from fcn_lightning import InputError
from fcn_lightning.training import checkpoint
from fcn_lightning.training.keeper import CheckpointKeeper
from fcn_lightning.training.task import SegmentationTask

GUARD = cast(Any, SimpleNamespace(check=lambda trainer: None, state_dict=dict, load_state_dict=lambda state: None))


def trainer(step: int, fn: TrainerFn = TrainerFn.FITTING) -> pl.Trainer:
    state = SimpleNamespace(fn=fn)
    return cast(pl.Trainer, SimpleNamespace(global_step=step, state=state, is_global_zero=True, accumulate_grad_batches=1))


@pytest.fixture
def task() -> SegmentationTask:
    task = SegmentationTask.__new__(SegmentationTask)
    torch.nn.Module.__init__(task)
    return task


@pytest.fixture(autouse=True)
def steps_for_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CheckpointKeeper, "_write_weights", lambda *_: None)  # tests/training/test_checkpoint.py reads them
    monkeypatch.setattr(checkpoint, "snapshot", lambda trainer, run: {"step": trainer.global_step, "run": run})


def validate(keeper: CheckpointKeeper, task: SegmentationTask, step: int, miou: float) -> None:
    task.scores = cast(Any, SimpleNamespace(miou=miou))
    keeper.on_validation_end(trainer(step), task)


def content(folder: Path) -> dict[str, int]:
    return {path.name: torch.load(path, weights_only=True)["step"] for path in folder.iterdir()}


def test_the_newest_two_and_the_best_stay(tmp_path: Path, task: SegmentationTask) -> None:
    keeper = CheckpointKeeper(tmp_path, GUARD, interval=0, keep_validated=False)
    for step, miou in ((10, 0.2), (20, 0.5), (30, 0.4), (40, 0.3), (50, 0.1)):
        validate(keeper, task, step, miou)
    assert content(tmp_path) == {
        "step_000020_mIoU_0.5000.ckpt": 20, "best.ckpt": 20,
        "step_000040_mIoU_0.3000.ckpt": 40, "step_000050_mIoU_0.1000.ckpt": 50, "last.ckpt": 50,
    }  # fmt: skip
    assert keeper.best == {"step": 20, "mIoU": 0.5}
    assert (tmp_path / "best.ckpt").samefile(tmp_path / "step_000020_mIoU_0.5000.ckpt"), "a second name takes no room"
    keeper.on_validation_end(trainer(60, TrainerFn.VALIDATING), task)  # evaluate writes none
    assert len(content(tmp_path)) == 5


def test_each_validation_stays_on_request(tmp_path: Path, task: SegmentationTask) -> None:
    keeper = CheckpointKeeper(tmp_path, GUARD, interval=0, keep_validated=True)
    for step, miou in ((10, 0.2), (20, 0.5), (30, 0.4), (40, 0.3)):
        validate(keeper, task, step, miou)
    assert sorted(content(tmp_path).values()) == [10, 20, 20, 30, 40, 40]


def test_saves_in_between_go_once_there_are_newer_ones(tmp_path: Path, task: SegmentationTask) -> None:
    keeper = CheckpointKeeper(tmp_path, GUARD, interval=5, keep_validated=False)
    for step in range(1, 21):
        keeper.on_train_batch_end(trainer(step), task, None, None, step - 1)
        if step in (10, 20):
            validate(keeper, task, step, step / 100)
    assert content(tmp_path) == {
        "step_000015.ckpt": 15, "step_000020_mIoU_0.2000.ckpt": 20, "last.ckpt": 20, "best.ckpt": 20
    }  # fmt: skip


def test_a_damaged_last_one_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (10, 20):
        path = tmp_path / f"step_{step:06d}.ckpt"
        checkpoint.write({"run": {}, "optimizer_states": [], "global_step": step, "state_dict": {"a": torch.rand(9999)}}, path)
    checkpoint.link(path, tmp_path / "last.ckpt")
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:20_000] + bytes([whole[20_000] ^ 1]) + whole[20_001:], b""):
        path.write_bytes(broken)
        found = checkpoint.newest(tmp_path)
        assert found is not None
        assert (found[0].name, found[1]["global_step"]) == ("step_000010.ckpt", 10)
        assert "last.ckpt is damaged" in caplog.text
        damaged = tmp_path / "last.ckpt.damaged"
        assert damaged.read_bytes() == broken
        damaged.rename(tmp_path / "last.ckpt")
        path = tmp_path / "last.ckpt"
    (tmp_path / "step_000010.ckpt").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 2 checkpoints"):
        checkpoint.newest(tmp_path)
    assert checkpoint.newest(tmp_path / "nowhere") is None


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    path.write_text("old")

    def full(content: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"last.ckpt could not be written .*No space left on device; \d+ MB are free"):
        checkpoint.write({}, path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert path.read_text() == "old"
