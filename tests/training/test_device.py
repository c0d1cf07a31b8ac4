"""Precision and device are chosen by what the machine has."""

import pytest
import pytorch_lightning as pl
import torch

from fcn_lightning import InputError
from fcn_lightning.training import device


@pytest.mark.parametrize(
    ("flags", "speedup", "chosen"),
    [(True, 2.0, "bf16-mixed"), (True, 0.8, "32-true"), (False, 2.0, "32-true")],
)
def test_bf16_needs_the_instructions_and_a_gain(monkeypatch: pytest.MonkeyPatch, flags: bool, speedup: float, chosen: str) -> None:
    monkeypatch.setattr(device, "_has_bf16", lambda: flags)
    monkeypatch.setattr(device, "bf16_speedup", lambda: speedup)
    assert device.training_precision("auto", "cpu") == chosen
    assert device.training_precision("auto", "cuda") == "32-true"
    assert device.training_precision("bf16-mixed", "cpu") == "bf16-mixed", "what the user says stays"


def test_fp16_runs_as_bf16_on_a_cpu() -> None:
    assert device.training_precision("16-mixed", "cpu") == "bf16-mixed"
    assert device.training_precision("16-mixed", "cuda") == "16-mixed"


def test_a_fixed_loss_scale_belongs_to_fp16() -> None:
    plugin = device.amp_plugin("16-mixed", 512, "cpu")
    assert plugin is not None
    assert plugin.precision == "16-mixed"
    assert isinstance(plugin.scaler, device.StaticGradScaler)
    assert plugin.scaler.get_scale() == 512
    assert device.amp_plugin("16-mixed", None, "cuda") is None
    assert device.amp_plugin("bf16-mixed", 512, "cpu") is None


def test_the_loss_scale_stays_and_an_overflow_leaves_the_step_out() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer, scaler = torch.optim.SGD([weight], lr=0.5), device.StaticGradScaler(512, "cpu")
    for factor, expected in ((2.0, 0.0), (float("inf"), 0.0), (-2.0, 1.0)):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert weight.item() == expected
        assert scaler.get_scale() == 512


def test_instructions_held_back_by_the_user_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not device._has_bf16()


def test_the_probe_measures_something() -> None:
    assert 0.001 < device.bf16_speedup() < 100


def test_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.accelerator("auto") == device.accelerator("cpu") == "cpu"
    with pytest.raises(InputError, match="sees no GPU"):
        device.accelerator("cuda")
    with pytest.raises(InputError, match="accelerator=tpu"):
        device.accelerator("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.accelerator("auto") == "cuda"
    assert device.accelerator("cpu") == "cpu"


def test_lightning_trains_with_the_fixed_loss_scale() -> None:
    class Line(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:
            assert torch.is_autocast_enabled("cpu")
            return (self.layer(batch).float() - 3 * batch).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    plugin, line = device.amp_plugin("16-mixed", 512, "cpu"), Line()
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, plugins=[plugin], max_steps=40, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(line, torch.utils.data.DataLoader(torch.randn(40, 8, 1), batch_size=None))
    assert trainer.precision == "16-mixed"
    assert plugin is not None
    assert plugin.scaler is not None
    assert plugin.scaler.get_scale() == 512
    assert line.layer.weight.item() == pytest.approx(3, abs=0.1)
