"""What happens when a loss or a gradient is no number any more: training stops, or the step is left out."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from fcn_lightning import InputError
from fcn_lightning.data.datamodule import SegmentationDataModule

log = logging.getLogger(__name__)

ACTIONS = ("stop", "skip")
PATIENCE = 10  # steps left out one after the other, at which training stops: these are no single broken samples
NAMED = 8  # samples that a message names
ADVICE = "lower optimizer.lr, or look for broken files with python -m fcn_lightning.doctor"

Finding = tuple[int, float, float]  # step (0-based), loss, norm of the gradients


class FiniteGuard(pl.Callback):
    """Look at the loss of every batch and at the gradients of every step.

    With "stop", training ends with a sentence that names the step and its samples. On a CPU that is before the optimiser
    uses the gradients. A GPU is not made to wait in each step: the first bad step is kept on the device and looked at every
    few steps, before each validation and before each checkpoint, so that no weights are saved that went through such a step.
    Before these two, the weights are looked at as well.

    With "skip", the step is left out by all processes alike: no weight, momentum or decay changes, and the statistics of
    BatchNorm return to what they were; schedule and stream of samples go on. The number of such steps is logged as
    `train/skipped`. This reads the loss back in each step, and copies the buffers.

    Under a GradScaler only the loss is looked at: it leaves out steps with infinite gradients itself, and they are part of
    how it finds its scale.

    Attributes:
        skipped: steps left out so far; travels with checkpoints.

    Args:
        action: "stop" or "skip", the key `nonfinite`.
        name_samples: returns the names of the samples of a step (0-based).
        interval: steps between two looks at a GPU.

    Raises:
        InputError: there is no such action; while training: a loss, a gradient or a weight is not finite.
    """

    def __init__(self, action: str, name_samples: Callable[[int], list[str]], *, interval: int) -> None:
        """Start with nothing found."""
        if action not in ACTIONS:
            raise InputError(f"nonfinite={action} is not known; use {' or '.join(ACTIONS)}")
        self.action = action
        self.name_samples = name_samples
        self.interval = interval
        self.skipped = 0
        self._in_a_row = 0
        self._losses: list[Tensor] = []  # of the batches of the step under way
        self._buffers: list[Tensor] = []  # as they were before it
        self._found: Tensor | None = None  # (3,) as `Finding`, on the device: the first bad step; -1 for none

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the buffers: the forward pass already changes BatchNorm's statistics."""
        if self.action == "skip" and not self._losses:
            self._buffers = [buffer.clone() for buffer in pl_module.buffers()]

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Note the loss of a batch, which under accumulation is a part of the step's."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer) -> None:
        """Judge a step by its losses and by its gradients, which all processes share by now."""
        loss = torch.stack(self._losses).double().sum()  # not finite if one is not
        self._losses = []
        norm = torch.zeros_like(loss) if _scaled(trainer) else gradient_norm(pl_module.parameters()).to(loss)
        step = torch.full_like(loss, trainer.global_step)
        found = torch.stack([torch.where(torch.isfinite(loss + norm), -1, step), loss, norm])
        if self.action == "skip":
            self._skip(trainer, pl_module, optimizer, _first(trainer, found))
            return
        self._found = found if self._found is None else torch.where(self._found[0] < 0, found, self._found)
        if self._found.device.type == "cpu":
            self._look(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the device every few steps."""
        if not self._losses and trainer.global_step % self.interval == 0:
            self._look(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look before time is spent on a validation."""
        self.check(trainer)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look before anything is written."""
        self.check(trainer)

    def state_dict(self) -> dict[str, int]:
        """Return what a resumed run goes on counting from."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting."""
        self.skipped = state_dict["skipped"]

    def check(self, trainer: pl.Trainer) -> None:
        """Wait for the device, and look at what was found and at the weights.

        All processes have to call this together, between two steps.

        Raises:
            InputError: a loss or gradient was not finite with "stop", at every call from then on; or a weight or a statistic
                of BatchNorm is not, whatever made it so.
        """
        self._look(trainer)
        bad = torch.stack([~tensor.isfinite().all() for tensor in _floats(trainer.lightning_module)]).any()
        if trainer.strategy.all_gather(bad.float()).any():
            raise InputError(
                f"the weights are not finite after step {trainer.global_step}; the checkpoints from before it stay as they are: "
                f"{ADVICE}"
            )

    def _look(self, trainer: pl.Trainer) -> None:
        found = None if self._found is None else _first(trainer, self._found)
        if found is not None:
            raise InputError(
                f"{self._describe(found)}; the checkpoints from before it stay as they are: {ADVICE}, "
                "or leave such steps out with nonfinite=skip"
            )

    def _skip(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, found: Finding | None) -> None:
        """Take away what a bad step would do."""
        self._in_a_row = 0 if found is None else self._in_a_row + 1
        if found is None:
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None  # with zeros, momentum and weight decay would still move it
        with torch.no_grad():
            for buffer, before in zip(pl_module.buffers(), self._buffers, strict=True):
                buffer.copy_(before)
        self.skipped += 1
        if self._in_a_row == PATIENCE:
            raise InputError(f"{self._describe(found)}; it is the last of {PATIENCE} such steps one after the other: {ADVICE}")
        if trainer.is_global_zero:
            log.warning("%s; the step is left out (%d so far)", self._describe(found), self.skipped)
        for logger in trainer.loggers:
            logger.log_metrics({"train/skipped": float(self.skipped)}, step=trainer.global_step + 1)

    def _describe(self, found: Finding) -> str:
        step, loss, norm = found
        what = f"the norm of the gradients is {norm} at a loss of {loss:.4g}" if math.isfinite(loss) else f"the loss is {loss}"
        names = list(dict.fromkeys(self.name_samples(step)))
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f"{what} in step {step + 1}, with the samples {', '.join(names[:NAMED])}{more}"


def step_samples(datamodule: SegmentationDataModule, step: int) -> list[str]:
    """Return the names of the samples that one optimiser step reads, over all processes: their image files, where there are any.

    Args:
        datamodule: of the training.
        step: 0-based, as in `PositionSampler`.
    """
    samples, size = datamodule.train_samples(), datamodule.global_batch_size
    return [datamodule.train_data.name(samples.image_index(position)) for position in range(step * size, (step + 1) * size)]


def gradient_norm(parameters: Iterable[Parameter]) -> Tensor:
    """Return the Euclidean norm of all gradients, a scalar; it is not finite where one of them is not."""
    return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


def _floats(module: pl.LightningModule) -> list[Tensor]:
    return [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()]


def _scaled(trainer: pl.Trainer) -> bool:
    precision = trainer.precision_plugin
    return isinstance(precision, MixedPrecision) and precision.scaler is not None


def _first(trainer: pl.Trainer, found: Tensor) -> Finding | None:
    """Return the first bad step of any process; None where there is none."""
    gathered = trainer.strategy.all_gather(found).view(-1, 3).tolist()
    bad = [(int(step), float(loss), float(norm)) for step, loss, norm in gathered if step >= 0]
    return min(bad, key=lambda finding: (finding[0], math.isfinite(finding[1])), default=None)
