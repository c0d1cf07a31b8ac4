"""`SampleFiles`: decoded samples in files, one each, written so that a kill leaves no half file, and read without copying.

    samples/<first two digits of the key>/<key>      header, image, mask; each starts at a multiple of 64 bytes
    parts/<random>                                   being written, and locked by who writes it

The header says how large the sample is, so a file that was cut off is known by its size.
"""

import contextlib
import mmap
import os
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcn_lightning.data.images import UInt8
from fcn_lightning.data.locks import lock, try_lock

MAGIC = b"FCNsampl"
VERSION = 1  # of the layout; part of every key, so that a file of another version is never asked for
HEADER = struct.Struct("<8sIII")  # magic, version, height, width
ALIGNMENT = 64
SHARED = 0o775  # of folders at most: what anybody may write, nobody should train on

Sample = tuple[UInt8, UInt8]


@dataclass(frozen=True)
class SampleFiles:
    """A folder of decoded samples that any number of processes read and write at once.

    Args:
        folder: made by `prepare`.
        durable: wait for the disk before a file gets its name, so that a power cut cannot leave one without its content.
    """

    folder: Path
    durable: bool

    def prepare(self) -> None:
        """Make the folder, and remove what writers that ended in the middle have left.

        Raises:
            OSError: the folder cannot be made.
        """
        for name in ("samples", "parts"):
            (self.folder / name).mkdir(SHARED, parents=True, exist_ok=True)
        for part in (self.folder / "parts").iterdir():
            if not part.is_file():
                continue
            with contextlib.suppress(OSError), part.open("rb") as file:
                if try_lock(file.fileno()):
                    part.unlink()

    def path(self, key: str) -> Path:
        """Return where the sample of a key is, or would be."""
        return self.folder / "samples" / key[:2] / key

    def size(self, key: str) -> int:
        """Return the bytes of a sample's file, 0 where there is none."""
        try:
            return self.path(key).stat().st_size
        except OSError:
            return 0

    def read(self, key: str) -> Sample | None:
        """Return a sample whose pixels are read when they are used, or None where there is no complete file.

        Returns:
            image (H, W, 3) and mask (H, W), views of the mapped file. To write into them changes the process's own copy
            of the pages touched, never the file.
        """
        try:
            # Without waiting: somebody may have put a pipe there.
            with open(os.open(self.path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb", buffering=0) as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError):  # no such file, or an empty one
            return None
        if len(mapped) < HEADER.size:
            return None
        magic, version, height, width = HEADER.unpack_from(mapped)
        if (magic, version) != (MAGIC, VERSION) or not height * width or len(mapped) != file_size(height, width):
            return None
        image = np.frombuffer(mapped, np.uint8, height * width * 3, offset=ALIGNMENT)
        mask = np.frombuffer(mapped, np.uint8, height * width, offset=_mask_offset(height, width))
        return image.reshape(height, width, 3), mask.reshape(height, width)

    def write(self, key: str, sample: Sample) -> None:
        """Write a sample under a temporary name, then rename it.

        Raises:
            OSError: the disk is full, or the folder is gone or must not be written.
        """
        image, mask = sample
        height, width = mask.shape
        path, part = self.path(key), self.folder / "parts" / uuid.uuid4().hex
        path.parent.mkdir(SHARED, exist_ok=True)
        try:
            with part.open("xb") as file:
                with contextlib.suppress(OSError):  # some network file systems know no locks; nothing is swept there
                    lock(file.fileno())
                file.write(HEADER.pack(MAGIC, VERSION, height, width).ljust(ALIGNMENT, b"\0"))
                file.write(np.ascontiguousarray(image).data)
                file.write(bytes(_mask_offset(height, width) - file.tell()))
                file.write(np.ascontiguousarray(mask).data)
                file.flush()
                if self.durable:
                    os.fsync(file.fileno())
                os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def file_size(height: int, width: int) -> int:
    """Return the bytes of a sample's file."""
    return _mask_offset(height, width) + height * width


def _mask_offset(height: int, width: int) -> int:
    end = ALIGNMENT + height * width * 3
    return end + -end % ALIGNMENT
