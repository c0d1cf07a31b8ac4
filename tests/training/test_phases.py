"""What training is doing is known when an error comes."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fcn_lightning.training.phases import PhaseNotes


class Net(pl.LightningModule):
    """Fails for lack of memory where it is told to."""

    def __init__(self, failing: str) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.failing = failing

    def fail(self, place: str) -> None:
        if self.failing == place and self.global_step == 2:
            torch.empty(10**15)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.fail("training step")
        return self.layer(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.fail("validation")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.fail("saving")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Samples(Dataset[Tensor]):
    def __init__(self, failing: str) -> None:
        self.failing = failing

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Tensor:
        if self.failing == "loading data" and index == 4:
            torch.empty(10**15)
        return torch.ones(1)


class Save(pl.Callback):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / "last.ckpt")


@pytest.mark.parametrize("phase", ["loading data", "training step", "validation", "saving"])
def test_the_phase_of_an_error(phase: str, tmp_path: Path) -> None:
    notes = PhaseNotes()
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, val_check_interval=1, num_sanity_val_steps=0, logger=False,
        callbacks=[Save(tmp_path), notes], enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    train, val = (DataLoader(Samples(failing), batch_size=None) for failing in (phase, ""))
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        trainer.fit(Net(phase), train, val)
    assert notes.phase == phase
