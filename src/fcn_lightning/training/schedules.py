"""The poly learning-rate schedule, per optimiser step, in the form of the published runs."""

from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from fcn_lightning import InputError


@dataclass(frozen=True)
class PolySchedule:
    """How long to train, when to validate, and how the learning rate decays.

    Args:
        max_steps: N, optimiser steps.
        val_interval: steps between validations; the last step is always validated.
        power: of the decay; 0.9 as published.
        min_lr: floor of the learning rate, absolute.
    """

    max_steps: int
    val_interval: int
    power: float
    min_lr: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.max_steps < 1 or self.val_interval < 1:
            raise InputError(
                f"schedule.max_steps={self.max_steps} and schedule.val_interval={self.val_interval} must be at least 1"
            )

    def lr(self, step: int, base_lr: float) -> float:
        """Return the rate of a step.

        Args:
            step: 0-based; the published form decays over step / N, so that the last step is still above the floor.
            base_lr: rate of step 0.

        Source: open-mmlab/mmcv, `PolyLrUpdaterHook` of release 1.2.
        """
        decay: float = (1 - min(step, self.max_steps) / self.max_steps) ** self.power
        return (base_lr - self.min_lr) * decay + self.min_lr


def poly_lr(optimizer: Optimizer, schedule: PolySchedule) -> LambdaLR:
    """Return the schedule as a PyTorch scheduler, to be stepped once per optimiser step."""

    def factor(step: int) -> float:
        return schedule.lr(step, base_lr) / base_lr

    base_lr: float
    (base_lr,) = {group["lr"] for group in optimizer.param_groups}  # one group, one rate, as published
    return LambdaLR(optimizer, factor)
