"""Folders in memory: shared by all processes of a user, gone with the last one that uses them; and how much room there is.

    /dev/shm/fcn_lightning-<user id>/<name>/lock     held by every process that uses the folder

A lock ends with its process, so what a killed run has left is told from what is in use.
"""

import contextlib
import os
import shutil
import stat
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path

from fcn_lightning import InputError
from fcn_lightning.data.locks import lock, try_lock

SHARED_MEMORY = Path("/dev/shm")
MEMINFO = Path("/proc/meminfo")
OWN_CGROUPS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


class MemoryFolder:
    """A folder in memory that lives as long as a process uses it: until this object, and those of others, are gone.

    A process that is killed cannot remove it; `sweep` does, at the next start. A copy of the object in a worker process
    holds nothing: the worker ends before its parent does.

    Args:
        name: the same for all processes that share the folder.
    """

    def __init__(self, name: str) -> None:
        """Make the folder, or join those who use it.

        Raises:
            InputError: this system keeps no files in memory, or somebody else's folder is in the way.
        """
        if not SHARED_MEMORY.is_dir():
            raise InputError(f"dataset.cache=ram needs {SHARED_MEMORY}, which this system does not have; set dataset.cache=disk")
        self.path = _base() / name
        file = _join(self.path)
        weakref.finalize(self, _leave, file, self.path, os.getpid())


def sweep() -> None:
    """Remove the folders that killed processes have left."""
    with contextlib.suppress(FileNotFoundError):
        for folder in list(_base().iterdir()) if _is_own(_base()) else []:
            with contextlib.suppress(OSError):  # another process was faster
                _leave(_open_lock(folder), folder, os.getpid())


def free_memory() -> dict[str, int]:
    """Return in bytes what may yet be stored in memory, by what limits it."""
    free = {f"in {SHARED_MEMORY}, whose size a container sets (docker: --shm-size)": shutil.disk_usage(SHARED_MEMORY).free}
    with contextlib.suppress(OSError, KeyError):
        free["in memory"] = _numbers(MEMINFO)["MemAvailable:"] * 1024
    with contextlib.suppress(OSError):
        limits = list(_cgroup_room())
        if limits:
            free["within the memory limit of this job or container"] = min(limits)
    return free


def _base() -> Path:
    return SHARED_MEMORY / f"fcn_lightning-{os.getuid()}"


def _is_own(base: Path) -> bool:
    """Tell whether the folder is this user's; anybody may put a link in its place, and a sweep must not follow it."""
    status = os.lstat(base)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _join(folder: Path) -> int:
    """Return the folder's lock file, locked; a folder that is removed meanwhile is made again."""
    base = folder.parent
    while True:
        with contextlib.suppress(FileExistsError):
            base.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            if not _is_own(base):
                raise InputError(f"{base} belongs to somebody else; ask for its removal, or set dataset.cache=disk")
            folder.mkdir(exist_ok=True)
            file = _open_lock(folder)
            lock(file, shared=True)
            if _is_lock_of(folder, file):
                return file
            os.close(file)


def _leave(file: int, folder: Path, process: int) -> None:
    """Close a folder's lock file, and remove the folder where nobody else holds it."""
    if os.getpid() != process:  # a forked worker: the folder is its parent's
        return
    unused = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
    try:
        if not (try_lock(file) and _is_lock_of(folder, file)):
            return
        # Under another name first: whoever joins now, or still writes into it, cannot meet a half removed folder.
        os.rename(folder, unused)
    except OSError:  # somebody removed it by hand
        return
    finally:
        os.close(file)
    shutil.rmtree(unused, ignore_errors=True)
    with contextlib.suppress(OSError):  # others are there
        folder.parent.rmdir()


def _is_lock_of(folder: Path, file: int) -> bool:
    """Tell whether an open lock file is the folder's: the folder may have been removed, and made again, before it was locked."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(folder / "lock"))
    except FileNotFoundError:
        return False


def _open_lock(folder: Path) -> int:
    return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _cgroup_room() -> Iterator[int]:
    """Yield what the limits of this process's control groups leave; files that are only cached there give way."""
    for line in OWN_CGROUPS.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, limit, usage, prefix = CGROUPS, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            root, limit, usage, prefix = CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        else:
            continue
        # Each group is bound by those above it; inside a container the own path may not be visible, but the root is.
        steps = [step for step in path.split("/") if step]
        for depth in range(len(steps) + 1):
            group = root.joinpath(*steps[:depth])
            with contextlib.suppress(OSError, ValueError, KeyError):  # no such group, or "max"
                cached = _numbers(group / "memory.stat")
                used = int((group / usage).read_text()) - cached[f"{prefix}inactive_file"] - cached[f"{prefix}active_file"]
                yield int((group / limit).read_text()) - used


def _numbers(path: Path) -> dict[str, int]:
    """Read a file of the kernel with a name and a number per line."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
