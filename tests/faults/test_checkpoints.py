"""A last checkpoint that is damaged, cut off or hostile: the one before it is used, and nothing in the file is executed."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fcn_lightning import InputError
from fcn_lightning.training import checkpoint
from tests.faults.outcomes import assert_ends, assert_same_in_the_end, saved, words
from tests.faults.test_kills import _save
from tests.hostile import malicious_checkpoint, truncated
from tests.processes import Command


def flip(path: Path) -> None:
    """Change bytes in the middle, in place."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        found = file.read(64)
        file.seek(-64, 1)
        file.write(bytes(255 - byte for byte in found))


def cut(path: Path) -> None:
    """Take the second half away."""
    truncated(path, path)


DAMAGE: dict[str, Callable[[Path], object]] = {"flipped bytes": flip, "half of it": cut, "a command": malicious_checkpoint}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_one_before_it_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    for step in (1, 2):
        _save(tmp_path, step)
    DAMAGE[damage](tmp_path / "last.ckpt")  # which is step 2, too
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert (found[0].name, found[1]["global_step"]) == ("step_000001.ckpt", 1)
    assert "last.ckpt" in caplog.text
    assert (tmp_path / "last.ckpt.damaged").is_file()
    assert not list(tmp_path.glob("*.was-executed"))
    DAMAGE[damage](tmp_path / "step_000001.ckpt")
    with pytest.raises(InputError, match=r"none of the .* can be read; start a new run"):
        checkpoint.newest(tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("damage", ["flipped bytes", "a command"])
def test_the_run_goes_on(tmp_path: Path, data: Path, reference: Path, damage: str) -> None:
    command = Command("train", *words(data), cwd=tmp_path)
    command.prints("step 5/")
    command.send(signal.SIGTERM)
    assert_ends(command, 143)
    folder = tmp_path / "run/checkpoints"
    before, last = (int(path.stem.split("_")[1]) for path in saved(tmp_path)[-2:])
    DAMAGE[damage](folder / "last.ckpt")  # which is another name of the newest file
    rest = assert_same_in_the_end(tmp_path, reference)
    assert f"at step {before} of" in rest.text
    assert rest.text.index("last.ckpt is damaged") < rest.text.index(f"step {last}/")
    assert not list(tmp_path.rglob("*.was-executed"))
