"""`repro=strict`: the switches are set, everything that an FCN does is allowed, and the bits repeat."""

import os
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from fcn_lightning.evaluation.confusion import ConfusionMatrix
from fcn_lightning.models.fcn import fcn
from fcn_lightning.training.determinism import strict
from fcn_lightning.training.losses import PixelCrossEntropy

VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "NCCL_ALGO")


@pytest.fixture(autouse=True)
def _restore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    cudnn, fill = torch.backends.cudnn, torch.utils.deterministic.fill_uninitialized_memory
    before = (torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark)
    yield
    torch.use_deterministic_algorithms(before[0])
    cudnn.deterministic, cudnn.benchmark = before[1:]
    torch.utils.deterministic.fill_uninitialized_memory = fill


def test_the_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cudnn.benchmark = True
    strict()
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert [os.environ[name] for name in VARIABLES] == [":4096:8", "Ring"]
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    monkeypatch.setenv("NCCL_ALGO", "Tree")
    strict()
    assert [os.environ[name] for name in VARIABLES] == [":16:8", "Tree"], "what the user chose repeats its results too"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    strict()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_it_is_too_late_once_a_gpu_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="before the first use of CUDA"):
        strict()
    assert not torch.are_deterministic_algorithms_enabled()


def train(*, deep_stem: bool, align_corners: bool, class_weight: list[float] | None) -> dict[str, Tensor]:
    """Return the weights after two steps, and the confusion matrix of the last prediction."""
    torch.manual_seed(0)
    model = fcn(5, depth=18, deep_stem=deep_stem, align_corners=align_corners)
    loss = PixelCrossEntropy(align_corners=align_corners, class_weight=class_weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    confusion = ConfusionMatrix(5)
    for _ in range(2):
        image, mask = torch.randn(2, 3, 33, 49), torch.randint(0, 5, (2, 33, 49))
        mask[:, :4] = 255
        logits, aux_logits = model.forward_with_aux(image)
        optimizer.zero_grad()
        (loss(logits, mask)[0] + 0.4 * loss(aux_logits, mask)[0]).backward()
        optimizer.step()
    pred = torch.nn.functional.interpolate(logits.detach(), (33, 49)).argmax(1)
    confusion.update(pred, mask)
    return model.state_dict() | {"confmat": confusion.compute()}


@pytest.mark.parametrize(
    ("deep_stem", "align_corners", "class_weight"), [(False, False, None), (True, True, [1.0, 2.0, 0.5, 1.0, 3.0])]
)
def test_an_fcn_trains_and_repeats_its_bits(deep_stem: bool, align_corners: bool, class_weight: list[float] | None) -> None:
    usual = train(deep_stem=deep_stem, align_corners=align_corners, class_weight=class_weight)
    strict()
    first, second = (train(deep_stem=deep_stem, align_corners=align_corners, class_weight=class_weight) for _ in range(2))
    for key, value in first.items():
        assert torch.equal(second[key], value), key
        assert torch.equal(usual[key], value), f"{key}: on a CPU, strict takes the same kernels"
