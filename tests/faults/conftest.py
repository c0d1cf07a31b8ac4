"""Runs that nothing happened to, to compare with."""

from pathlib import Path

import pytest

from tests.faults.outcomes import words
from tests.processes import Command, write_data

TRAIN, VAL = 40, 24  # images: a pass over the data is ten steps; a validation takes long enough to be hit


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data of this test alone, the same in each."""
    return write_data(tmp_path / "data", train=TRAIN, val=VAL)


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a run in one go."""
    return _whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def reference_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a run of two processes in one go: BatchNorm sees other batches."""
    return _whole(tmp_path_factory.mktemp("whole_of_two"), "trainer.devices=2")


def _whole(work: Path, *more: str) -> Path:
    data = write_data(work / "data", train=TRAIN, val=VAL)
    command = Command("train", *words(data, "saving.interval=0", *more), cwd=work)
    assert command.wait() == 0, command.text
    return work / "run"
