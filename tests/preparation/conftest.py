"""The small archives, drawn once."""

from pathlib import Path

import pytest

from tests.preparation.published import PACK


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archives of each data set in a folder of its name, and beside it what they were packed from."""
    base = tmp_path_factory.mktemp("published")
    for name, pack in PACK.items():
        pack(base / name, base / f"drawn_{name}")
    return base
