"""Published weight files: a local cache, downloads that resume, mirrors, and the hash that a file's name carries."""

import hashlib
import http.client
import os
import re
import urllib.error
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.request import HTTPRedirectHandler, Request, build_opener

import torch
from tqdm import tqdm

from fcn_lightning import InputError

MIRRORS = "FCN_MIRRORS"  # environment variable: addresses of folders that hold copies, separated by spaces
CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte
MAX_BYTES = 2 << 30  # of a file whose size is not known; the largest published one has 0.3 GB
HASH = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")


class _SecureRedirects(HTTPRedirectHandler):
    """Follows redirects, as the standard library does, but from https to https alone."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the request to go on with.

        Raises:
            HTTPError: it would leave the encrypted connection.
        """
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise urllib.error.HTTPError(req.full_url, code, f"it redirects to {newurl}, which is not encrypted", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def cached(url: str, *, size: int | None = None) -> Path:
    """Return the local copy of a published file, fetched if need be; the hash in its name is checked either way.

    The cache is torch.hub's, which other tools share. Mirrors named in the environment variable FCN_MIRRORS
    are asked before the published address. A download that broke off is continued.

    Args:
        url: published address; its last part is the file's name.
        size: of the file in bytes, where known.

    Raises:
        InputError: the file cannot be had, or is not the published one.
    """
    path = fetched(url, size=size)
    check_hash(path)
    return path


def fetched(url: str, *, size: int | None = None) -> Path:
    """Return the local copy as `cached` does, but leave the hash of a copy that is there already to the caller."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(url).name
    if not path.is_file():
        _fetch(url, path, size)
    return path


def check_hash(path: Path) -> str:
    """Compare a file with the hash in its name, if there is one.

    Returns:
        The file's SHA-256, in hexadecimal digits.

    Raises:
        InputError: the file is missing, or is not what its name says.
    """
    if not path.is_file():
        raise InputError(
            f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; "
            "give checkpoint=<run folder>/checkpoints/best.ckpt, or weights=<file or id of a published row>"
        )
    digest = _digest(path)
    wrong = _mismatch(digest, path.name)
    if wrong:
        raise InputError(f"{path} is not the published file that its name says: {wrong}; delete it and fetch it again")
    return digest


def name_hash(name: str) -> str | None:
    """Return the digits of a SHA-256 that a file name ends with, as in "resnet50-0676ba61.pth", or None."""
    match = HASH.search(name)
    return match[1] if match and not _is_date(match[1]) else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mismatch(digest: str, name: str) -> str | None:
    expected = name_hash(name)
    if expected is None or digest.startswith(expected):
        return None
    return f"its SHA-256 starts with {digest[: len(expected)]}, not {expected}"


def _is_date(digits: str) -> bool:
    """Tell whether eight digits are a day of this century, which says nothing about the content."""
    try:
        return len(digits) == 8 and 2000 <= datetime.strptime(digits, "%Y%m%d").year < 2100
    except ValueError:
        return False


def _fetch(url: str, path: Path, size: int | None) -> None:
    """Download from the first address that has the right file."""
    mirrors = [f"{_as_url(mirror)}/{path.name}" for mirror in os.environ.get(MIRRORS, "").split()]
    failures = []
    for address in [*mirrors, url]:
        try:
            _download(address, path, size)
            return
        # No network, an error of the server, words that are not HTTP, no address, a wrong file.
        except (OSError, http.client.HTTPException, ValueError, InputError) as error:
            failures.append(f"{address} ({' '.join(str(error).split())})")
    raise InputError(
        f"the weights {path.name} could not be fetched from {', nor from '.join(failures)}; "
        f"put the file at {path}, or name a folder or address that has it in the variable {MIRRORS}"
    )


def _as_url(mirror: str) -> str:
    return mirror.rstrip("/") if "://" in mirror else Path(mirror).absolute().as_uri()


def _download(url: str, path: Path, size: int | None) -> None:
    """Download to a temporary name, continuing what is there, and rename once the content is right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    have = part.stat().st_size if part.exists() else 0
    _receive(url, part, have, size)
    wrong = _mismatch(_digest(part), path.name)
    if wrong and have:  # what was there may have come from another address; this one's own content is not known yet
        part.unlink()
        _receive(url, part, 0, size)
        wrong = _mismatch(_digest(part), path.name)
    if wrong:
        part.unlink()  # to continue it would never mend it
        raise InputError(wrong)
    os.replace(part, path)


def _receive(url: str, part: Path, have: int, size: int | None) -> None:
    """Append to what is there, or write anew; raise OSError where less than the whole arrives."""
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with build_opener(_SecureRedirects).open(request, timeout=TIMEOUT) as response:
            # Not every server continues: one that answers with the whole file is written from its start.
            if not (have and response.status == 206):
                have = 0
            announced = response.headers.get("Content-Length")
            whole = size or (have + int(announced) if announced else None)
            with part.open("ab" if have else "wb") as file, _bar(url, have, whole) as bar:
                while chunk := response.read(CHUNK):
                    bar.update(file.write(chunk))
                    if file.tell() > (size or MAX_BYTES):  # before a server fills the disk
                        part.unlink()
                        raise OSError(f"it sends more than {size or MAX_BYTES:,} bytes")
    except urllib.error.HTTPError as error:
        if have and error.code == 416:  # nothing is left to fetch: the part is the whole file
            return
        raise
    if whole is not None and part.stat().st_size < whole:
        raise OSError(f"it broke off at {part.stat().st_size} of {whole} bytes; the next try continues there")


def _bar(url: str, have: int, whole: int | None) -> tqdm:
    """Show on a terminal how much has arrived."""
    return tqdm(total=whole, initial=have, unit="B", unit_scale=True, desc=PurePosixPath(url).name, disable=None, leave=False)
