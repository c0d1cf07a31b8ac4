"""A file of torch is read without executing anything, and without more memory than it has bytes."""

import importlib
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fcn_lightning.models.torch_files import is_plain, read_inert
from tests.hostile import malicious_checkpoint, repacked, truncated, zip_bomb
from tests.zoo.published import refusal

ZIPPED = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before zip"])
ROOM = 1 << 29  # bytes that reading may take beyond what the process has


class Call:
    """Pickles to a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def viewed(size: tuple[int, ...], stride: tuple[int, ...]) -> Call:
    """A tensor of two numbers that claims another size."""
    storage = torch.storage.TypedStorage(wrap_storage=torch.zeros(2).untyped_storage(), dtype=torch.float32, _internal=True)
    return Call(torch._utils._rebuild_tensor_v2, storage, 0, size, stride, False, {})


def save(path: Path, value: object, *, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


@ZIPPED
def test_a_command_in_a_checkpoint_is_not_run(tmp_path: Path, zipped: bool) -> None:
    witness = malicious_checkpoint(tmp_path / "w.pth", zipped=zipped)
    text = refusal(read_inert, tmp_path / "w.pth")
    assert text.endswith("(reading it would run posix.system, which weights have no need of); use another file")
    assert not witness.exists()
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert witness.exists(), "the file of this test does what it is refused for"


@ZIPPED
def test_a_number_does_not_fill_the_memory(tmp_path: Path, zipped: bool) -> None:
    path = save(tmp_path / "w.pth", {"state_dict": {"a": torch.zeros(2)}, "meta": Call(bytearray, 10**12)}, zipped=zipped)
    assert "(reading it would make a bytearray, which weights have no need of)" in refusal(read_inert, path)


@ZIPPED
@pytest.mark.parametrize("size", [(1 << 33,), (1 << 45,), (1 << 62,), (-1,)], ids=str)
def test_a_size_that_is_not_true_is_refused_without_the_memory(tmp_path: Path, zipped: bool, size: tuple[int, ...]) -> None:
    path = save(tmp_path / "w.pth", {"state_dict": {"a": viewed(size, (1,))}}, zipped=zipped)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "is corrupt or not a checkpoint (cut off, or written by something else" in refusal(read_inert, path)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < ROOM


@ZIPPED
def test_a_storage_that_is_not_all_there_is_refused(tmp_path: Path, zipped: bool) -> None:
    """The pickle names how many numbers there are: many more than the file holds."""
    whole = save(tmp_path / "w.pth", {"state_dict": {"a": torch.zeros(70_000)}}, zipped=zipped).read_bytes()
    stored = (70_000).to_bytes(4, "little")
    assert whole.count(b"J" + stored) >= 1
    (tmp_path / "w.pth").write_bytes(whole.replace(b"J" + stored, b"J" + (2**31 - 1).to_bytes(4, "little")))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "is corrupt or not a checkpoint" in refusal(read_inert, tmp_path / "w.pth")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < ROOM


@ZIPPED
def test_one_number_shown_as_many_is_no_plain_tensor(tmp_path: Path, zipped: bool) -> None:
    path = save(tmp_path / "w.pth", {"a": viewed((1 << 20, 1 << 20), (0, 0)), "b": torch.zeros(3, 4).T}, zipped=zipped)
    content = read_inert(path)
    assert content["a"].shape == (1 << 20, 1 << 20)
    assert (is_plain(content["a"]), is_plain(content["b"])) == (False, True)


def test_compressed_records_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.pth", {"state_dict": {"a": torch.zeros(1 << 22)}})
    path = repacked(whole, tmp_path / "w.pth")
    assert path.stat().st_size < whole.stat().st_size / 500
    assert torch.equal(torch.load(path)["state_dict"]["a"], torch.zeros(1 << 22)), "torch would unpack it"
    text = refusal(read_inert, path)
    assert f"(it has {path.stat().st_size:,} bytes, and unpacks to 16,777" in text
    assert text.endswith("which torch.save never writes); use another file")


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = zip_bomb(tmp_path / "w.pth", "archive/data.pkl", size=1 << 26)
    assert "unpacks to 67,108,864, which torch.save never writes" in refusal(read_inert, path)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.pth", {"state_dict": {"a": torch.randn(1000)}})
    assert "is corrupt or not a checkpoint (cut off" in refusal(read_inert, truncated(whole, tmp_path / "w.pth"))


def test_a_module_beside_the_file_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("open('executed', 'w').close()\nclass Thing: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    path = save(tmp_path / "w.pth", {"state_dict": {"a": torch.zeros(2)}, "x": importlib.import_module("planted").Thing()})
    monkeypatch.delitem(sys.modules, "planted")
    Path("executed").unlink()
    assert "reading it would run planted.Thing" in refusal(read_inert, path)
    assert not Path("executed").exists()
