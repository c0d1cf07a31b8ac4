"""Two machines, played by two network namespaces of this one: an agent of torchrun in each, one run folder."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import Command, assert_none_left

# Link-local addresses, and names by the process: two runs of this test on one machine do not meet.
ADDRESSES = ("169.254.77.1", "169.254.77.2")
PORT = 29_411
SHAPES = (
    "trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true", "schedule.max_steps=4", "schedule.val_interval=2",
    "dataset.global_batch_size=4", "dataset.workers=0", "trainer.log_interval=1",
)  # fmt: skip


@dataclass(frozen=True)
class Nodes:
    """Two namespaces that are joined by a pair of interfaces."""

    names: tuple[str, str]
    interfaces: tuple[str, str]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    if os.name != "posix" or shutil.which("ip") is None:
        pytest.skip("needs `ip` of iproute2, to make network namespaces")
    made = Nodes(*((f"{prefix}{os.getpid()}a", f"{prefix}{os.getpid()}b") for prefix in ("fcn", "ve")))  # type: ignore[arg-type]
    try:
        for name in made.names:
            ip("netns", "add", name)
        ip("link", "add", made.interfaces[0], "type", "veth", "peer", "name", made.interfaces[1])
        for name, interface, address in zip(made.names, made.interfaces, ADDRESSES, strict=True):
            ip("link", "set", interface, "netns", name)
            ip("-n", name, "address", "add", f"{address}/24", "dev", interface)
            for up in ("lo", interface):
                ip("-n", name, "link", "set", up, "up")
    except subprocess.CalledProcessError as error:
        remove(made)
        pytest.skip(f"this system makes no network namespaces here: {error.stderr.strip()}")
    yield made
    remove(made)


def remove(made: Nodes) -> None:
    for name in made.names:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.mark.slow
def test_two_agents_train_and_validate_into_one_folder(nodes: Nodes, tmp_path: Path) -> None:
    agents = []
    for rank, (name, interface, address) in enumerate(zip(nodes.names, nodes.interfaces, ADDRESSES, strict=True)):
        torchrun = (
            "ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run",
            "--nnodes=2", f"--node-rank={rank}", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=two",
            f"--rdzv-endpoint={ADDRESSES[0]}:{PORT}", f"--rdzv-conf=is_host={int(rank == 0)}", f"--local-addr={address}",
        )  # fmt: skip
        agents.append(Command("train", *SHAPES, cwd=tmp_path, launcher=torchrun, env={"GLOO_SOCKET_IFNAME": interface}))
    for agent in agents:
        assert agent.wait(240) == 0, agent.text
    (folder,) = (tmp_path / "outputs").glob("*/*")
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["step"], status["last"]["step"]) == ("finished", 4, 4)
    environment = json.loads((folder / "environment.json").read_text())
    assert (environment["processes"], environment["machines"]) == (2, 2)
    assert len(list((folder / "samples").glob("0*.png"))) == 8, "each machine drew the panels of its own images"
    assert "2 processes on " in agents[0].text
    assert " of 2 machines" in agents[0].text
    assert "validation at step 4" in agents[0].text
    assert "validation at step 4" not in agents[1].text, "rank 0 alone speaks"
    assert_none_left(tmp_path, 20)
