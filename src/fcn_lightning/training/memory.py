"""What to do when memory runs out: one sentence with what was asked for, and the cheapest remedies with what they change."""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from fcn_lightning.evaluation.inference import Inference
from fcn_lightning.training.phases import Phase

SAME = "the same results"
WHILE: dict[Phase, str] = {
    "loading data": "while loading data",
    "training step": "in a training step",
    "validation": "in a validation",
    "saving": "while saving a checkpoint",
}
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50, "EiB": 2**60}
SIZE = r"(\d+(?:\.\d+)?) (bytes|KiB|MiB|GiB|TiB|PiB|EiB)"

KILLED = "killed by signal: Killed"
OTHERS = r"Process \d+ has SIZE memory in use"

# What the libraries say. cuDNN and cuBLAS say no number.
GPU = re.compile(
    r"(?:CUDA|HIP) out of memory|(?:CUDA|HIP) error: out of memory|Cuda failure.*out of memory|CUBLAS_STATUS_ALLOC_FAILED"
    r"|CUDNN_STATUS_\w*ALLOC\w*|unable to find an engine to execute this computation",
    re.IGNORECASE,
)
SHARED = re.compile(r"DataLoader worker .*killed by signal: Bus error|unable to (?:allocate|mmap|write).*(?:shared memory|/torch_)")
HOST = re.compile(
    r"DefaultCPUAllocator: (?:can't allocate|not enough) memory|DataLoader worker .*killed by signal: Killed"
    r"|Caught \w*MemoryError in DataLoader worker|Insufficient memory|std::bad_alloc"
)


@dataclass(frozen=True)
class MemorySettings:
    """The settings of a run that decide over its memory.

    Args:
        global_batch_size: images per optimiser step.
        accumulate: batches that make up a step, on each device.
        devices: that train together.
        precision: of training, as Lightning names it, such as "32-true".
        crop_size: height and width of a training crop.
        inference: the test mode of validation.
        workers: loader processes per training process.
        cache: of decoded images: "none", "ram" or "disk".
    """

    global_batch_size: int
    accumulate: int
    devices: int
    precision: str
    crop_size: tuple[int, int]
    inference: Inference
    workers: int
    cache: str


@dataclass(frozen=True)
class Remedy:
    """An edit, and what it changes.

    Args:
        edit: overrides of the command line, or words.
        effect: on the results, and on whether they can be compared with a published row.
    """

    edit: str
    effect: str

    def __str__(self) -> str:
        """Say both."""
        return f"{self.edit} ({self.effect})"


@dataclass(frozen=True)
class Shortage:
    """Where memory ran out.

    Args:
        place: "gpu", "host" or "shared", which is the memory that loader processes hand batches over in.
        text: what the library said.
    """

    place: str
    text: str

    def sizes(self, pattern: str) -> list[float]:
        """Return the sizes in bytes that match a pattern in which `SIZE` stands for them."""
        found = re.findall(pattern.replace("SIZE", SIZE), self.text)
        return [float(number) * UNITS[unit] for number, unit in found]

    @property
    def requested(self) -> float | None:
        """Bytes that were asked for; None where the library does not say."""
        sizes = self.sizes("(?:[Tt]ried to allocate|Unable to allocate|Failed to allocate|Requested size:) SIZE")
        return sizes[0] if sizes else None

    @property
    def numbers(self) -> list[str]:
        """What was asked for and what was free, in words."""
        parts = [] if self.requested is None else [f"{readable(self.requested)} more were asked for"]
        total, free = self.sizes("total capacity of SIZE"), self.sizes("of which SIZE is free")
        if total and free:
            parts.append(f"{readable(free[0])} of {readable(total[0])} were free")
        others = sum(self.sizes(OTHERS))
        if others:
            parts.append(f"other processes hold {readable(others)}")
        if KILLED in self.text:
            parts.append("the system ended a loader process, most likely for its memory")
        return parts

    def name(self, device: torch.device) -> str:
        """Name the memory that ran out."""
        if self.place != "gpu":
            return "shared memory" if self.place == "shared" else "main memory"
        number = re.search(r"GPU (\d+)", self.text)
        return f"memory on GPU {number[1] if number else device.index or 0}"


def explain_oom(error: BaseException, phase: Phase, device: torch.device, settings: MemorySettings) -> str | None:
    """Say in one sentence where memory ran out and what mends it; None for any other error.

    Args:
        error: what was raised; its causes are looked at, too.
        phase: what was being done.
        device: of the training.
        settings: of the run.
    """
    shortage = find_shortage(error)
    if shortage is None:
        return None
    numbers = ", ".join(shortage.numbers)
    cheapest = ", or else ".join(map(str, remedies(shortage, phase, device, settings)[:2]))
    return f"out of {shortage.name(device)} {WHILE[phase]}{': ' if numbers else ''}{numbers}; {cheapest}"


