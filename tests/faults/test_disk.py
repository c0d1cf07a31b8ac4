"""A disk that becomes full: the file is named, what was saved stays, and after making room the run goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fcn_lightning.training import checkpoint
from tests.faults.outcomes import assert_ends, assert_same_in_the_end, saved, words
from tests.processes import Command

pytestmark = pytest.mark.faults

ROOM = 1.6  # checkpoints that the small disk has room for


class Disk:
    """A file system of its own in memory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder

    def mount(self, size: int) -> None:
        found = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.folder], capture_output=True, text=True)
        if found.returncode:
            pytest.skip(f"a file system can be mounted by root only: {found.stderr.strip()}")

    def grow(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)

    def fill(self) -> Path:
        """Leave no room at all."""
        path = self.folder / "other_people"
        with path.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    continue
        return path

    def free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "work")
    yield made
    subprocess.run(["umount", "--lazy", made.folder], capture_output=True)


def test_no_room_for_the_second_checkpoint(disk: Disk, data: Path, reference: Path) -> None:
    size = (reference / "checkpoints/last.ckpt").stat().st_size
    disk.mount(int(ROOM * size))
    work = disk.folder
    command = Command("train", *words(data), cwd=work)
    assert_ends(command, 1, "run/checkpoints/step_000002.ckpt could not be written", "MB are free", "make room", seconds=120)
    assert [path.name for path in saved(work)] == ["step_000001.ckpt"]
    assert checkpoint.read(work / "run/checkpoints/last.ckpt")["global_step"] == 1
    disk.grow(8 * size)
    assert_same_in_the_end(work, reference)


def test_no_room_for_the_first_file_of_weights(disk: Disk, data: Path, reference: Path) -> None:
    size = (reference / "checkpoints/last.ckpt").stat().st_size
    disk.mount(size // 3)
    work = disk.folder
    command = Command("train", *words(data, "saving.interval=0"), cwd=work)
    assert_ends(command, 1, "run/checkpoints/best.safetensors could not be written", "MB are free", seconds=120)
    assert list((work / "run/checkpoints").iterdir()) == []
    disk.grow(8 * size)
    assert_same_in_the_end(work, reference)  # from the first step on


def test_no_room_for_a_line_of_the_log(disk: Disk, data: Path, reference: Path) -> None:
    size = (reference / "checkpoints/last.ckpt").stat().st_size
    disk.mount(8 * size)
    work = disk.folder
    command = Command("train", *words(data, "saving.interval=4"), cwd=work)
    command.until(lambda: len(saved(work)) == 1)
    others = disk.fill()
    assert_ends(command, 1, "could not be written", "MB are free", "make room")
    assert disk.free() < size
    assert saved(work)
    others.unlink()
    assert_same_in_the_end(work, reference)
