"""Which optimiser trains: one class per choice of the group `optimizer`, with its numbers."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from fcn_lightning import InputError


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum, as the published rows were trained.

    Args:
        lr: learning rate of the first step.
        momentum: of the running gradient.
        weight_decay: acts on all parameters, norms and biases included.
    """

    lr: float
    momentum: float
    weight_decay: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        _check(self)

    def build(self, parameters: Iterable[Parameter]) -> Optimizer:
        """Return PyTorch's optimiser for these parameters, in one group."""
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay: learns faster from random weights than SGD.

    Args:
        lr: learning rate of the first step.
        weight_decay: acts on all parameters, as a part of the learning rate.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
    """

    lr: float
    weight_decay: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        _check(self)

    def build(self, parameters: Iterable[Parameter]) -> Optimizer:
        """Return PyTorch's optimiser for these parameters, in one group."""
        return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)


def _check(settings: SGD | AdamW) -> None:
    for key, value in asdict(settings).items():
        if value < 0 or (key == "lr" and value == 0):
            least = "above" if key == "lr" else "from"
            raise InputError(f"optimizer.{key}={value} cannot be trained with; give a number {least} 0")
