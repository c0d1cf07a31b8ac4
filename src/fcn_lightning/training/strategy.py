"""Training on several devices: which processes there are, how they are started, and what happens when one of them dies.

The ranks of a command on one machine are started by rank 0 itself, with a command line that the verb gives: they take their
configuration from the run folder, so that in a sweep each rank has that of its job. torchrun and SLURM start theirs on their own.
"""

import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers.launcher import _Launcher
from torch import distributed

from fcn_lightning import InputError
from fcn_lightning.training.launch import PARENT, RANK, WORLD_SIZE, Launch, Starter

POLL = 0.2  # seconds between two looks at the other ranks
VERDICT = 10.0  # seconds that a rank with a broken connection waits for the news of who died
FAREWELL = 60.0  # seconds that the other ranks have to end after rank 0
TAIL = 15  # lines of a dead rank's output that are shown
NETWORK = ("gloo", "nccl", "connection", "peer", "socket", "process group", "processgroup", "store")  # words of a lost partner


class RankLostError(InputError):
    """Another rank ended before its time."""


def devices(wanted: int | str, accelerator: str, launch: Launch) -> int:
    """Return the devices of this machine that train together.

    Args:
        wanted: `trainer.devices`: a number, or "auto": those that torchrun or SLURM started ranks for, else all GPUs.
        accelerator: "cpu" or "cuda".
        launch: place of this process.

    Raises:
        InputError: there are fewer, or the ranks that were started are another number.
    """
    if launch.external or launch.starter is Starter.RANK_0:
        if wanted not in ("auto", launch.local_world_size):
            raise InputError(
                f"trainer.devices={wanted}, but {launch.starter.value} started {launch.local_world_size} processes on this "
                "machine; leave trainer.devices out, or start as many"
            )
        return launch.local_world_size
    gpus = torch.cuda.device_count() if accelerator != "cpu" else 0
    if wanted == "auto":
        if not gpus:
            raise InputError("trainer.devices=auto takes all GPUs, and there is none; give trainer.devices=<processes>")
        return gpus
    if not isinstance(wanted, int) or wanted < 1:
        raise InputError(f"trainer.devices={wanted} does not fit; give a number from 1 on, or auto")
    if gpus and wanted > gpus:
        raise InputError(f"trainer.devices={wanted}, but this machine has {gpus} GPUs; give trainer.devices={gpus}")
    return wanted


def environment(launch: Launch) -> ClusterEnvironment:
    """Return how this process finds the others; chosen here, so that a cluster's leftovers in the environment decide nothing.

    Raises:
        InputError: SLURM was asked for tasks in a way that leaves open how many are on each machine.
    """
    if launch.starter is Starter.TORCHRUN:
        return TorchElasticEnvironment()
    if launch.starter is Starter.SLURM:
        if "SLURM_NTASKS_PER_NODE" not in os.environ:
            raise InputError("SLURM did not say how many tasks it starts on each machine; give srun --ntasks-per-node=<devices>")
        return SLURMEnvironment(auto_requeue=False)  # StopSignals requeues, with a checkpoint that resume finds
    return LightningEnvironment()


class RankStrategy(DDPStrategy):
    """DDP whose further ranks are started with a given command line.

    Args:
        command: of rank 1 and up.
        folder: of the run; each rank writes its output there, as rank<r>.log.
        timeout: seconds that a rank waits for the others in an exchange.
    """

    def __init__(self, command: Sequence[str], folder: Path, timeout: float) -> None:
        """Keep the command."""
        super().__init__(timeout=timedelta(seconds=timeout), gradient_as_bucket_view=True)
        self.command = command
        self.folder = folder

    def _configure_launcher(self) -> None:
        if isinstance(self.cluster_environment, LightningEnvironment) and RANK not in os.environ:
            self._launcher = RankLauncher(self.command, self.folder, self.cluster_environment, self.num_processes)


