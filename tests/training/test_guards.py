"""Losses and gradients that are no numbers: training stops without saving, or the step leaves no trace."""

import logging
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fcn_lightning import InputError
from fcn_lightning.data.cityscapes import CityscapesDataModule
from fcn_lightning.data.shapes import ShapesDataModule
from fcn_lightning.training.device import amp_plugin
from fcn_lightning.training.guards import NAMED, PATIENCE, FiniteGuard, gradient_norm, step_samples
from tests.conftest import ROOT
from tests.data.layouts import draw, module

NAN = float("nan")


class Net(pl.LightningModule):
    """A network with BatchNorm, momentum and decay, so that a step leaves traces everywhere."""

    def __init__(self, poisoned: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
        self.poisoned = poisoned  # step in which a weight is broken before the forward pass
        self.losses: list[float] = []

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if self.global_step == self.poisoned:
            with torch.no_grad():
                self.layers[3].weight[0] = NAN

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.layers(batch).float().square().mean()
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.layers(batch)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)}


class Save(pl.Callback):
    """Save every step, as `last.ckpt`."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "last.ckpt")


def batches(*bad: int, number: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(2, 1, 8, 8, generator=generator) for _ in range(number)]
    for index in bad:
        images[index][1, 0, 3, 3] = NAN
    return images


def names(step: int) -> list[str]:
    return [f"images/{step}_{number}.png" for number in range(NAMED + 2)]


def fit(net: Net, guard: FiniteGuard, images: list[Tensor], folder: Path, **settings: Any) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_steps=settings.pop("max_steps", -1), max_epochs=1, callbacks=[guard, Save()],
        default_root_dir=folder, logger=CSVLogger(folder, name="", version=""), log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **settings,
    )  # fmt: skip
    trainer.fit(net, DataLoader(images, batch_size=None))
    return trainer


def is_finite(state: dict[str, Any]) -> bool:
    return all(bool(value.isfinite().all()) for value in state.values())


def saved(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return content


def test_a_broken_image_stops_training_before_the_weights_change(tmp_path: Path) -> None:
    net, guard = Net(), FiniteGuard("stop", names, interval=50)
    with pytest.raises(InputError) as stop:
        fit(net, guard, batches(3), tmp_path)
    assert str(stop.value) == (
        "the loss is nan in step 4, with the samples images/3_0.png, images/3_1.png, images/3_2.png, images/3_3.png, "
        "images/3_4.png, images/3_5.png, images/3_6.png, images/3_7.png and 2 more; the checkpoints from before it stay as they "
        "are: lower optimizer.lr, or look for broken files with python -m fcn_lightning.doctor, or leave such steps out with "
        "nonfinite=skip"
    )
    assert saved(tmp_path)["global_step"] == 3
    assert is_finite(saved(tmp_path)["state_dict"])
    assert all(parameter.isfinite().all() for parameter in net.parameters()), "the optimiser did not use the gradients"


def test_after_a_stop_nothing_can_be_saved(tmp_path: Path) -> None:
    class SaveOnError(pl.Callback):
        def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
            with pytest.raises(InputError, match="in step 2"):
                trainer.save_checkpoint(tmp_path / "emergency.ckpt")

    guard = FiniteGuard("stop", names, interval=50)
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, callbacks=[guard, SaveOnError()], default_root_dir=tmp_path, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(InputError, match="in step 2"):
        trainer.fit(Net(), DataLoader(batches(1), batch_size=None))
    assert not (tmp_path / "emergency.ckpt").exists()


def test_a_broken_weight_stops_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the loss is nan in step 3"):
        fit(Net(2), FiniteGuard("stop", names, interval=50), batches(), tmp_path)
    assert saved(tmp_path)["global_step"] == 2


def test_gradients_are_looked_at_where_the_loss_is_a_number(tmp_path: Path) -> None:
    class Root(Net):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            # The derivative of a root is infinite at zero, and infinity times zero is none.
            return (
                self.layers(batch).mean() ** 2 + 0.5 + (self.layers[3].weight[0] * 0 * (self.global_step == 2)).abs().sum().sqrt()
            )

    with pytest.raises(InputError, match=r"the norm of the gradients is nan at a loss of 0\.\d+ in step"):
        fit(Root(), FiniteGuard("stop", names, interval=50), batches(), tmp_path)


def test_one_of_several_accumulated_batches_is_enough(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the loss is nan in step 2, with the samples images/1_0\.png"):
        fit(Net(), FiniteGuard("stop", names, interval=50), batches(2), tmp_path, accumulate_grad_batches=2)
    net, guard = Net(), FiniteGuard("skip", names, interval=50)
    trainer = fit(net, guard, batches(2), tmp_path, accumulate_grad_batches=2)
    assert guard.skipped == 1
    assert trainer.global_step == 3
    assert is_finite(net.state_dict())


def test_a_device_that_is_not_waited_for_is_looked_at_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of a GPU, on a CPU: nothing is raised in the step itself."""

    class Lazy(FiniteGuard):
        saves = False  # whether it is asked before a checkpoint

        def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(FiniteGuard, "_look", lambda self, trainer: None)  # what a CPU does at once
                super().on_before_optimizer_step(trainer, pl_module, optimizer)

        def on_save_checkpoint(self, *args: Any) -> None:
            if self.saves:
                super().on_save_checkpoint(*args)

    for interval, saves, last in ((4, False, 4), (50, True, 2)):
        guard, net = Lazy("stop", names, interval=interval), Net()
        guard.saves = saves
        with pytest.raises(InputError, match="the loss is nan in step 2, "):  # not a later step, in which all is broken
            fit(net, guard, batches(1), tmp_path / str(interval))
        assert len(net.losses) == last
    assert saved(tmp_path / "50")["global_step"] == 1
    guard, net = Lazy("stop", names, interval=50), Net()
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, callbacks=[guard], logger=False, default_root_dir=tmp_path,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, val_check_interval=3,
        num_sanity_val_steps=0,
    )  # fmt: skip
    with pytest.raises(InputError, match="the loss is nan in step 2, "):
        trainer.fit(net, DataLoader(batches(1), batch_size=None), DataLoader(batches(), batch_size=None))
    assert len(net.losses) == 3, "before the validation"


