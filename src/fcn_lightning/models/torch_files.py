"""Reading what `torch.save` wrote without executing anything, and without taking more memory than the file has bytes."""

import mmap
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcn_lightning import InputError

# What files of mmsegmentation 1.x name in their message hub, beside tensors and built-in types. Their content is of no use here.
FOREIGN = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.config.config.ConfigDict",
    "builtins.getattr",  # how the buffer's methods are written
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
)
ZIP_SIGNATURE = b"PK\x03\x04"
SLACK = 1 << 20  # bytes by which records may exceed their file: `torch.jit.save`, which is refused later, compresses its code
BYTEARRAY = b"\nbytearray\n"  # how a pickle names the one type, of those torch allows, that fills memory by a mere number


class Inert:
    """Stands in for a foreign class or function: takes any arguments and any state, and keeps none."""

    def __new__(cls, *arguments: object) -> "Inert":
        """Ignore the arguments."""
        return object.__new__(cls)

    def __init__(self, *arguments: object) -> None:
        """Ignore the arguments."""

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


def read_inert(path: Path) -> dict[str, Any]:
    """Read a file of torch: tensors, numbers, strings, lists and dicts; foreign classes are left empty, nothing is executed.

    Args:
        path: of the file.

    Raises:
        InputError: it is broken, holds something else than a dict, or would execute something or fill the memory.
    """
    _check_container(path)
    try:
        with torch.serialization.safe_globals([(Inert, name) for name in FOREIGN]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks about files that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch documents no list of what it raises on bytes that are not its own
        raise _corrupt(path, _reason(error)) from error
    if not isinstance(content, dict):
        raise InputError(f"checkpoint {path} holds a {type(content).__name__}, not a checkpoint; use another file")
    return content


def is_plain(value: object) -> bool:
    """Tell whether something is a tensor with a number for each element in memory; not one number shown as many."""
    if not isinstance(value, Tensor) or value.device.type != "cpu" or value.layout != torch.strided:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _check_container(path: Path) -> None:
    """Refuse what would take memory before torch finds anything wrong: records that unpack to more than the file has."""
    size = path.stat().st_size
    with path.open("rb") as file:
        zipped = file.read(len(ZIP_SIGNATURE)) == ZIP_SIGNATURE
        if size:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if content.find(BYTEARRAY) >= 0:
                    raise _corrupt(path, "reading it would make a bytearray, which weights have no need of")
    if not zipped:
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
        raise _corrupt(path, _reason(error)) from error
    if unpacked > size + SLACK:
        raise _corrupt(path, f"it has {size:,} bytes, and unpacks to {unpacked:,}, which torch.save never writes")


def _corrupt(path: Path, reason: str) -> InputError:
    return InputError(f"checkpoint {path} is corrupt or not a checkpoint ({reason}); use another file")


def _reason(error: Exception) -> str:
    """Say why torch could not read a file; its own words fill a page, and recommend to trust the file."""
    called = re.search(r"GLOBAL (\w[\w.]*)", str(error))
    if called:
        return f"reading it would run {called[1]}, which weights have no need of"
    return "a TorchScript archive" if "TorchScript" in str(error) else "cut off, or written by something else than torch.save"
