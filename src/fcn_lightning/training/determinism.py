"""Bit-reproducible training: the same seed gives the same weights, bit for bit."""

import os

import torch

from fcn_lightning import InputError

CUBLAS = ":4096:8"  # eight buffers of 4 MiB, the larger of the two settings with which cuBLAS repeats its results


SETTINGS = ("fast", "strict")


def choose(setting: str) -> None:
    """Set what `repro` asks for, whatever an earlier job of this process had.

    Args:
        setting: "strict", or "fast" for PyTorch's usual kernels.

    Raises:
        InputError: there is no such setting.
    """
    if setting not in SETTINGS:
        raise InputError(f"repro={setting} is not known; use {' or '.join(SETTINGS)}")
    if setting == "strict":
        strict()
    else:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False


def strict() -> None:
    """Let PyTorch use kernels that repeat their results only, for the rest of the process; call it before a GPU is touched.

    An operation that has none on a GPU raises a RuntimeError. `models/upsample.py` and `training/losses.py` take other ways
    then: the usual kernels of bilinear resizing and cross-entropy add up in an order that changes.

    A CPU repeats its results with the same number of threads, a GPU with the same type and number of GPUs, both with the
    same versions of PyTorch and the libraries below it.

    Raises:
        RuntimeError: CUDA runs already, so that cuBLAS would not read its setting.

    Source: PyTorch's notes on reproducibility; NVIDIA's cuBLAS documentation, "Results reproducibility"; NVIDIA/Megatron-LM,
    `validate_args` (`deterministic_mode`), for NCCL.
    """
    if os.environ.get("CUBLAS_WORKSPACE_CONFIG") not in (CUBLAS, ":16:8"):
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # PyTorch's function has no types
            raise RuntimeError("strict() comes before the first use of CUDA")
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = CUBLAS
    os.environ.setdefault("NCCL_ALGO", "Ring")  # sums inside the switch (NVLS) come in any order
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False  # the fastest of several convolutions is another one each time
    # PyTorch would write to all new memory, to make faults repeat too.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property that stubs do not show
