"""How a run stands: `status.json` and the lock in its folder, by which others see whether it is going on and how it ended."""

import json
import os
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fcn_lightning import InputError
from fcn_lightning.data import locks

STATUS, LOCK, CONFIG, OVERRIDES = "status.json", ".lock", "config.yaml", "overrides.txt"
RUNNING, FINISHED, FAILED, INTERRUPTED = "running", "finished", "failed", "interrupted"
# What a run may be continued with: where and how it computes, not what. These say so for a whole part of the configuration.
FREE = ("trainer", "logger", "saving", "resume", "dataset.root", "dataset.workers", "dataset.cache")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Status:
    """What `status.json` says.

    Args:
        max_steps: optimiser steps of the whole run.
        state: running, finished, failed or interrupted.
        step: optimiser steps done, when this was last written.
        last: step and scores of the last validation, fractions in [0, 1].
        best: step and mIoU of the best one.
        error: in words, of a failed run.
        host: machine of rank 0.
        pid: process of rank 0.
        started: in UTC.
        ended: in UTC; None while it runs.
    """

    max_steps: int
    state: str = RUNNING
    step: int = 0
    last: dict[str, float] | None = None
    best: dict[str, float] | None = None
    error: str | None = None
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    started: str = field(default_factory=_now)
    ended: str | None = None

    def end(self, state: str, error: str | None = None) -> "Status":
        """Return the same run, ended in a state."""
        return replace(self, state=state, error=error, ended=_now())

    def write(self, folder: Path) -> None:
        """Write the file."""
        replace_text(folder / STATUS, json.dumps(asdict(self), indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a file that one process alone writes; a reader sees the old or the new one, never half of it."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def read_status(folder: Path) -> dict[str, Any]:
    """Return what a run folder's status says; nothing where there is none that can be read."""
    try:
        content = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


class RunLock:
    """The lock of a run folder, held as long as the run goes on; the system drops it when the process ends, however it ends.

    Args:
        folder: of the run; made if it is not there.

    Raises:
        InputError: another process is at work in the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Take it."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        os.set_inheritable(self._file, False)
        if locks.AVAILABLE and not locks.try_lock(self._file):
            os.close(self._file)
            status = read_status(folder)
            who = f"process {status['pid']} on {status['host']}" if {"pid", "host"} <= status.keys() else "another process"
            raise InputError(
                f"{folder} is in use by {who}, which is still at work in it; wait for it, or choose another hydra.run.dir"
            )

    def __enter__(self) -> None:
        """Hold it."""

    def __exit__(self, *error: object) -> None:
        """Give it back; in a folder that no run came to own, leave nothing."""
        if not (self.folder / CONFIG).is_file():
            (self.folder / LOCK).unlink(missing_ok=True)
        os.close(self._file)


def find_unfinished(parent: Path, overrides: Iterable[str]) -> Path | None:
    """Return the newest run that was started with the same words, and that did not finish.

    Args:
        parent: folder of the run folders.
        overrides: as typed; those of `FREE` and of Hydra are not compared.
    """
    wanted = _significant(overrides)
    found = []
    for path in parent.glob(f"*/{CONFIG}"):
        folder = path.parent
        try:
            same = _significant((folder / OVERRIDES).read_text(encoding="utf-8").splitlines()) == wanted
        except OSError:
            continue
        if same and read_status(folder).get("state") != FINISHED:
            found.append((path.stat().st_mtime, folder))
    return max(found)[1] if found else None


def is_free(key: str) -> bool:
    """Tell whether a run may be continued with another value of this key."""
    return key in FREE or key.startswith(("hydra.", *(f"{part}." for part in FREE)))


def _significant(overrides: Iterable[str]) -> list[str]:
    lines = (line.strip() for line in overrides)
    return sorted(line for line in lines if line and not line.startswith("#") and not is_free(line.split("=", 1)[0].lstrip("+~")))
