"""The optimisers are PyTorch's, with the numbers of the configuration."""

import pytest
import torch

from fcn_lightning import InputError
from fcn_lightning.config import build, compose
from fcn_lightning.training.optimizers import SGD, AdamW

PARAMETER = torch.nn.Parameter(torch.ones(2))


def test_sgd_as_published() -> None:
    optimizer = build(compose("dataset=cityscapes").optimizer).build([PARAMETER])
    assert type(optimizer) is torch.optim.SGD
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.01, 0.9, 5e-4, False)


def test_adamw() -> None:
    optimizer = build(compose("optimizer=adamw", "optimizer.lr=2e-3", "dataset=camvid").optimizer).build([PARAMETER])
    assert type(optimizer) is torch.optim.AdamW
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (2e-3, 5e-4)


@pytest.mark.parametrize(("kind", "numbers", "key"), [(SGD, (0.0, 0.9, 0.0), "lr=0.0"), (AdamW, (1e-3, -1.0), "weight_decay=-1.0")])
def test_numbers_out_of_range(kind: type, numbers: tuple[float, ...], key: str) -> None:
    with pytest.raises(InputError, match=f"optimizer.{key} cannot be trained with"):
        kind(*numbers)
