"""Weights in every published layout load to the same tensors; anything else is refused in words, and nothing is executed."""

import io
import os
import pickle
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fcn_lightning import zoo
from fcn_lightning.zoo import recipes
from fcn_lightning.zoo.load import load
from fcn_lightning.zoo.weights import load_exactly, open_weights
from tests.zoo.published import ROW, State, assert_equal, content, named_by_hash, names_of_classes, random_state, refusal
from tests.zoo.release_1x import mmengine, release_1x


@pytest.fixture(scope="module")
def state() -> State:
    return random_state(zoo.build(ROW))


def save(path: Path, value: object, *, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


# Layouts


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before zip"])
def test_a_published_file(state: State, tmp_path: Path, zipped: bool) -> None:
    path = save(tmp_path / "w.pth", content(state), zipped=zipped)
    assert zipfile.is_zipfile(path) == zipped
    found = open_weights(path)
    assert_equal(found.state, state)
    assert (found.path, found.row, found.card) == (path, None, None)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before zip"])
def test_a_bare_state_dict(state: State, tmp_path: Path, zipped: bool) -> None:
    assert_equal(open_weights(save(tmp_path / "w.pth", state, zipped=zipped)).state, state)


@pytest.mark.parametrize("bare", [True, False])
def test_the_prefix_of_a_distributed_wrapper(state: State, tmp_path: Path, bare: bool) -> None:
    wrapped = {f"module.{key}": value for key, value in state.items()}
    found = open_weights(save(tmp_path / "w.pth", wrapped if bare else content(wrapped)))
    assert_equal(found.state, state)


@pytest.mark.parametrize("absent", ["num_batches_tracked", "auxiliary_head."])
def test_what_old_files_lack(state: State, tmp_path: Path, absent: str) -> None:
    kept = {key: value for key, value in state.items() if absent not in key}
    assert len(kept) < len(state)
    found = open_weights(save(tmp_path / "w.pth", content(kept)))
    assert_equal(found.state, kept)
    model = zoo.build(ROW)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    load_exactly(model, found, recipes.row(ROW))
    assert_equal(model.state_dict(), {key: kept.get(key, before[key]) for key in before})


def test_a_checkpoint_of_a_run(trained: Path) -> None:
    path = trained / "checkpoints/best.ckpt"
    written = torch.load(path, weights_only=True)["state_dict"]
    found = open_weights(path)
    assert all(key.startswith("model.") for key in written)
    assert_equal(found.state, {key.removeprefix("model."): value for key, value in written.items()})
    assert found.card is not None
    assert found.card["dataset"] == "shapes"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before zip"])
def test_a_file_of_release_1x(state: State, tmp_path: Path, zipped: bool) -> None:
    with mmengine():
        path = save(tmp_path / "w.pth", release_1x(state), zipped=zipped)
    assert_equal(open_weights(path).state, state)
    assert "mmengine" not in sys.modules, "nothing was imported"


def test_a_file_of_release_1x_written_with_numpy_1(state: State, tmp_path: Path) -> None:
    with mmengine():
        new = save(tmp_path / "new.pth", release_1x(state))
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(tmp_path / "w.pth", "w") as target:
        for name in source.namelist():
            pickled = source.read(name)
            if name.endswith("data.pkl"):
                assert pickled.count(b"numpy._core.multiarray") == 2, "scalar and array"
                pickled = pickled.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(name, pickled)
    assert_equal(open_weights(tmp_path / "w.pth").state, state)


def test_names_in_a_file_are_never_used(state: State, tmp_path: Path) -> None:
    names, stored = names_of_classes(), content(state)
    assert sorted(stored["meta"]["CLASSES"]) == sorted(names)
    assert list(stored["meta"]["CLASSES"]) != names
    card = load(ROW, weights=save(tmp_path / "w.pth", stored)).card
    assert list(card.labels.classes) == names
    assert card.labels.palette[0] == (128, 64, 128)


# What is known about the origin


def test_the_published_file_is_verified(published: tuple[str, Path]) -> None:
    name, path = published
    found = open_weights(path)
    assert (found.row, found.verified) == (name, True)
    assert found.note == f"verified: SHA-256 {path.stem[-8:]} as published"
    assert found.sha256.startswith(path.stem[-8:])


def test_other_files_are_not_verified(state: State, tmp_path: Path, published: tuple[str, Path]) -> None:
    right = published[1].read_bytes()
    (tmp_path / "w.pth").write_bytes(right)
    nameless = open_weights(tmp_path / "w.pth")
    assert (nameless.row, nameless.verified, nameless.note) == (None, False, "unverified: the file's name carries no hash")

    stem = published[1].stem[:-9]
    own = open_weights(named_by_hash(save(tmp_path / "own", content(state)), stem))
    assert (own.row, own.verified) == (None, False)
    assert own.note == f"unverified: SHA-256 {own.sha256[:8]} is what the name says, but of no published file"


def test_a_changed_published_file_is_refused(state: State, tmp_path: Path, published: tuple[str, Path]) -> None:
    path = save(tmp_path / published[1].name, content(state))
    assert f"{path} is not the published file that its name says" in refusal(open_weights, path)


# Refusals

PAYLOADS = {"os": (os.mkdir, ("executed",)), "eval": (eval, ("__import__('os').mkdir('executed')",))}


class Malicious:
    def __init__(self, payload: str) -> None:
        self.payload = payload

    def __reduce__(self) -> tuple[Any, ...]:
        return PAYLOADS[self.payload]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before zip"])
@pytest.mark.parametrize("hidden", [True, False], ids=["in a foreign class", "open"])
@pytest.mark.parametrize(("payload", "called"), [("os", "mkdir"), ("eval", "eval")])
def test_nothing_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payload: str, called: str, hidden: bool, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    state = {"a": torch.zeros(2)}
    with mmengine():
        bad = release_1x(state, extra=Malicious(payload)) if hidden else {"state_dict": state, "meta": Malicious(payload)}
        path = save(Path("w.pth"), bad, zipped=zipped)
    text = refusal(open_weights, path)
    reason = rf"reading it would run [\w.]*{called}, which weights have no need of"
    assert re.fullmatch(rf"checkpoint w\.pth is corrupt or not a checkpoint \({reason}\); use another file", text)
    assert not Path("executed").exists()
    with mmengine():
        torch.load(path, weights_only=False)
    assert Path("executed").exists(), "the file of this test does what it is refused for"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before zip"])
def test_a_cut_off_file_is_refused_wherever_it_ends(tmp_path: Path, zipped: bool) -> None:
    whole = save(tmp_path / "whole.pth", content({"a": torch.randn(40), "b": torch.ones(3)}), zipped=zipped).read_bytes()
    path = tmp_path / "w.pth"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert f"checkpoint {path} is corrupt or not a checkpoint (" in refusal(open_weights, path)
    path.write_bytes(whole[:-200])
    assert refusal(open_weights, path).endswith("(cut off, or written by something else than torch.save); use another file")


def torchscript() -> bytes:
    buffer = io.BytesIO()
    with pytest.warns(FutureWarning):
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (lambda: b"<!DOCTYPE html>\n<html><body>404. That is an error.</body></html>\n", "written by something else"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 5\n", "written by something else"),
        (torchscript, "(a TorchScript archive)"),
        (lambda: pickle.dumps({"state_dict": {"a": [1.0]}}), "written by something else"),
        (lambda: pickle.dumps({"state_dict": {"a": [1.0]}}, protocol=2), "written by something else"),
    ],
    ids=["html", "lfs", "torchscript", "pickle", "pickle 2"],
)
def test_other_files_are_refused(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, written: Callable[[], bytes], words: str
) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(written())
    recwarn.clear()
    assert words in refusal(open_weights, path)
    assert not recwarn.list, "the sentence is all that is said"


@pytest.mark.parametrize(
    "value",
    [
        {"state_dict": {"a": torch.zeros(2), "b": 1.0}},
        {"state_dict": {}},
        {"state_dict": [torch.zeros(2)]},
        {"meta": {}, "model": {"a": torch.zeros(2)}},
        {"state_dict": {"a": torch.zeros(2, device="meta")}},
        {"state_dict": {"a": torch.eye(2).to_sparse()}},
        {},
    ],
    ids=["number", "empty", "list", "other key", "meta", "sparse", "nothing"],
)
def test_a_file_without_weights_is_refused(tmp_path: Path, value: object) -> None:
    path = save(tmp_path / "w.pth", value)
    text = f"{path} holds no weights (a `state_dict` of tensors); give a published file or a checkpoint of a run"
    assert refusal(open_weights, path) == text


@pytest.mark.parametrize("value", [[torch.zeros(2)], torch.zeros(2)], ids=["list", "tensor"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, value: object) -> None:
    path = save(tmp_path / "w.pth", value)
    assert f"{path} holds a {type(value).__name__}, not a checkpoint" in refusal(open_weights, path)