def test_a_skipped_step_leaves_no_trace_but_in_schedule_and_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = batches(2)
    with caplog.at_level(logging.WARNING):
        net, guard = Net(), FiniteGuard("skip", names, interval=50)
        trainer = fit(net, guard, images, tmp_path / "skip")
    assert [record.message for record in caplog.records if "left out" in record.message] == [
        "the loss is nan in step 3, with the samples " + ", ".join(names(2)[:8]) + " and 2 more; the step is left out (1 so far)"
    ]
    assert trainer.global_step == 6
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 * 0.5), "one scheduler step per epoch"
    metrics = (tmp_path / "skip/metrics.csv").read_text().splitlines()
    assert metrics == ["step,train/skipped", "3,1.0"]

    twin = Net()  # the same steps by hand, without the third
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for index, image in enumerate(images):
        if index != 2:
            optimizer.zero_grad()
            twin.layers(image).square().mean().backward()
            optimizer.step()
    for key, value in twin.state_dict().items():
        assert torch.equal(net.state_dict()[key], value), key
    assert saved(tmp_path / "skip")["callbacks"]["FiniteGuard"] == {"skipped": 1}


def test_without_anything_bad_both_actions_change_no_bit(tmp_path: Path) -> None:
    states = []
    for action in ("stop", "skip"):
        net, guard = Net(), FiniteGuard(action, names, interval=2)
        fit(net, guard, batches(), tmp_path)
        states.append(net.state_dict())
        assert guard.skipped == 0
    for key, value in states[0].items():
        assert torch.equal(states[1][key], value), key


def test_many_skipped_steps_in_a_row_stop_training(tmp_path: Path) -> None:
    number = PATIENCE + 4
    scattered = [index for index in range(number) if index != 5]
    net, guard = Net(), FiniteGuard("skip", names, interval=50)
    fit(net, guard, batches(*scattered, number=number), tmp_path)  # the sixth step is good, so never ten in a row
    assert guard.skipped == number - 1
    before = {key: value.clone() for key, value in Net().state_dict().items()}
    net, guard = Net(), FiniteGuard("skip", names, interval=50)
    with pytest.raises(InputError, match=f"in step {PATIENCE}, .* the last of {PATIENCE} such steps one after the other"):
        fit(net, guard, batches(*range(number), number=number), tmp_path)
    for key, value in before.items():
        assert torch.equal(net.state_dict()[key], value), key


