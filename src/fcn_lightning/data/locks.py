"""Locks on open files, by which a process shows that it is alive: the system drops them when it ends, however it ends."""

try:
    import fcntl
except ImportError:  # Windows; `AVAILABLE` says so
    fcntl = None  # type: ignore[assignment]

AVAILABLE = fcntl is not None


def lock(file: int, *, shared: bool = False) -> None:
    """Lock an open file, waiting for those who hold it in another way; until it is closed.

    Args:
        file: descriptor.
        shared: along with others that share it.

    Raises:
        OSError: the file system has no locks.
    """
    fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


def try_lock(file: int) -> bool:
    """Lock an open file for this process alone, unless another one holds it; a shared lock of this descriptor is replaced."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