def find_shortage(error: BaseException | None) -> Shortage | None:
    """Find a lack of memory in an error or one of its causes."""
    while error is not None:
        text = str(error)
        if isinstance(error, torch.OutOfMemoryError) or GPU.search(text):
            return Shortage("gpu", text)
        if SHARED.search(text):
            return Shortage("shared", text)
        if isinstance(error, MemoryError) or HOST.search(text) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return Shortage("host", text)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def remedies(shortage: Shortage, phase: Phase, device: torch.device, settings: MemorySettings) -> list[Remedy]:
    """List what helps, the cheapest first: those without an effect on the results, then by how much they change."""
    on_gpu = device.type == "cuda"
    data, steps = list(_loading(settings)), list(_steps(settings, on_gpu=on_gpu))
    if shortage.place == "shared":
        return [*data, Remedy("give the container more shared memory, as with docker run --shm-size=8g", SAME), *steps]
    if shortage.place == "host" and (on_gpu or phase in ("loading data", "saving") or "DataLoader" in shortage.text):
        return data + steps
    found = [*_validation(settings), *steps] if phase == "validation" else steps
    if shortage.place == "gpu":
        return [*_free_gpu(shortage), *found]
    return [*found[:1], *data, *found[1:]]  # on a CPU the loaders take of the same memory, and fewer change no result


def readable(size: float) -> str:
    """Write a number of bytes in the unit that fits."""
    unit, factor = next(((unit, factor) for unit, factor in reversed(UNITS.items()) if size >= factor), ("bytes", 1))
    return f"{size / factor:.0f} {unit}" if unit == "bytes" else f"{size / factor:.2f} {unit}"


def _free_gpu(shortage: Shortage) -> Iterator[Remedy]:
    """Find memory of a GPU that is held for nothing."""
    requested = shortage.requested or 0.0
    if sum(shortage.sizes(OTHERS)) > requested:
        yield Remedy("end the other processes on this GPU, or choose another one with the variable CUDA_VISIBLE_DEVICES", SAME)
    if sum(shortage.sizes("SIZE is reserved by PyTorch but unallocated")) > requested:
        yield Remedy("set the variable PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, as the free memory is in pieces", SAME)


def _steps(settings: MemorySettings, *, on_gpu: bool) -> Iterator[Remedy]:
    """Make training steps smaller."""
    images, devices, accumulate = settings.global_batch_size, settings.devices, settings.accumulate
    visible = torch.cuda.device_count() if on_gpu else 0
    more = next((number for number in range(devices + 1, visible + 1) if images % (number * accumulate) == 0), None)
    if more:
        yield Remedy(f"set trainer.devices={more}", "the same images per step, and SyncBatchNorm keeps the statistics: comparable")
    parts = next((number for number in range(accumulate + 1, images + 1) if images % (number * devices) == 0), None)
    if parts:
        yield Remedy(
            f"set trainer.accumulate={parts}",
            "the same images per step, but BatchNorm counts its statistics over fewer at a time",
        )
    if on_gpu and settings.precision == "32-true":
        yield Remedy("set trainer.precision=bf16-mixed", "the loss differs a little")
    if images // 2 >= devices * accumulate:
        fewer = images // 2 // (devices * accumulate) * devices * accumulate
        yield Remedy(f"set dataset.global_batch_size={fewer}", "another training: not comparable with a published row")
    height, width = (max(1, length // 2) for length in settings.crop_size)
    yield Remedy(f"set dataset.crop_size=[{height},{width}]", "another training: not comparable with a published row")


def _validation(settings: MemorySettings) -> Iterator[Remedy]:
    """Make the test of an image smaller."""
    how = settings.inference
    if how.precision == "fp32":
        yield Remedy("set inference.precision=bf16", "the labels of single pixels differ")
    if how.ms_flip:
        yield Remedy("set tta=none", "the figure without ms+flip, which published rows have too")
    height, width = how.crop_size or settings.crop_size
    if how.crop_size:
        height, width = max(1, height // 2), max(1, width // 2)
    stride = f"[{max(1, height * 2 // 3)},{max(1, width * 2 // 3)}]"  # as of the published rows: 513 of 769
    edit = f"set inference.mode=slide inference.crop_size=[{height},{width}] inference.stride={stride}"
    yield Remedy(edit, "another test: its figures are not comparable with those of this one")


def _loading(settings: MemorySettings) -> Iterator[Remedy]:
    """Make the loaders smaller."""
    if settings.cache == "ram":
        yield Remedy("set dataset.cache=disk", SAME)
    if settings.workers:
        yield Remedy(f"set dataset.workers={settings.workers // 2}", f"{SAME}, loaded more slowly")