@pytest.mark.parametrize("action", ["stop", "skip"])
@pytest.mark.parametrize("place", ["weight", "running_var"])
def test_weights_that_broke_in_the_step_itself_are_not_saved(action: str, place: str, tmp_path: Path) -> None:
    class Break(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
            if trainer.global_step == 2:
                with torch.no_grad():
                    getattr(pl_module.layers[1], place)[0] = float("inf")

    guard = FiniteGuard(action, names, interval=50)
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, callbacks=[Break(), guard, Save()], default_root_dir=tmp_path, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(InputError, match="the weights are not finite after step 2; the checkpoints from before"):
        trainer.fit(Net(), DataLoader(batches(), batch_size=None))
    assert saved(tmp_path)["global_step"] == 1


def test_a_resumed_run_goes_on_counting() -> None:
    guard = FiniteGuard("skip", names, interval=50)
    guard.load_state_dict({"skipped": 3})
    assert guard.state_dict() == {"skipped": 3}


def test_a_gradient_scaler_leaves_overflows_out_itself(tmp_path: Path) -> None:
    class Overflow(Net):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            if self.global_step == 1:
                self.layers[3].weight.register_hook(lambda gradient: gradient * float("inf"))
            return loss

    for action in ("stop", "skip"):
        guard, net = FiniteGuard(action, names, interval=1), Overflow()
        trainer = fit(net, guard, batches(), tmp_path / action, plugins=[amp_plugin("16-mixed", 512.0, "cpu")])
        assert trainer.global_step == 6
        assert guard.skipped == 0
        assert is_finite(net.state_dict())
        with pytest.raises(InputError, match="the loss is nan in step 4") if action == "stop" else nullcontext():
            fit(Net(), guard, batches(3), tmp_path / action, plugins=[amp_plugin("16-mixed", 512.0, "cpu")])
    assert guard.skipped == 1


def test_an_unknown_action() -> None:
    with pytest.raises(InputError, match="nonfinite=ignore is not known; use stop or skip"):
        FiniteGuard("ignore", names, interval=50)


def test_the_norm_is_that_of_all_gradients() -> None:
    net = Net()
    assert gradient_norm(net.parameters()) == 0
    net.layers(batches()[0]).square().sum().backward()
    gradients = torch.cat([parameter.grad.flatten() for parameter in net.parameters() if parameter.grad is not None])
    torch.testing.assert_close(gradient_norm(net.parameters()), gradients.norm())


def test_the_samples_of_a_step_are_those_that_the_loader_reads(tmp_path: Path) -> None:
    datamodule = module(CityscapesDataModule, draw("cityscapes", tmp_path / "cityscapes", train=5))
    datamodule.plan(max_steps=4, ms_flip=False)
    indices = [batch["index"].tolist() for batch in datamodule.train_dataloader()]
    for step, index in enumerate(indices):
        files = step_samples(datamodule, step)
        assert files == [str(datamodule.train_data.pairs[number].image) for number in index]
        assert all(Path(file).is_file() for file in files)
    drawn = ShapesDataModule(base_scale=(96, 96), ratio_range=(1, 1), crop_size=(64, 64), global_batch_size=3, workers=0, seed=0)
    assert all(name.startswith("shapes-") for name in step_samples(drawn, 7)), "what is drawn has names instead of files"


TWO_PROCESSES = """
import sys, time
from pathlib import Path
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from fcn_lightning import InputError
from fcn_lightning.training.guards import FiniteGuard
from tests.training.test_guards import Net, batches, names

folder = Path(sys.argv[1])

class Own(Net):  # each process reads its own images; only the second has a broken one
    def training_step(self, batch, batch_idx):
        if self.global_rank == 1 and batch_idx == 2:
            batch = batch * float("nan")
        return super().training_step(batch + self.global_rank, batch_idx)

    def on_train_end(self):
        torch.save([self.global_step, guard.skipped, self.state_dict()], folder / f"{self.global_rank}.pt")

class Guard(FiniteGuard):
    def on_before_optimizer_step(self, trainer, *args):
        try:
            super().on_before_optimizer_step(trainer, *args)
        except InputError as error:
            (folder / f"{trainer.global_rank}.txt").write_text(str(error))
            end = time.monotonic() + 20  # the process that ends first takes the other one with it
            while len(list(folder.glob("*.txt"))) < 2 and time.monotonic() < end:
                time.sleep(0.05)
            raise

for action in ("skip", "stop"):
    guard = Guard(action, names, interval=50)
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp_fork", max_epochs=1, callbacks=[guard], logger=False,
        use_distributed_sampler=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(Own(), DataLoader(batches(), batch_size=None))
"""


def test_two_processes_decide_alike(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TWO_PROCESSES, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode, "it ends with the run that stops"
    (step, skipped, first), second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert (step, skipped) == (6, 1) == tuple(second[:2]), done.stderr
    weights = {key for key, _ in Net().named_parameters()}
    for key, value in first.items():
        assert value.isfinite().all(), key
        assert torch.equal(second[2][key], value) or key not in weights
    for rank in range(2):
        assert "the loss is nan in step 3" in (tmp_path / f"{rank}.txt").read_text(), "also in the process without broken images"
