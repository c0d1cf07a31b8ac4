"""Folders in memory: they live as long as a process uses them, and what a killed one left is removed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from fcn_lightning import InputError
from fcn_lightning.data import shared_memory
from fcn_lightning.data.shared_memory import MemoryFolder, free_memory, sweep

CHILD = """
import sys
from pathlib import Path
from fcn_lightning.data import shared_memory
shared_memory.SHARED_MEMORY = Path(sys.argv[1])
folder = shared_memory.MemoryFolder("data")
(folder.path / "sample").write_text("x")
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def shm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the system's."""
    shm = tmp_path / "shm"
    shm.mkdir()
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", shm)
    return shm


@pytest.fixture
def user(shm: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that uses the folder `data` until its input ends."""
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(shm)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert pipe(process.stdout).readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def end(process: "subprocess.Popen[str]") -> None:
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_the_folder_goes_with_its_process(shm: Path, user: "subprocess.Popen[str]") -> None:
    base = shm / f"fcn_lightning-{os.getuid()}"
    assert (base / "data/sample").is_file()
    assert base.stat().st_mode & 0o777 == 0o700
    end(user)
    assert not list(shm.iterdir())


def test_the_folder_goes_with_the_last_who_uses_it(shm: Path, user: "subprocess.Popen[str]") -> None:
    folder = MemoryFolder("data")
    other = MemoryFolder("other")
    end(user)
    assert (folder.path / "sample").is_file()
    del folder
    assert list(other.path.parent.iterdir()) == [other.path]
    del other
    assert not list(shm.iterdir())


def test_sweeping_removes_what_a_killed_process_left_and_nothing_else(shm: Path, user: "subprocess.Popen[str]") -> None:
    folder = MemoryFolder("other")
    sample = folder.path.parent / "data/sample"
    sweep()
    assert sample.is_file()
    user.kill()
    user.wait()
    assert sample.is_file()
    sweep()
    assert list(folder.path.parent.iterdir()) == [folder.path]


def test_a_removal_that_was_interrupted_is_completed(shm: Path) -> None:
    half = shm / f"fcn_lightning-{os.getuid()}/data.1234/samples/ab"
    half.mkdir(parents=True)
    (half / "cd").write_text("x")
    sweep()
    assert not list(shm.iterdir())


def test_a_forked_worker_leaves_the_folder_to_its_parent(shm: Path) -> None:
    folder = MemoryFolder("data")
    child = os.fork()
    if not child:
        del folder
        os._exit(0)
    os.waitpid(child, 0)
    assert (folder.path / "lock").is_file()


def test_joining_while_the_folder_is_removed_makes_a_new_one(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = MemoryFolder("data")
    lock, removed = shared_memory.lock, []

    def remove_before(file: int, *, shared: bool = False) -> None:
        """Let the last user leave between the opening and the locking of the lock file."""
        nonlocal first
        if not removed:
            removed.append(1)
            del first
        lock(file, shared=shared)

    monkeypatch.setattr(shared_memory, "lock", remove_before)
    second = MemoryFolder("data")
    assert removed
    assert (second.path / "lock").is_file()
    sweep()
    assert (second.path / "lock").is_file(), "it is in use"


def test_a_folder_that_was_made_again_is_not_removed_by_its_former_user(shm: Path) -> None:
    first = MemoryFolder("data")
    os.rename(first.path, first.path.with_name("gone"))
    second = MemoryFolder("data")
    del first
    assert (second.path / "lock").is_file()


def test_without_shared_memory(shm: Path) -> None:
    shm.rmdir()
    with pytest.raises(InputError, match=r"dataset.cache=ram needs .*, which this system does not have; set dataset.cache=disk"):
        MemoryFolder("data")


def test_a_folder_of_somebody_else(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (shm / "fcn_lightning-12345/data").mkdir(parents=True)
    sweep()
    assert (shm / "fcn_lightning-12345/data").is_dir()
    with pytest.raises(InputError, match="fcn_lightning-12345 belongs to somebody else"):
        MemoryFolder("data")


def test_a_link_in_the_place_of_the_folder_is_not_followed(shm: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    (shm / f"fcn_lightning-{os.getuid()}").symlink_to(home)
    sweep()
    assert (home / "work").is_dir()
    with pytest.raises(InputError, match="belongs to somebody else"):
        MemoryFolder("data")


GROUPS = {  # what the kernel shows in the two versions: own path, folder, limit, usage, prefix of the statistics
    "v2": ("0::/job/step", "", "memory.max", "memory.current", ""),
    "v1": ("4:cpu,memory:/job/step\n0::/", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
}


@pytest.mark.parametrize("version", GROUPS)
def test_the_tightest_limit_of_memory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    own, below, limit, usage, prefix = GROUPS[version]
    (tmp_path / "meminfo").write_text("MemTotal:       9000 kB\nMemAvailable:      4000 kB\nHugePages_Total:       0\n")
    (tmp_path / "own").write_text(f"9:name=systemd:/\n{own}\n")
    for path, most, used in (("job", 1_000_000, 700_000), ("job/step", "max", 500_000)):
        group = tmp_path / "groups" / below / path
        group.mkdir(parents=True, exist_ok=True)
        (group / limit).write_text(f"{most}\n")
        (group / usage).write_text(f"{used}\n")
        (group / "memory.stat").write_text(f"anon 1\n{prefix}inactive_file 100000\n{prefix}active_file 50000\n")
    monkeypatch.setattr(shared_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(shared_memory, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(shared_memory, "CGROUPS", tmp_path / "groups")
    free = free_memory()
    assert free["in memory"] == 4000 * 1024
    assert free["within the memory limit of this job or container"] == 450_000
    assert len(free) == 3

    monkeypatch.setattr(shared_memory, "OWN_CGROUPS", tmp_path / "absent")
    monkeypatch.setattr(shared_memory, "MEMINFO", tmp_path / "absent")
    assert len(free_memory()) == 1, "a system that does not tell is judged by the size of its shared memory"
