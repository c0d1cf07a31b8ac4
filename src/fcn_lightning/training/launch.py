"""Who started this process, and which of how many it is: read from the environment, without loading torch.

Four ways lead to the same training: a person's command; that command's own further ranks, which it starts on its machine; a
`torchrun`; and a SLURM step of several tasks.
"""

import os
import re
from dataclasses import dataclass
from enum import Enum

from fcn_lightning import InputError

RANK, WORLD_SIZE, PARENT = "FCN_RANK", "FCN_WORLD_SIZE", "FCN_RANK_0"  # what rank 0 tells the ranks that it starts


class Starter(Enum):
    """What started a process."""

    COMMAND = "command"
    RANK_0 = "rank 0"
    TORCHRUN = "torchrun"
    SLURM = "slurm"


@dataclass(frozen=True)
class Launch:
    """The place of this process among those that work together.

    Args:
        starter: what started it.
        rank: number of this process; rank 0 writes the run folder.
        world_size: processes in all; 1 for a command, which starts its further ranks later.
        nodes: machines.
        restarted: the cluster started this command before, and now again.
    """

    starter: Starter
    rank: int = 0
    world_size: int = 1
    nodes: int = 1
    restarted: bool = False

    @property
    def external(self) -> bool:
        """Tell whether something else than this package started the ranks."""
        return self.starter in (Starter.TORCHRUN, Starter.SLURM)

    @property
    def local_world_size(self) -> int:
        """Return the processes on this machine."""
        return self.world_size // self.nodes


def launch() -> Launch:
    """Read the environment of this process."""
    env = os.environ

    def number(name: str, default: int = 0) -> int:
        digits = re.match(r"\d+", env.get(name, ""))  # SLURM writes some as in "2(x3)"
        return int(digits[0]) if digits else default

    requeued = number("SLURM_RESTART_COUNT") > 0
    if RANK in env:
        return Launch(Starter.RANK_0, number(RANK), number(WORLD_SIZE))
    if "TORCHELASTIC_RUN_ID" in env:
        restarted = requeued or number("TORCHELASTIC_RESTART_COUNT") > 0
        return Launch(Starter.TORCHRUN, number("RANK"), number("WORLD_SIZE"), number("GROUP_WORLD_SIZE", 1), restarted)
    if "SLURM_STEP_ID" in env and number("SLURM_NTASKS") > 1:
        return Launch(Starter.SLURM, number("SLURM_PROCID"), number("SLURM_NTASKS"), number("SLURM_NNODES", 1), requeued)
    return Launch(Starter.COMMAND, restarted=requeued)


def slurm_job() -> str | None:
    """Return the id of the SLURM job, as `scontrol requeue` takes it; None outside of SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def shared_name(own: str) -> str:
    """Return a folder's name that all ranks agree on: a time stamp, of which each process has another one.

    Args:
        own: the name that this process would choose.

    Returns:
        A command's own; under torchrun that of rank 0; under SLURM one made of job and step, in the same parent folder.

    Raises:
        InputError: the ranks cannot talk to each other yet.
    """
    here = launch()
    if here.starter is Starter.SLURM:
        return os.path.join(os.path.dirname(own), f"slurm-{slurm_job()}-{os.environ['SLURM_STEP_ID']}")
    if here.starter is not Starter.TORCHRUN:
        return own
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise InputError("this torchrun gives its ranks no store, so they cannot agree on a run folder; add hydra.run.dir=<folder>")
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # a process that torchrun starts loads torch anyway

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    if here.rank == 0:
        store.set("fcn_lightning/run_folder", own)
    name: bytes = store.get("fcn_lightning/run_folder")  # waits for rank 0
    return name.decode()
