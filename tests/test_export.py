"""Export through the command: the file is one that mmsegmentation loads strictly, and nothing is overwritten."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fcn_lightning.data.shapes import LABELS
from fcn_lightning.models.fcn import fcn
from fcn_lightning.zoo.weights import open_weights
from tests.conftest import Run
from tests.zoo.published import ROW, assert_equal, content, names_of_classes, random_state, working_state


def keys_sha256(state: dict[str, Tensor]) -> str:
    """The hash of names and shapes that the golden values have of each network with 19 classes."""
    shapes = {key: (19, *value.shape[1:]) if ".conv_seg." in key else value.shape for key, value in state.items()}
    lines = sorted(f"{key} {'x'.join(map(str, shape))}" for key, shape in shapes.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def published_sha256(golden: dict[str, Any], backbone: str) -> str:
    """The hash of a network's names and shapes for Cityscapes, as mmsegmentation has them."""
    found = {row["state_dict_sha256"] for row in golden["model"]["rows"] if (row["backbone"], row["num_classes"]) == (backbone, 19)}
    (digest,) = found
    return str(digest)


def export(run: Run, *overrides: str) -> dict[str, Any]:
    result = run("export", *overrides, "output=out/w.pth")
    assert result.status == 0, result.err
    digest = hashlib.sha256(Path("out/w.pth").read_bytes()).hexdigest()
    assert result.out.splitlines()[-1] == f"out/w.pth  SHA-256 {digest}"
    assert [path.name for path in Path("out").iterdir()] == ["w.pth"]
    written: dict[str, Any] = torch.load("out/w.pth", weights_only=True)
    return written


@pytest.mark.parametrize("checkpoint", ["", "/checkpoints/last.ckpt"])
def test_a_checkpoint_goes_around(run: Run, trained: Path, golden: dict[str, Any], checkpoint: str) -> None:
    written = export(run, f"checkpoint={trained}{checkpoint}", "format=mmseg")
    source = open_weights(trained / (checkpoint.removeprefix("/") or "checkpoints/best.ckpt"))
    back = open_weights("out/w.pth")
    assert_equal(back.state, source.state)
    assert_equal(written["state_dict"], source.state)
    assert back.card is None

    assert all(value.is_contiguous() for value in written["state_dict"].values())
    assert keys_sha256(written["state_dict"]) == published_sha256(golden, "R-18b-D8")


def test_names_and_colours_are_there_for_both_releases(run: Run, trained: Path) -> None:
    meta = export(run, f"checkpoint={trained}", "format=mmseg")["meta"]
    assert meta["CLASSES"] == meta["dataset_meta"]["classes"] == LABELS.classes
    assert meta["PALETTE"] == meta["dataset_meta"]["palette"] == [list(color) for color in LABELS.palette]


def test_published_weights_of_a_named_row(run: Run, tmp_path: Path, golden: dict[str, Any]) -> None:
    state = working_state()
    torch.save(content(state), tmp_path / "given.pth")
    written = export(run, f"weights={tmp_path}/given.pth", f"row={ROW}")
    assert_equal(written["state_dict"], state)
    assert keys_sha256(written["state_dict"]) == published_sha256(golden, "R-18-D8")
    assert list(written["meta"]["CLASSES"]) == names_of_classes(), "the row's own names, not those in the file"


def test_an_existing_output_stays(run: Run, trained: Path) -> None:
    Path("w.pth").write_bytes(b"mine")
    Path("folder").mkdir()
    for output in ("w.pth", "folder"):
        result = run("export", f"checkpoint={trained}", f"output={output}")
        assert (result.status, result.err) == (1, f"error: output={output} exists, and nothing is overwritten; give a new file\n")
    assert Path("w.pth").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("checkpoint={trained}", "output=w.pth", "format=onnx"), "format=onnx is not known; use mmseg"),
        (("output=w.pth",), "checkpoint is not set; add checkpoint=<value>, or weights=<file or id of a published row>"),
        (("checkpoint={trained}", "weights=a.pth", "output=w.pth"), "are both networks; give one of the two"),
        (("checkpoint={trained}",), "output is not set; add output=<value> to the command"),
        (("checkpoint=no.ckpt", "output=w.pth"), "no.ckpt does not exist; give checkpoint="),
        (("weights=a.pth", f"row={ROW[:-1]}", "output=w.pth"), f"is no row of the zoo (did you mean {ROW}?)"),
        (
            ("checkpoint={trained}", "output=w-0123abcd.pth"),
            "output=w-0123abcd.pth promises a SHA-256 that starts with 0123abcd; leave -0123abcd out of the name",
        ),
        (("checkpoint={trained}", "output=taken/w.pth"), "taken/w.pth could not be written ("),
        (("checkpoint={trained}", "output=w.pth", "size=3"), "size is no key of this command"),
    ],
)
def test_bad_requests(run: Run, trained: Path, overrides: tuple[str, ...], words: str) -> None:
    Path("taken").write_bytes(b"a file where a folder would be needed")
    result = run("export", *(item.format(trained=trained) for item in overrides))
    assert result.status == 1
    assert words in result.err
    assert result.err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["taken"]


def test_a_full_disk_leaves_nothing(run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(value: object, path: Path) -> None:
        path.write_bytes(b"half a file")
        raise RuntimeError("[enforce fail at inline_container.cc:664] .\nunexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", fail)
    result = run("export", f"checkpoint={trained}", "output=out/w.pth")
    assert result.status == 1
    assert (
        "out/w.pth could not be written ([enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0); give output="
        in result.err
    )
    assert list(Path("out").iterdir()) == []


def test_a_file_of_another_row_is_not_exported(run: Run, tmp_path: Path) -> None:
    torch.save(content(random_state(fcn(5, depth=18, deep_stem=True))), tmp_path / "given.pth")
    result = run("export", f"weights={tmp_path}/given.pth", f"row={ROW}", "output=w.pth")
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert f"does not fit the row {ROW}: it has 5 classes, expected 19" in result.err
    assert not Path("w.pth").exists()
