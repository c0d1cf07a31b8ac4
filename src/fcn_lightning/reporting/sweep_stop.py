"""Stopping a sweep whose jobs run in other processes of this machine: they save first, and no further one begins."""

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from fcn_lightning.reporting.run_state import RUNNING
from fcn_lightning.reporting.sweep_state import JOBS, read_sweep

STOP = ".stop"
POLL = 0.2  # seconds between looks at the jobs


def is_stopped(folder: Path) -> bool:
    """Tell whether the sweep was asked to stop, so that a job that waited must not begin."""
    return (folder / JOBS / STOP).exists()


class StopJobs:
    """End a sweep on the first Ctrl-C or SIGTERM when its running jobs have saved and ended; at once on the second.

    The processes of the jobs would otherwise be killed on Ctrl-C, before they can save, and stay behind on SIGTERM.

    Args:
        folder: of the sweep.
    """

    def __init__(self, folder: Path) -> None:
        """Take over the signals; take back an earlier stop."""
        self.folder = folder
        self.asked = False
        (folder / JOBS / STOP).unlink(missing_ok=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        (self.folder / JOBS / STOP).touch()
        os.write(2, f"\n{signal.Signals(signum).name}: jobs stop after their step, then save; once more to stop at once\n".encode())
        told: set[int] = {os.getpid()}
        while running := self._running():
            # A Ctrl-C reached them already: the terminal sends it to all processes.
            for pid in running - told if signum == signal.SIGTERM else ():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGTERM)
            told |= running
            time.sleep(POLL)
        raise SystemExit(128 + signum)

    def _running(self) -> set[int]:
        jobs = read_sweep(self.folder).of(RUNNING)
        return {job.pid for job in jobs if job.pid and job.host == socket.gethostname()}
