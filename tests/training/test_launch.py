"""Who started a process, told by its environment alone; and which devices it works with."""

import os
from pathlib import Path

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from fcn_lightning import InputError
from fcn_lightning.training.launch import Launch, Starter, launch, shared_name, slurm_job
from fcn_lightning.training.strategy import devices, environment

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0", "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
}  # fmt: skip
SLURM = {
    "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
    "SLURM_NNODES": "2", "SLURM_NODELIST": "node[1-2]",
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_", "FCN_RANK", "FCN_WORLD")):
            monkeypatch.delenv(name)


def set_all(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, Launch(Starter.COMMAND)),
        ({"SLURM_JOB_ID": "77", "SLURM_NTASKS": "8"}, Launch(Starter.COMMAND)),  # in the batch script itself, without srun
        ({"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "1"}, Launch(Starter.COMMAND)),  # one task: as submitit has
        ({"SLURM_JOB_ID": "77", "SLURM_RESTART_COUNT": "1"}, Launch(Starter.COMMAND, restarted=True)),
        ({"FCN_RANK": "1", "FCN_WORLD_SIZE": "2"}, Launch(Starter.RANK_0, 1, 2)),
        (TORCHRUN, Launch(Starter.TORCHRUN, 5, 8, 2)),
        (TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "2"}, Launch(Starter.TORCHRUN, 5, 8, 2, restarted=True)),
        (SLURM, Launch(Starter.SLURM, 5, 8, 2)),
        (SLURM | {"SLURM_RESTART_COUNT": "3"}, Launch(Starter.SLURM, 5, 8, 2, restarted=True)),
    ],
)
def test_the_place_of_a_process(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], expected: Launch) -> None:
    set_all(monkeypatch, env)
    assert launch() == expected


def test_the_environment_is_chosen_by_the_starter(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SLURM)
    assert type(environment(Launch(Starter.COMMAND))) is LightningEnvironment, "a cluster's leftovers decide nothing"
    assert type(environment(Launch(Starter.TORCHRUN))) is TorchElasticEnvironment
    with pytest.raises(InputError, match="give srun --ntasks-per-node"):
        environment(Launch(Starter.SLURM))
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    slurm = environment(Launch(Starter.SLURM))
    assert isinstance(slurm, SLURMEnvironment)
    assert slurm.auto_requeue is False
    assert (slurm.global_rank(), slurm.local_rank(), slurm.world_size()) == (5, 1, 8)


def test_slurm_ranks_agree_on_a_name_without_talking(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SLURM)
    assert shared_name("outputs/run/2026-01-01_00-00-00") == "outputs/run/slurm-77-0"
    set_all(monkeypatch, {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3"})
    assert slurm_job() == "70_3"
    assert shared_name("outputs/run/now") == "outputs/run/slurm-70_3-0"


def test_torchrun_ranks_agree_through_its_store(monkeypatch: pytest.MonkeyPatch) -> None:
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    set_all(monkeypatch, TORCHRUN | {"MASTER_PORT": str(store.port), "RANK": "0"})
    with pytest.raises(InputError, match=r"add hydra\.run\.dir=<folder>"):
        shared_name("mine")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    assert shared_name("of rank 0") == "of rank 0"
    monkeypatch.setenv("RANK", "1")
    assert shared_name("of rank 1") == "of rank 0"


def test_devices() -> None:
    alone, four = Launch(Starter.COMMAND), Launch(Starter.TORCHRUN, 0, 8, 2)
    assert (devices(3, "cpu", alone), devices("auto", "cpu", four), devices(4, "cpu", four)) == (3, 4, 4)
    with pytest.raises(InputError, match=r"trainer\.devices=2, but torchrun started 4 processes on this machine"):
        devices(2, "cpu", four)
    with pytest.raises(InputError, match=r"there is none; give trainer\.devices=<processes>"):
        devices("auto", "cpu", alone)
    for wrong in (0, -1, "two"):
        with pytest.raises(InputError, match=f"trainer.devices={wrong} does not fit"):
            devices(wrong, "cpu", alone)


def test_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    alone = Launch(Starter.COMMAND)
    assert (devices("auto", "cuda", alone), devices(2, "cuda", alone)) == (4, 2)
    with pytest.raises(InputError, match=r"this machine has 4 GPUs; give trainer\.devices=4"):
        devices(8, "cuda", alone)


def test_requeue_asks_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from fcn_lightning.training.signals import requeue

    assert not requeue(), "there is no cluster"
    fake = tmp_path / "scontrol"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert requeue()
    assert (tmp_path / "asked").read_text() == "requeue 77\n"
    fake.write_text("#!/bin/sh\necho 'job is not requeueable' >&2\nexit 1\n")
    assert not requeue()
    assert "SLURM job 77 could not be requeued (job is not requeueable); continue it by hand" in caplog.text
