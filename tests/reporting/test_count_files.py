"""Files of counts: written and read back, found in run folders, refused where they are none or do not go together."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fcn_lightning import InputError
from fcn_lightning.evaluation.image_counts import Counts
from fcn_lightning.reporting import count_files
from fcn_lightning.reporting.count_files import find_counts, read_counts, require_same_images, step_file, write_counts
from fcn_lightning.reporting.record import list_hash
from tests.reporting.count_data import CLASSES, counts, write


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    content = counts(0.1, images=5)
    path = write(tmp_path / "run/counts.npz", content)
    read = read_counts(path)
    for part in ("index", "intersect", "pred", "true"):
        assert getattr(read.counts, part).dtype == torch.int64
        assert getattr(read.counts, part).tolist() == getattr(content, part).tolist()
    assert read.names == ("000.jpg", "001.jpg", "002.jpg", "003.jpg", "004.jpg")
    assert read.classes == CLASSES
    assert read.sha256 == list_hash(read.names)
    assert [file.name for file in path.parent.iterdir()] == ["counts.npz"]


@pytest.mark.parametrize(("largest", "dtype"), [(255, "uint8"), (2**21, "uint32"), (2**40, "uint64")])
def test_numbers_take_the_room_that_they_need(tmp_path: Path, largest: int, dtype: str) -> None:
    content = replace(counts(images=2), true=torch.full((2, 3), largest), intersect=torch.zeros(2, 3, dtype=torch.int64))
    path = write(tmp_path / "counts.npz", content)
    with np.load(path, allow_pickle=False) as archive:
        assert archive["true"].dtype == dtype
    assert read_counts(path).counts.true.tolist() == content.true.tolist()


def test_a_file_of_a_large_data_set_is_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = (rng.integers(0, 250_000, (2000, 150)) * (rng.random((2000, 150)) < 0.06) for _ in range(3))
    write_counts(tmp_path / "a.npz", Counts(torch.arange(2000), *map(torch.from_numpy, parts)), ["x"] * 2000, ["class"] * 150)
    assert (tmp_path / "a.npz").stat().st_size < 500_000


def test_names_follow_the_index_and_do_not_depend_on_the_root(tmp_path: Path) -> None:
    some = Counts(torch.tensor([1, 3]), *(torch.ones(2, 3, dtype=torch.int64) for _ in range(3)))
    for root in ("/data/city", "data/city", ""):
        names = [str(Path(root) / name) for name in ("val/bonn/a.png", "val/bonn/b.png", "val/köln/a.png", "val/köln/c.png")]
        write_counts(tmp_path / "a.npz", some, names, CLASSES)
        assert read_counts(tmp_path / "a.npz").names == ("bonn/b.png", "köln/c.png")
    write_counts(tmp_path / "a.npz", some, ["val 0", "val 1", "val 2", "val 3"], CLASSES)
    assert read_counts(tmp_path / "a.npz").names == ("val 1", "val 3")


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "counts.npz", counts(images=3))

    def full(file: object, **arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        write(path, counts(images=4))
    assert len(read_counts(path).names) == 3


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("true.npy")
    data = bytearray(path.read_bytes())
    data[entry.header_offset + 30 + len(entry.filename) + entry.compress_size] ^= 1  # near the end of its numbers
    path.write_bytes(data)


def with_array(key: str, values: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with np.load(path) as archive:
            content = dict(archive)
        np.savez(path, **content | {key: np.array(values)})

    return change


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut off": half,
    "a flipped bit": flipped,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("mIoU 0.5\n"),
    "a single array": lambda path: path.write_bytes(_npy()),
    "another archive": lambda path: np.savez(path, weights=np.zeros(3)),
    "pickled": with_array("names", [{"a": 1}]),
    "fewer names": with_array("names", ["000.jpg"]),
    "other names": with_array("names", ["x", "y", "z"]),
    "text for counts": with_array("true", [["a", "b", "c"]] * 3),
    "negative counts": with_array("true", [[-1, 0, 0]] * 3),
    "one row less": with_array("pred", np.zeros((2, 3), np.uint8)),
    "more predicted right than there is": with_array("intersect", np.full((3, 3), 60_000, np.uint32)),
}


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(4))
    return buffer.getvalue()


@pytest.mark.parametrize("damage", DAMAGE)
def test_other_and_damaged_files_are_refused(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path / "counts.npz", counts(images=3))
    DAMAGE[damage](path)
    with pytest.raises(InputError, match=r"counts.npz is no file of counts, or damaged \(.+\); evaluate again"):
        read_counts(path)


def test_finds_the_file_of_a_run(tmp_path: Path) -> None:
    run, evaluated = tmp_path / "run", tmp_path / "evaluated"
    for step in (500, 1000, 1_000_000):
        write(step_file(run, step), counts(images=2))
    (run / "counts/notes.txt").touch()
    write(evaluated / "counts.npz", counts(images=2))
    assert step_file(run, 500).name == "step_000500.npz"
    assert find_counts("a", str(evaluated)) == evaluated / "counts.npz"
    assert find_counts("a", str(evaluated / "counts.npz")) == evaluated / "counts.npz"
    assert find_counts("a", str(run)) == run / "counts/step_1000000.npz", "the newest"
    status = run / "status.json"
    status.write_text(json.dumps({"state": "running", "best": None}))
    assert find_counts("a", str(run)) == run / "counts/step_1000000.npz"
    status.write_text(json.dumps({"state": "done", "best": {"step": 1000, "mIoU": 0.5}}))
    assert find_counts("a", str(run)) == run / "counts/step_001000.npz"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ('{"best": {"step": 7, "mIoU": 0.5}}', "step_000007.npz of the best validation is absent; give a=<another file in"),
        ("{", "status.json does not say which validation is best"),
        ("[]", "status.json does not say which validation is best"),
        ('{"best": {"mIoU": 0.5}}', "status.json does not say which validation is best"),
        (None, "holds neither counts.npz nor counts/step_<step>.npz"),
    ],
)
def test_a_run_folder_without_its_file(tmp_path: Path, status: str | None, words: str) -> None:
    if status is not None:
        write(step_file(tmp_path, 500), counts(images=2))
        (tmp_path / "status.json").write_text(status)
    with pytest.raises(InputError, match=words):
        find_counts("a", str(tmp_path))


def test_files_that_do_not_go_together(tmp_path: Path) -> None:
    a = read_counts(write(tmp_path / "a.npz", counts(images=4)))
    elsewhere = read_counts(write(tmp_path / "b.npz", counts(0.1, images=4), folder="/elsewhere"))
    require_same_images(a, elsewhere)

    def refuse(other: count_files.CountFile, words: str) -> None:
        with pytest.raises(InputError, match=words):
            require_same_images(a, other)

    fewer = read_counts(write(tmp_path / "c.npz", counts(images=3)))
    refuse(fewer, r"other images: 4 in a, 3 in b, and 1 only in a, such as 003.jpg; evaluate both on the same images")
    renamed = read_counts(write(tmp_path / "d.npz", counts(images=4), classes=("road", "tree", "pole")))
    refuse(renamed, r"other classes: 3 in a, 3 in b, and 1 only in a, such as sign; evaluate both on one data set")
    turned = read_counts(write(tmp_path / "e.npz", counts(images=4), classes=("tree", "road", "sign")))
    refuse(turned, "other classes: the same ones in another order")
    masks = read_counts(write(tmp_path / "f.npz", counts(images=4, seed=1)))
    refuse(masks, r"other masks: 000.jpg has \d+ pixels of road in a, \d+ in b; evaluate both with the same masks")
