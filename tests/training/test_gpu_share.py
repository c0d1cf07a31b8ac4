"""Jobs that run at once on one machine share its GPUs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fcn_lightning.training import gpu_share
from fcn_lightning.training.gpu_share import VISIBLE, share, take_share


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Act as a process that holds no share, and give back what it took."""
    monkeypatch.setattr(gpu_share, "_held", [])
    yield
    for file in gpu_share._held:
        os.close(file)


def test_equal_shares_that_do_not_overlap() -> None:
    gpus = [str(number) for number in range(8)]
    assert [share(gpus, 4, slot) for slot in range(4)] == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"]]
    assert [share(gpus, 3, slot) for slot in range(3)] == [["0", "1"], ["2", "3"], ["4", "5"]]
    assert [share(gpus[:2], 4, slot) for slot in range(4)] == [["0"], ["1"], ["0"], ["1"]]


def test_a_second_process_takes_another_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "4,5,6,7")
    take_share(tmp_path, 2)
    assert os.environ[VISIBLE] == "4,5"
    take_share(tmp_path, 2)
    assert os.environ[VISIBLE] == "4,5", "the next job of this process keeps it"

    first = gpu_share._held
    monkeypatch.setattr(gpu_share, "_held", [])  # another process, while the first holds its share
    monkeypatch.setenv(VISIBLE, "4,5,6,7")
    take_share(tmp_path, 2)
    assert os.environ[VISIBLE] == "6,7"

    os.close(first[0])  # the first one ends, and one more begins
    second = gpu_share._held
    monkeypatch.setattr(gpu_share, "_held", [])
    monkeypatch.setenv(VISIBLE, "4,5,6,7")
    take_share(tmp_path, 2)
    assert os.environ[VISIBLE] == "4,5"
    os.close(second[0])


@pytest.mark.parametrize("gpus", ["", "3"])
def test_nothing_to_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: str) -> None:
    monkeypatch.setenv(VISIBLE, gpus)
    take_share(tmp_path, 2)
    assert os.environ[VISIBLE] == gpus
    assert not list(tmp_path.iterdir())
