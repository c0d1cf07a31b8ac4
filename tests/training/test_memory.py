"""Out of memory: what the libraries say is recognised, and the advice fits phase, device and settings."""

import errno
from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from fcn_lightning.config import compose
from fcn_lightning.evaluation.inference import Inference
from fcn_lightning.training.memory import WHILE, MemorySettings, explain_oom, find_shortage, readable, remedies
from fcn_lightning.training.phases import Phase

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)
SETTINGS = MemorySettings(
    global_batch_size=16, accumulate=1, devices=1, precision="32-true", crop_size=(512, 1024), inference=Inference(),
    workers=4, cache="none",
)  # fmt: skip
# As PyTorch 2.14 words it.
CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 1 has a total capacity of 79.10 GiB of which 1.20 GiB is free. "
    "Including non-PyTorch memory, this process has 77.88 GiB memory in use. Of the allocated memory 76.00 GiB is allocated by "
    "PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated."
)
KILLED = "DataLoader worker (pid 4711) is killed by signal: Killed. "
BUS_ERROR = (
    "DataLoader worker (pid 4711) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared "
    "memory. Please try to raise your shared memory limit."
)


@pytest.fixture(autouse=True)
def _one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


def explain(error: BaseException, phase: Phase, device: torch.device = GPU, settings: MemorySettings = SETTINGS) -> str:
    sentence = explain_oom(error, phase, device, settings)
    assert sentence is not None
    assert "\n" not in sentence
    return sentence


def test_a_gpu_says_what_was_asked_for_and_the_two_cheapest_remedies() -> None:
    sentence = explain(torch.OutOfMemoryError(CUDA), "training step")
    assert sentence == (
        "out of memory on GPU 1 in a training step: 2.50 GiB more were asked for, 1.20 GiB of 79.10 GiB were free; "
        "set trainer.accumulate=2 (the same images per step, but BatchNorm counts its statistics over fewer at a time), "
        "or else set trainer.precision=bf16-mixed (the loss differs a little)"
    )


def test_idle_gpus_come_first_and_must_share_the_batch_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    sentence = explain(torch.OutOfMemoryError(CUDA), "training step", settings=replace(SETTINGS, devices=2))
    assert "; set trainer.devices=4 (" in sentence
    assert "or else set trainer.accumulate=2 (" in sentence


def test_what_is_set_already_is_not_advised() -> None:
    small = replace(SETTINGS, global_batch_size=2, accumulate=2, precision="bf16-mixed")
    sentence = explain(torch.OutOfMemoryError(CUDA), "training step", settings=small)
    assert "accumulate" not in sentence
    assert "precision" not in sentence
    assert sentence.endswith("set dataset.crop_size=[256,512] (another training: not comparable with a published row)")
    odd = replace(SETTINGS, global_batch_size=12, accumulate=2, devices=2)
    assert "trainer.accumulate=3 (" in explain(torch.OutOfMemoryError(CUDA), "training step", settings=odd)


def test_memory_that_others_hold_or_that_is_in_pieces_comes_first() -> None:
    full = CUDA.replace("Including", "Process 42 has 30.00 GiB memory in use. Including")
    sentence = explain(torch.OutOfMemoryError(full), "training step")
    assert "other processes hold 30.00 GiB; end the other processes on this GPU" in sentence
    pieces = CUDA.replace("512.00 MiB is reserved", "6.00 GiB is reserved")
    assert "; set the variable PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True" in explain(
        torch.OutOfMemoryError(pieces), "validation"
    )


def test_a_validation_is_made_smaller_by_its_own_keys() -> None:
    sentence = explain(torch.OutOfMemoryError(CUDA), "validation")
    assert "; set inference.precision=bf16 (the labels of single pixels differ), or else set inference.mode=slide " in sentence
    assert "not comparable" in sentence
    how = Inference("slide", (769, 769), (513, 513), tta="ms_flip", precision="bf16")
    sentence = explain(torch.OutOfMemoryError(CUDA), "validation", settings=replace(SETTINGS, inference=how))
    assert "; set tta=none (" in sentence
    assert "inference.crop_size=[384,384] inference.stride=[256,256]" in sentence


@pytest.mark.parametrize(
    "text",
    [
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
        "NCCL error: unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'",
    ],
)
def test_the_libraries_around_pytorch_run_out_without_numbers(text: str) -> None:
    assert explain(RuntimeError(text), "training step").startswith(
        "out of memory on GPU 1 in a training step; set trainer.accumulate=2 ("
    )


