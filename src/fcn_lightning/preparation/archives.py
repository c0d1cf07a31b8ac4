"""Reading zip files, tar files and folders, member by member, without trusting what they say.

Nothing is unpacked here: names and sizes are listed, and the bytes of a member are returned. What the members are
called never decides where something is written; a name that points outside is refused all the same, as no honest
archive holds one.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from fcn_lightning import InputError
from fcn_lightning.preparation.progress import Progress, in_words

MAX_MEMBER = 64 << 20  # bytes; the images of Cityscapes, the largest files here, have 2.3 MB on average
MAX_MEMBERS = 2_000_000  # the fullest archive that people take by mistake, the full ADE20K, has about half as many
# Images hardly shrink, so an honest archive unpacks to a few times its size; below a gigabyte nothing is harmed either way.
MAX_RATIO, ALWAYS_ALLOWED = 100, 1 << 30
CHUNK = 1 << 20
ENDINGS = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
COMPRESSIONS: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {  # by what a file begins with
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
GET_PUBLISHED = "do not use this archive, get the published one"
# What the libraries raise on files that are damaged, encrypted, or packed in a way unknown to them (both RuntimeError).
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Member:
    """A file in an archive or below a folder.

    Args:
        name: its path, with "/" between folders; below a folder, the absolute one.
        size: in bytes, as declared.
        regular: whether it is a plain file, not a link or a device.
        read: returns the content; valid until the next member is asked for.
    """

    name: str
    size: int
    regular: bool
    read: Callable[[], bytes]


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive."""
    return path.name.lower().endswith(ENDINGS)


def plain_name(name: str) -> str:
    """Return an archive's name without its ending, in lower case."""
    name = name.lower()
    return next((name.removesuffix(ending) for ending in sorted(ENDINGS, key=len, reverse=True) if name.endswith(ending)), name)


def members(path: Path) -> Iterator[Member]:
    """Yield the files of an archive in the order in which they are stored, or those below a folder.

    Args:
        path: zip file, tar file (compressed or not) or folder.

    Raises:
        InputError: the archive is damaged or cut off, a name points outside it, or it unpacks to more than an honest one.
    """
    if path.is_dir():
        for file in list_files(path):
            yield Member(file.as_posix(), file.stat().st_size, True, partial(_read_file, file))
        return
    with _readable(path):
        found = _zip_members(path) if path.name.lower().endswith(".zip") else _tar_members(path)
        for number, member in enumerate(found, start=1):
            if number > MAX_MEMBERS:
                raise InputError(f"{path} holds more than {MAX_MEMBERS:,} files, as no published archive does; {GET_PUBLISHED}")
            _check_name(path, member.name)
            yield member


def list_files(folder: Path) -> list[Path]:
    """Return the absolute paths of all files below a folder, sorted; links to folders are followed once."""
    seen, found = set(), []
    for here, folders, files in os.walk(folder.absolute(), followlinks=True):
        real = Path(here).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(here, name) for name in files]
    return sorted(path for path in found if path.is_file())


def digests(path: Path, *names: str) -> list[str]:
    """Return hashes of a file, in hexadecimal digits.

    Args:
        path: of the file.
        names: of the hashes, such as "sha256".

    Raises:
        InputError: the file cannot be read.
    """
    hashes = [hashlib.new(name) for name in names]
    with _readable(path), Progress(f"checking {path.name}", path.stat().st_size, "B") as progress, path.open("rb") as file:
        while chunk := file.read(CHUNK):
            for each in hashes:
                each.update(chunk)
            progress.update(len(chunk))
    return [each.hexdigest() for each in hashes]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is cut off, damaged or not what its name says ({reason}); get it again") from error


def _check_name(path: Path, name: str) -> None:
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match(r"[A-Za-z]:", plain) or ".." in PurePosixPath(plain).parts:
        raise InputError(f"{path} holds the member {name!r}, which points outside; {GET_PUBLISHED}")


class _Bounded(io.RawIOBase):
    """An archive as it comes out of its compression, for `tarfile`: never more than an honest one holds, nor much at once."""

    def __init__(self, path: Path, file: io.BufferedIOBase) -> None:
        self.path = path
        self.file = file
        self.limit = _limit(path)

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes; `tarfile` asks for the whole of a long name at once, however long it is said to be."""
        if not 0 <= size <= MAX_MEMBER + tarfile.BLOCKSIZE:
            raise tarfile.ReadError("a name in it is longer than any file")
        data = self.file.read(size)
        self._check(self.file.tell())
        return data

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Go on to a place; of a compressed file, all bytes before it are unpacked."""
        if whence == io.SEEK_SET:  # the only one that `tarfile` uses
            self._check(position)
        return self.file.seek(position, whence)

    def tell(self) -> int:
        """Return the place."""
        return self.file.tell()

    def _check(self, position: int) -> None:
        if position > self.limit:
            raise InputError(_unpacks_to_too_much(self.path))


def _limit(path: Path) -> int:
    return max(ALWAYS_ALLOWED, MAX_RATIO * path.stat().st_size)


def _unpacks_to_too_much(path: Path) -> str:
    return (
        f"{path} has {in_words(path.stat().st_size)} and unpacks to more than {in_words(_limit(path))}, "
        f"as no published archive does; {GET_PUBLISHED}"
    )


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        if sum(info.file_size for info in archive.infolist()) > _limit(path):
            raise InputError(_unpacks_to_too_much(path))
        for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
            if not info.is_dir():
                kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
                yield Member(info.filename, info.file_size, kind in (0, stat.S_IFREG), partial(_read_zip, path, archive, info))


def _read_zip(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with _readable(path), archive.open(info) as file:
        return _complete(file.read(info.file_size), info.filename, info.file_size)  # never more than was declared


def _tar_members(path: Path) -> Iterator[Member]:
    with _decompressed(path) as file, tarfile.open(fileobj=_Bounded(path, file), mode="r:") as archive:
        for info in archive:
            # It keeps all that it has seen, and few compressed bytes may hold very many.
            archive.members.clear()  # type: ignore[attr-defined]  # since Python 2.3, but not in its documentation
            if not info.isdir():
                yield Member(info.name.removeprefix("./"), info.size, info.isreg(), partial(_read_tar, path, archive, info))
        # The library takes any odd block for the end. A complete file ends with blocks of zeros, a compressed one with a checksum.
        stream = archive.fileobj
        if stream is None or stream.tell() < archive.offset + tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it ends too early")
        while chunk := stream.read(CHUNK):
            if chunk.strip(b"\0"):
                raise tarfile.ReadError("a member in the middle is unreadable")


def _decompressed(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as file:
        start = file.read(max(map(len, COMPRESSIONS)))
    opener = next((opener for signature, opener in COMPRESSIONS.items() if start.startswith(signature)), None)
    return path.open("rb") if opener is None else opener(path)


def _read_tar(path: Path, archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    with _readable(path):
        file = archive.extractfile(info)
        if file is None:
            raise tarfile.ReadError(f"{info.name} has no content")
        return _complete(file.read(), info.name, info.size)


def _read_file(path: Path) -> bytes:
    with _readable(path):
        return path.read_bytes()


def _complete(data: bytes, name: str, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"{name} has {len(data)} bytes instead of {size}")
    return data
