"""A SLURM step of two tasks, played by two processes with SLURM's variables: trained, requeued before its time is up, continued."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.processes import Command, assert_equal, assert_none_left, settings, state, write_data


def start(data: Path, cwd: Path, *, job: int, restarts: int = 0) -> list[Command]:
    """Start what `srun --ntasks-per-node=2 python -m fcn_lightning.train ...` starts on one machine."""
    shared = {
        "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1",
        "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost", "SLURM_JOB_NAME": "fcn", "PATH": f"{cwd}:{os.environ['PATH']}",
        "SLURM_RESTART_COUNT": str(restarts),
    }  # fmt: skip
    words = settings(data, "trainer=ddp", "trainer.accelerator=cpu", "schedule.max_steps=8", "schedule.val_interval=4")
    words.remove("trainer=cpu")
    ranks = [shared | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2)]
    return [Command("train", *words, cwd=cwd, env=env) for env in ranks]


@pytest.mark.slow
def test_a_step_is_requeued_and_goes_on(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    job = 1000 + os.getpid() % 8000  # the port that the ranks meet on follows from it
    whole = start(data, tmp_path / "whole", job=job)
    for rank in whole:
        assert rank.wait() == 0, rank.text
    (one,) = (tmp_path / "whole/outputs").glob("*/*")
    assert one.name == f"slurm-{job}-0", "both ranks, without talking"

    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {cut}/asked\n')
    (cut / "scontrol").chmod(0o755)
    ranks = start(data, cut, job=job)
    ranks[0].prints("step 3/8")
    for rank in ranks:  # SLURM sends it to all tasks, as `--signal=USR1@120` asks
        rank.send(signal.SIGUSR1)
    for rank in ranks:
        assert rank.wait(60) == 128 + signal.SIGUSR1, rank.text
    assert (cut / "asked").read_text() == f"requeue {job}\n", "by rank 0 alone"
    other = next((cut / "outputs").glob("*/*"))
    status = json.loads((other / "status.json").read_text())
    assert (status["state"], 3 <= status["step"] < 8) == ("interrupted", True)

    again = start(data, cut, job=job, restarts=1)
    for rank in again:
        assert rank.wait() == 0, rank.text
    assert f"at step {status['step']} of 8" in again[0].text
    assert [path.name for path in (cut / "outputs").glob("*/*")] == [one.name]
    assert_equal(*(state(folder / "checkpoints/last.ckpt") for folder in (one, other)))
    assert_none_left(cut, 20)
