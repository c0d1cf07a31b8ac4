"""Files that somebody made to do harm: code in a checkpoint, half a file, little that unpacks to much, sizes that are not true."""

import binascii
import os
import shlex
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # colour types of a PNG


class Command:
    """Pickles to a call of `os.system`."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how it is restored: by running the command."""
        return os.system, (self.command,)


def malicious_checkpoint(path: Path, *, zipped: bool = True) -> Path:
    """Write a checkpoint that runs a command when it is unpickled.

    Returns:
        A file that exists once the command has run.
    """
    witness = path.absolute().with_name(f"{path.name}.was-executed")
    content = {"state_dict": {"a": torch.zeros(2)}, "meta": Command(f"touch {shlex.quote(str(witness))}")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return witness


def truncated(source: Path, path: Path, *, share: float = 0.5) -> Path:
    """Write the first part of a file."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def zip_bomb(path: Path, member: str, *, size: int = 1 << 28) -> Path:
    """Write a zip file of a thousandth of `size`, whose member unpacks to `size` zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(member, "w", force_zip64=True) as file:
        for start in range(0, size, 1 << 20):
            file.write(bytes(min(1 << 20, size - start)))
    return path


def repacked(source: Path, path: Path) -> Path:
    """Write a checkpoint anew with compressed records, as torch never does: its zeros take a thousandth of their size."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return path


def huge_png(path: Path, width: int, height: int, *, color: int = RGB) -> Path:
    """Write a PNG of a few bytes that declares so many pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0))
    path.write_bytes(PNG_SIGNATURE + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", binascii.crc32(kind + content))


def postscript(path: Path) -> Path:
    """Write a grey picture in PostScript, a language of programs; Pillow hands it to Ghostscript."""
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%ImageData: 10 10 8 1 0 1 1 image\n%%EndComments\nshowpage\n"
    )
    return path


def many_laughs(levels: int = 9) -> str:
    """Return YAML of a few lines that stands for 9 to the power of `levels` words."""
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "\n".join(lines) + "\n"
