"""Kill a process at an exact moment of its work with files.

Python imports this file at its start where its folder is on PYTHONPATH, so that a command needs no hook for it. The variable
FAULT says when: kind of event, name of the file, and which of these events, such as "os.rename .step_*.part 1". Both words may
hold wildcards. The process dies right before what the event announces.
"""

import os
import pathlib
import signal
import sys
from fnmatch import fnmatch
from typing import Any

AUDITED = ("open", "os.rename", "os.link", "os.remove", "os.truncate")


class Noted:
    """A file for binary writing of which each write is an event."""

    def __init__(self, file: Any, note: Any) -> None:
        self.file = file
        self.note = note

    def write(self, data: Any) -> Any:
        self.note("write", self.file.name)
        return self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "Noted":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def kill_at(event: str, name: str, number: int) -> None:
    """Let this process die at such an event; the first one has number 1."""
    left = number

    def note(kind: str, path: Any) -> None:
        nonlocal left
        if fnmatch(kind, event) and fnmatch(os.path.basename(os.fsdecode(path)), name):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(kind: str, arguments: tuple[Any, ...]) -> None:
        if kind in AUDITED and isinstance(arguments[0], str | bytes | os.PathLike):
            note(kind, arguments[0])

    fsync, opened = os.fsync, pathlib.Path.open

    def noted_fsync(file: int) -> None:
        note("fsync", os.readlink(f"/proc/self/fd/{file}"))
        fsync(file)

    def noted_open(path: pathlib.Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        file = opened(path, mode, *arguments, **named)
        return Noted(file, note) if mode == "wb" else file

    sys.addaudithook(audit)
    os.fsync = noted_fsync
    pathlib.Path.open = noted_open  # type: ignore[method-assign, assignment]


if "FAULT" in os.environ:
    event, name, number = os.environ["FAULT"].split()
    kill_at(event, name, int(number))