def test_a_real_failure_of_the_cpu_allocator() -> None:
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator") as failure:
        torch.empty(10**15)
    sentence = explain(failure.value, "training step", CPU)
    assert sentence.startswith("out of main memory in a training step: 3.55 PiB more were asked for; set trainer.accumulate=2 (")
    assert "or else set dataset.workers=2 (the same results" in sentence, "on a CPU the loaders take of the same memory"
    assert "precision" not in sentence, "half precision is slow on most CPUs"


def test_a_real_failure_of_numpy_and_of_an_out_of_memory_system_call() -> None:
    with pytest.raises(MemoryError) as failure:
        np.empty(10**15)
    sentence = explain(failure.value, "loading data")
    assert sentence.startswith("out of main memory while loading data: 7.11 PiB more were asked for; set dataset.workers=2 (")
    assert find_shortage(OSError(errno.ENOMEM, "Cannot allocate memory")) is not None
    assert find_shortage(OSError(errno.ENOSPC, "No space left on device")) is None


@pytest.mark.parametrize("device", [CPU, GPU], ids=str)
def test_a_loader_process_that_the_system_ended(device: torch.device) -> None:
    error = RuntimeError("DataLoader worker (pid(s) 4711) exited unexpectedly")
    error.__cause__ = RuntimeError(KILLED)
    settings = replace(SETTINGS, cache="ram")
    sentence = explain(error, "training step", device, settings)  # the message comes at any time
    assert "the system ended a loader process, most likely for its memory; set dataset.cache=disk (the same results)" in sentence
    assert "or else set dataset.workers=2 (" in sentence
    crash = RuntimeError("DataLoader worker (pid 4711) is killed by signal: Segmentation fault. ")
    assert explain_oom(crash, "training step", device, settings) is None


def test_shared_memory() -> None:
    sentence = explain(RuntimeError(BUS_ERROR), "loading data", settings=replace(SETTINGS, workers=1))
    assert sentence.startswith("out of shared memory while loading data; set dataset.workers=0 (")
    assert "--shm-size" in sentence


def test_the_error_of_a_loader_process_is_recognised_by_its_text() -> None:
    text = "Caught _ArrayMemoryError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    shortage = find_shortage(RuntimeError(text + "Unable to allocate 1.50 GiB for an array with shape (3,)"))
    assert shortage is not None
    assert shortage.requested == 1.5 * 2**30


def test_other_errors_are_not_explained() -> None:
    for error in (ValueError("memory"), RuntimeError("shape '[2, 3]' is invalid"), KeyError("out")):
        assert explain_oom(error, "training step", GPU, SETTINGS) is None
    hidden = ValueError("a bug")
    hidden.__context__, hidden.__suppress_context__ = MemoryError(), True
    assert explain_oom(hidden, "training step", GPU, SETTINGS) is None


def test_every_remedy_is_a_key_of_the_command_with_a_value_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    settings = replace(SETTINGS, cache="ram", inference=Inference(tta="ms_flip"))
    errors = [torch.OutOfMemoryError(CUDA), MemoryError(), RuntimeError(BUS_ERROR)]
    found = [find_shortage(error) for error in errors]
    edits = {
        word
        for shortage in found
        for phase in WHILE
        for device in (CPU, GPU)
        for remedy in remedies(shortage, phase, device, settings)
        for word in remedy.edit.split()
        if "=" in word and not word.startswith(("PYTORCH", "--"))
    }
    assert {edit.split("=")[0] for edit in edits} == {
        "trainer.devices", "trainer.accumulate", "trainer.precision", "dataset.global_batch_size", "dataset.crop_size",
        "inference.precision", "tta", "inference.mode", "inference.crop_size", "inference.stride", "dataset.workers",
        "dataset.cache",
    }  # fmt: skip
    for edit in edits:
        key, _, value = edit.partition("=")
        config = compose(edit)  # Hydra refuses a key that does not exist
        assert str(OmegaConf.select(config, key)).replace(" ", "") == value


def test_numbers_are_written_in_the_unit_that_fits() -> None:
    assert [readable(size) for size in (0, 1023, 1024, 2.5 * 2**30)] == ["0 bytes", "1023 bytes", "1.00 KiB", "2.50 GiB"]
