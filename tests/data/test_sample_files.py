"""Files of decoded samples: read back as written, whatever happened to the writer."""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from fcn_lightning.data import sample_files
from fcn_lightning.data.sample_files import Sample, SampleFiles, file_size

KEY = "ab" + "0" * 30
fork = multiprocessing.get_context("fork")


@pytest.fixture
def files(tmp_path: Path) -> SampleFiles:
    files = SampleFiles(tmp_path / "cache", durable=True)
    files.prepare()
    return files


def sample(height: int = 5, width: int = 7, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), np.uint8), rng.integers(0, 256, (height, width), np.uint8)


def same(read: Sample | None, written: Sample) -> bool:
    return read is not None and all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(read, written, strict=True))


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (64, 64), (1, 2048)])
def test_a_sample_is_read_as_it_was_written(files: SampleFiles, size: tuple[int, int]) -> None:
    assert files.read(KEY) is None
    assert files.size(KEY) == 0
    written = sample(*size)
    files.write(KEY, written)
    read = files.read(KEY)
    assert same(read, written)
    assert read is not None
    assert [array.ctypes.data % sample_files.ALIGNMENT for array in read] == [0, 0]
    assert files.size(KEY) == file_size(*size) == files.path(KEY).stat().st_size
    assert not list((files.folder / "parts").iterdir())


def test_views_of_strange_strides_are_written_in_order(files: SampleFiles) -> None:
    image, mask = sample(10, 14)
    written = (image[::2, ::-1], np.asfortranarray(mask[::2]))
    files.write(KEY, written)
    assert same(files.read(KEY), written)


def test_writing_into_a_sample_does_not_reach_the_file(files: SampleFiles) -> None:
    written = sample()
    files.write(KEY, written)
    read = files.read(KEY)
    assert read is not None
    read[0][:] = 0
    read[1][:] = 0
    assert same(files.read(KEY), written)


def test_a_sample_outlives_its_file(files: SampleFiles) -> None:
    written = sample()
    files.write(KEY, written)
    read = files.read(KEY)
    files.path(KEY).unlink()
    assert same(read, written)


@pytest.mark.parametrize("length", [0, 10, 64, 100, -1])
def test_a_cut_off_file_is_no_sample(files: SampleFiles, length: int) -> None:
    files.write(KEY, sample())
    os.truncate(files.path(KEY), length % file_size(5, 7))
    assert files.read(KEY) is None
    files.write(KEY, sample(seed=1))
    assert same(files.read(KEY), sample(seed=1))


@pytest.mark.parametrize("offset", [0, 8, 12])  # magic, version, height
def test_a_file_of_another_kind_is_no_sample(files: SampleFiles, offset: int) -> None:
    files.write(KEY, sample())
    content = bytearray(files.path(KEY).read_bytes())
    content[offset] ^= 3
    files.path(KEY).write_bytes(content)
    assert files.read(KEY) is None


def _write_slowly(files: SampleFiles, ready: Connection) -> None:
    """Write, and stay between content and rename until killed."""

    def wait(descriptor: int) -> None:
        ready.send(None)
        time.sleep(60)

    sample_files.os.fsync = wait  # type: ignore[assignment]
    files.write(KEY, sample())


def test_a_killed_writer_leaves_no_half_file(files: SampleFiles) -> None:
    here, there = fork.Pipe()
    writer = fork.Process(target=_write_slowly, args=(files, there))
    writer.start()
    assert here.poll(20)
    (part,) = (files.folder / "parts").iterdir()
    assert part.stat().st_size == file_size(5, 7)

    files.prepare()
    assert part.exists(), "what is being written is left alone"
    assert writer.pid
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert files.read(KEY) is None
    files.prepare()
    assert not part.exists(), "what a dead process left is removed"
    files.write(KEY, sample())
    assert same(files.read(KEY), sample())


def test_writers_of_one_sample_do_no_harm(files: SampleFiles) -> None:
    written = sample(200, 300)
    wrong = []

    def work() -> None:
        for _ in range(20):
            files.write(KEY, written)
            wrong.extend([] if same(files.read(KEY), written) else [1])

    def work_and_exit() -> None:
        work()
        os._exit(len(wrong))

    process = fork.Process(target=work_and_exit)
    process.start()
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.join()
    assert (wrong, process.exitcode) == ([], 0)
    assert not list((files.folder / "parts").iterdir())


def test_a_full_disk_leaves_nothing(files: SampleFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(KEY, sample())
    assert files.read(KEY) is None
    assert not list((files.folder / "parts").iterdir())


def test_a_pipe_in_the_place_of_a_sample_or_a_part_stops_nobody(files: SampleFiles) -> None:
    files.path(KEY).parent.mkdir()
    os.mkfifo(files.path(KEY))
    os.mkfifo(files.folder / "parts/pipe")
    assert files.read(KEY) is None
    files.prepare()
    files.write(KEY, sample())
    assert same(files.read(KEY), sample())


@pytest.mark.parametrize("size", [(0, 0), (0, 7), (7, 0), (2**32 - 1, 2**32 - 1), (2**16, 2**16)])
def test_a_header_that_is_not_true_is_no_sample(files: SampleFiles, size: tuple[int, int]) -> None:
    files.write(KEY, sample())
    content = files.path(KEY).read_bytes()
    header = sample_files.HEADER.pack(sample_files.MAGIC, sample_files.VERSION, *size)
    files.path(KEY).write_bytes((header + content[len(header) :])[: max(64, file_size(*size)) if 0 in size else None])
    assert files.read(KEY) is None


def test_folders_are_never_open_to_anybody(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files = SampleFiles(tmp_path / "open", durable=False)
        files.prepare()
        files.write(KEY, sample())
    finally:
        os.umask(before)
    assert [path for path in files.folder.rglob("*") if path.is_dir() and path.stat().st_mode & 0o002] == []
