"""The files of a prepared data set: which are there already, whether the rest has room, and writing them."""

import io
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fcn_lightning import InputError
from fcn_lightning.data.images import UInt8
from fcn_lightning.preparation.archives import members
from fcn_lightning.preparation.progress import Progress, in_words
from fcn_lightning.preparation.sources import Found

BLOCK = 4096  # bytes that a file system may lose per file


@dataclass(frozen=True)
class Output:
    """A file to be written.

    Args:
        path: of the file.
        size: in bytes; of a converted mask, an estimate.
        fits: tells of a file that is there already whether it is this one.
        content: makes the file's bytes from the member's; from none where there is no member.
        origin: the archive or folder, and the member's name; None for a file that is made from nothing of the kind.
    """

    path: Path
    size: int
    fits: Callable[[Path], bool]
    content: Callable[[bytes], bytes]
    origin: tuple[Path, str] | None


def copied(found: Found, name: str, path: Path) -> Output:
    """Return a member as it is; a file of the same size is taken for it.

    Args:
        found: the part.
        name: of the member, below the part's folder.
        path: to write.
    """
    size = found.sizes[name]
    return Output(path, size, lambda there: there.stat().st_size == size, lambda data: data, (found.path, found.names[name]))


def converted(found: Found, name: str, path: Path, convert: Callable[[bytes], UInt8]) -> Output:
    """Return a member as a PNG mask; any file of that name is taken for it.

    Args:
        found: the part.
        name: of the member, below the part's folder.
        path: to write.
        convert: the member's bytes to (H, W).
    """
    origin = (found.path, found.names[name])
    return Output(path, found.sizes[name], lambda there: True, lambda data: _png(convert(data)), origin)


def drawn(path: Path, size: int, draw: Callable[[], UInt8]) -> Output:
    """Return a PNG mask that is drawn from annotations; any file of that name is taken for it.

    Args:
        path: to write.
        size: estimated, in bytes.
        draw: returns (H, W).
    """
    return Output(path, size, lambda there: True, lambda data: _png(draw()), None)


def listed(path: Path, names: Sequence[str]) -> Output:
    """Return a list of names, one per line; a file that names the same, in any order, is taken for it."""
    text = "".join(f"{name}\n" for name in names).encode()
    return Output(
        path, len(text), lambda there: sorted(there.read_bytes().split()) == sorted(text.split()), lambda data: text, None
    )


def home(root: Path, marker: str, *below: str) -> Path:
    """Return the folder inside the root that takes the files: the one that has some already, else the last named.

    Args:
        root: of the data set.
        marker: a folder by which it is known.
        below: relative paths at which it may be, beside the root itself.
    """
    folders = (root, *(root / path for path in below))
    return next((folder for folder in folders if (folder / marker).is_dir()), folders[-1])


def still_to_write(outputs: Sequence[Output]) -> list[Output]:
    """Return the outputs that are not there yet.

    Raises:
        InputError: a file is there with another content; nothing is overwritten.
    """
    for output in outputs:
        if output.path.exists() and not (output.path.is_file() and output.fits(output.path)):
            raise InputError(
                f"{output.path} is there already with another content, and nothing is overwritten; "
                "move it away, or give a new folder as root="
            )
    return [output for output in outputs if not output.path.exists()]


def check_room(root: Path, outputs: Sequence[Output]) -> str:
    """Compare the space that files need with what is free.

    Returns:
        Both, in words.

    Raises:
        InputError: the disk is too small.
    """
    folder = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.is_dir())
    needed, free = sum(output.size + BLOCK for output in outputs), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{root} needs {in_words(needed)} more, and {in_words(free)} are free there; make room, or give root=<folder> elsewhere"
        )
    return f"{len(outputs):,} files to write to {root}, {in_words(needed)}; {in_words(free)} are free"


def write(outputs: Sequence[Output]) -> None:
    """Write files, each complete or not at all, reading every archive from its beginning to its end once.

    Args:
        outputs: that are not there yet.

    Raises:
        InputError: a member cannot be read or converted, or the disk is full.
    """
    made = [output for output in outputs if output.origin is None]
    taken: dict[Path, dict[str, Output]] = {}
    for output in outputs:
        if output.origin is not None:
            taken.setdefault(output.origin[0], {})[output.origin[1]] = output
    with Progress("writing", len(outputs), "file") as progress:
        for path, wanted in taken.items():
            for member in members(path):
                if member.name in wanted:
                    _write(wanted.pop(member.name), member.read())
                    progress.update(1)
                if not wanted:
                    break
        for output in made:
            _write(output, b"")
            progress.update(1)


def _write(output: Output, data: bytes) -> None:
    content = output.content(data)
    part = output.path.with_name(f".{output.path.name}.part")
    try:
        output.path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, output.path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{output.path} could not be written ({error.strerror}); give root=<folder> with room") from error


def _png(pixels: UInt8) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