class RankLauncher(_Launcher):
    """Start the ranks 1 and up, watch them, and leave none behind.

    Args:
        command: of a rank.
        folder: for their output.
        cluster: address and port of rank 0.
        processes: ranks in all.
    """

    def __init__(self, command: Sequence[str], folder: Path, cluster: ClusterEnvironment, processes: int) -> None:
        """Start nothing yet."""
        self.command = command
        self.folder = folder
        self.cluster = cluster
        self.processes = processes
        self.ranks: dict[int, subprocess.Popen[bytes]] = {}
        self._lost: RankLostError | None = None
        self._ended = threading.Event()

    @property
    def is_interactive_compatible(self) -> bool:
        """Tell Lightning that a notebook cannot start ranks this way."""
        return False

    def launch(self, function: Callable[..., Any], *args: Any, trainer: pl.Trainer | None = None, **kwargs: Any) -> Any:
        """Start the ranks and do the work of rank 0 along with them.

        Raises:
            RankLostError: another rank died; and whatever the work raises.
        """
        self._ended.clear()
        self._lost = None
        files = self._start()
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            lost = self._verdict(error)
            self._ended.set()
            self._end(FAREWELL if lost is None and _is_orderly(error) else 0)
            if lost is not None:
                raise lost from error
            raise
        finally:
            self._ended.set()
            watch.join()
            for file in files:
                file.close()
        self._end(FAREWELL)
        if self._lost is not None:
            raise self._lost
        return result

    def kill(self, signum: int) -> None:
        """Pass no signal on: the ranks hear of it from rank 0, after the step."""

    def _start(self) -> list[IO[bytes]]:
        files: list[IO[bytes]] = []
        given = {
            "MASTER_ADDR": self.cluster.main_address,
            "MASTER_PORT": str(self.cluster.main_port),
            "NODE_RANK": "0",
            PARENT: str(os.getpid()),
            WORLD_SIZE: str(self.processes),
            "WORLD_SIZE": str(self.processes),
        }
        for rank in range(1, self.processes):
            file = self._log(rank).open("ab")
            # A session of its own: a Ctrl-C reaches rank 0 alone, and the rank ends together with its loaders.
            self.ranks[rank] = subprocess.Popen(
                self.command,
                env=os.environ | given | {RANK: str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            files.append(file)
        return files

    def _log(self, rank: int) -> Path:
        return self.folder / f"rank{rank}.log"

    def _watch(self) -> None:
        while not self._ended.wait(POLL):
            lost = next((rank for rank, process in self.ranks.items() if process.poll() not in (None, 0)), None)
            if lost is None:
                continue
            self._lost = RankLostError(self._obituary(lost))
            self._kill()
            if not self._ended.wait(VERDICT):  # rank 0 hangs in an exchange that nobody answers
                sys.stderr.write(f"error: {self._lost}\n")
                sys.stderr.flush()
                os._exit(1)
            return

    def _verdict(self, error: BaseException) -> RankLostError | None:
        """Return who died, if that is why rank 0 failed."""
        words = f"{type(error).__name__} {error}".lower()
        if isinstance(error, RuntimeError) and any(word in words for word in NETWORK):
            deadline = time.monotonic() + VERDICT
            while self._lost is None and time.monotonic() < deadline:
                time.sleep(POLL)
        return self._lost

    def _obituary(self, rank: int) -> str:
        process = self.ranks[rank]
        code = process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        lines = self._log(rank).read_text(encoding="utf-8", errors="replace").splitlines()
        sentence = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), None)
        if sentence:
            return f"rank {rank} of {self.processes} {how}: {sentence}"
        hint = "; the system may have run out of memory" if -code == signal.SIGKILL else ""
        shown = "".join(f"\n    {line}" for line in lines[-TAIL:])
        return f"rank {rank} of {self.processes} (process {process.pid}) {how}{hint}; its output is in {self._log(rank)}{shown}"

    def _end(self, patience: float) -> None:
        """Wait for the ranks to end, as long as that may take, and end those that are left."""
        deadline = time.monotonic() + patience
        for process in self.ranks.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self._kill()
        for rank in self.ranks:
            if self._log(rank).stat().st_size == 0:
                self._log(rank).unlink()
        self.ranks = {}

    def _kill(self) -> None:
        """End the ranks that are left, with their loaders; each first writes down where it stands."""
        alive = [process for process in self.ranks.values() if process.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGUSR2)
        time.sleep(POLL if alive else 0)
        for process in self.ranks.values():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # the loaders of one that is gone, too
            process.wait()


def _is_orderly(error: BaseException) -> bool:
    """Tell whether all ranks end for the same reason: a StoppedError of all of them."""
    return getattr(error, "of_all_ranks", False) is True


def join(launch: Launch) -> None:
    """Prepare a further rank: it ends when rank 0 does, and writes down where it stands when rank 0 asks."""
    if launch.starter is not Starter.RANK_0:
        return
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    parent = int(os.environ[PARENT])

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        os.killpg(os.getpgid(0), signal.SIGKILL)  # nobody is left to answer; the loaders of this rank go with it

    threading.Thread(target=watch, daemon=True).start()


def leave(launch: Launch) -> None:
    """End the connection between the ranks, so that the next job of a sweep makes one of its own."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
    if launch.starter is Starter.COMMAND:
        for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):  # Lightning leaves them behind
            os.environ.pop(name, None)
