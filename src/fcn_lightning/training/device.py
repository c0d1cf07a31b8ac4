"""What the machine can do: training precision, and fp32 that is fp32."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn

from fcn_lightning import InputError

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
WORTHWHILE = 1.2  # bf16 must be this much faster than fp32 to be chosen


def training_precision(setting: str, device_type: str) -> str:
    """Resolve `trainer.precision=auto`; any other setting is the user's and stays.

    On a CPU bf16 is chosen only where it is measurably faster: PyTorch accepts it everywhere, but without
    the instructions it is over twenty times slower, and with the older ones (AVX-512 without AMX) no faster.
    """
    if setting not in PRECISIONS:
        raise InputError(f"trainer.precision={setting} is not known; use {', '.join(PRECISIONS)}")
    if setting == "16-mixed" and device_type == "cpu":
        return "bf16-mixed"  # fp16 has no range for gradients without loss scaling, and CPUs no instructions for it
    if setting != "auto":
        return setting
    return "bf16-mixed" if device_type == "cpu" and _has_bf16() and bf16_speedup() >= WORTHWHILE else "32-true"


class StaticGradScaler(torch.amp.GradScaler):
    """Scale the loss by a fixed number; a step whose gradients overflow is left out, and the scale stays.

    Args:
        scale: of the loss.
        device: type of the device.

    Source: open-mmlab/mmcv, `Fp16OptimizerHook` with a number as `loss_scale`.
    """

    def __init__(self, scale: float, device: str) -> None:
        """Start at the scale."""
        super().__init__(device, init_scale=scale)
        self.scale_factor = float(scale)

    def update(self, new_scale: float | torch.Tensor | None = None) -> None:
        """Keep the scale."""
        super().update(self.scale_factor)


def amp_plugin(precision: str, loss_scale: float | None, device_type: str) -> MixedPrecision | None:
    """Return Lightning's fp16 with a fixed loss scale, where one is set; None leaves precision to Lightning.

    Args:
        precision: resolved.
        loss_scale: `trainer.loss_scale`.
        device_type: "cpu" or "cuda".
    """
    if precision != "16-mixed" or loss_scale is None:
        return None
    return MixedPrecision("16-mixed", device_type, scaler=StaticGradScaler(loss_scale, device_type))


def bf16_speedup() -> float:
    """Return how many times faster a typical training convolution runs in bf16, by a probe of a quarter second."""
    with torch.random.fork_rng(devices=[]):  # training draws the same numbers with and without the probe
        image = torch.randn(4, 128, 32, 32)
        conv = nn.Conv2d(128, 128, 3, padding=1, bias=False)

    def step(*, bf16: bool) -> Callable[[], None]:
        def run() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                out = conv(image)
            out.float().sum().backward()

        return run

    return _fastest(step(bf16=False)) / _fastest(step(bf16=True))


def exact_fp32() -> None:
    """Turn TF32 off, so that fp32 on a GPU gives the CPU's labels."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _has_bf16() -> bool:
    if "ONEDNN_MAX_CPU_ISA" in os.environ or "ATEN_CPU_CAPABILITY" in os.environ:  # the user holds the instructions back
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:  # not Linux: no flags to read, so no bf16
        return False
    return bool(BF16_FLAGS & set(flags))


def _fastest(run: Callable[[], None], times: int = 5) -> float:
    run()  # the first call also plans the convolution
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        durations.append(time.perf_counter() - start)
    return min(durations)


def accelerator(setting: str) -> str:
    """Resolve `trainer.accelerator=auto`: the GPU where there is one."""
    if setting not in ("auto", "cpu", "cuda"):
        raise InputError(f"trainer.accelerator={setting} is not known; use auto, cpu or cuda")
    available = torch.cuda.is_available()
    if setting == "cuda" and not available:
        raise InputError("trainer.accelerator=cuda, but torch sees no GPU here; use trainer.accelerator=cpu")
    return "cuda" if available and setting != "cpu" else "cpu"
