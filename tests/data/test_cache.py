"""The cache of decoded samples: a hit is what decoding gives, whoever wrote it, and there is room for it or it is refused."""

import errno
import gc
import logging
import multiprocessing
import os
import pickle
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from fcn_lightning import InputError
from fcn_lightning.data import cache, dataset, shared_memory
from fcn_lightning.data.ade20k import ADE20KDataModule
from fcn_lightning.data.cache import CachedDataset, SampleCache
from fcn_lightning.data.cityscapes import CityscapesDataModule
from fcn_lightning.data.dataset import Labels, SegmentationDataset
from fcn_lightning.data.images import UInt8
from fcn_lightning.data.pairs import Pair
from fcn_lightning.data.sample_files import SampleFiles, file_size
from fcn_lightning.data.shapes import Shapes
from fcn_lightning.data.voc12aug import VOC12AugDataModule
from tests.data.layouts import draw, module
from tests.hostile import huge_png

LABELS = Labels(("a", "b", "c"), ((0, 0, 0),) * 3, (0, 1, 2))
LAYOUTS = {"cityscapes": CityscapesDataModule, "voc12aug": VOC12AugDataModule, "ade20k": ADE20KDataModule}
SIZE = file_size(30, 50)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def shm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders in the place of the system's shared memory and the user's cache."""
    shm = tmp_path / "shm"
    shm.mkdir()
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", shm)
    monkeypatch.setenv("FCN_CACHE", str(tmp_path / "cache"))
    return shm


@pytest.fixture
def plain(tmp_path: Path) -> SegmentationDataset:
    """Four JPEG images of 30x50, the last one rotated by its EXIF data, with palette masks."""
    rng = np.random.default_rng(0)
    pairs = [Pair(tmp_path / f"{index}.jpg", tmp_path / f"{index}.png") for index in range(4)]
    for index, pair in enumerate(pairs):
        size = (30, 50) if index < 3 else (50, 30)
        exif = Image.Exif()
        exif[0x0112] = 1 if index < 3 else 6
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(pair.image, exif=exif)
        save_mask(pair.mask, rng.integers(0, 3, (30, 50), np.uint8))
    return SegmentationDataset(pairs, LABELS)


def save_mask(path: Path, pixels: UInt8) -> None:
    """Write a palette PNG, whose size does not depend on the pixels."""
    mask = Image.fromarray(pixels)
    mask.putpalette([9, 8, 7, 200, 100, 0, 1, 2, 3])
    mask.save(path, compress_level=0)


def cached(data: SegmentationDataset, kind: str = "disk") -> CachedDataset:
    wrapped = SampleCache(kind).over(data)
    assert isinstance(wrapped, CachedDataset)
    return wrapped


def agree(one: SegmentationDataset, two: SegmentationDataset) -> bool:
    pairs = [(one[index], two[index]) for index in range(len(one))]
    return all(np.array_equal(a, b) and a.dtype == b.dtype for x, y in pairs for a, b in zip(x, y, strict=True))


def decode_no_more(patch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> UInt8:
        raise AssertionError(f"{path} was decoded again")

    patch.setattr(dataset, "read_image", fail)
    patch.setattr(dataset, "read_index_map", fail)


@pytest.mark.parametrize("kind", ["disk", "ram"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_hit_is_what_decoding_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> None:
    plain = module(LAYOUTS[name], draw(name, tmp_path / "data")).build("train")
    decoded = [plain[index] for index in range(len(plain))]
    data = cached(plain, kind)
    assert agree(data, plain), "what is decoded is handed on"
    decode_no_more(monkeypatch)
    again = cached(plain, kind)
    for index, (image, mask) in enumerate(decoded):
        hit = again[index]
        assert np.array_equal(hit[0], image)
        assert np.array_equal(hit[1], mask)
    assert again.name(0) == plain.name(0)
    assert len(again) == len(plain)
    assert again.labels == plain.labels
    assert again.present() is again


def test_a_rotated_image_is_kept_rotated(plain: SegmentationDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    want = plain[3]
    data = cached(plain)
    assert agree(data, plain)
    decode_no_more(monkeypatch)
    assert data[3][0].shape == (30, 50, 3)
    assert np.array_equal(data[3][0], want[0])


def test_another_process_reads_without_decoding(plain: SegmentationDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    data = cached(plain, "ram")
    want = [data[index] for index in range(len(data))]
    decode_no_more(monkeypatch)

    def read() -> None:
        other = cached(plain, "ram")
        hits = [other[index] for index in range(len(other))]
        os._exit(0 if all(np.array_equal(a, b) for x, y in zip(hits, want, strict=True) for a, b in zip(x, y, strict=True)) else 1)

    process = multiprocessing.get_context("fork").Process(target=read)
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert np.array_equal(data[0][0], want[0][0]), "the other process did not take the folder along"


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_fill_the_cache_and_leave_it(plain: SegmentationDataset, monkeypatch: pytest.MonkeyPatch, context: str) -> None:
    data = cached(plain, "ram")
    loader = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context=context)
    assert [tuple(mask.shape) for _, mask in loader] == [(30, 50)] * 4
    assert data.missing_bytes() == 0
    decode_no_more(monkeypatch)
    assert data[0][0].shape == (30, 50, 3)


def test_what_goes_to_a_worker_is_small(plain: SegmentationDataset) -> None:
    many = SegmentationDataset(list(plain.pairs) * 250, LABELS)
    data = cached(many)
    extra = len(pickle.dumps(data)) - len(pickle.dumps(many))
    assert extra < 1000 * 42 + 1000  # 32 bytes of key and 8 of size each


def test_a_changed_file_is_decoded_anew(plain: SegmentationDataset) -> None:
    data = cached(plain)
    assert agree(data, plain)
    old = data[1]
    mask = np.full((30, 50), 2, np.uint8)
    before = plain.pairs[1].mask.stat()
    save_mask(plain.pairs[1].mask, mask)
    assert plain.pairs[1].mask.stat().st_size == before.st_size
    os.utime(plain.pairs[1].mask, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # clocks of file systems are coarse
    assert np.array_equal(data[1][1], old[1]), "a run goes on with what it started with"
    again = cached(plain)
    assert again.missing_bytes() == SIZE
    assert np.array_equal(again[1][1], mask)
    assert agree(again, plain)


def test_a_file_that_changed_after_the_start_is_not_taken_for_the_old_one(plain: SegmentationDataset) -> None:
    data = cached(plain)
    pair = plain.pairs[0]
    before = pair.mask.stat()
    content = pair.mask.read_bytes()
    Image.fromarray(np.full((30, 50), 2, np.uint8)).save(pair.mask)
    assert (data[0][1] == 2).all()
    pair.mask.write_bytes(content)  # as a copy that is restored with its time
    os.utime(pair.mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert agree(cached(plain), plain)


@pytest.mark.parametrize(
    "other", [Labels(LABELS.classes, LABELS.palette, (1, 0, 2)), Labels(LABELS.classes[:2], LABELS.palette[:2], (0, 1), (2, 255))]
)
def test_another_label_table_is_another_sample(plain: SegmentationDataset, other: Labels) -> None:
    assert agree(cached(plain), plain)
    relabelled = SegmentationDataset(plain.pairs, other)
    data = cached(relabelled)
    assert data.missing_bytes() == 4 * SIZE
    assert agree(data, relabelled)
    assert agree(data, relabelled)
    assert agree(cached(plain), plain)


@pytest.mark.parametrize("decoder", [(cache.cv2, "5.9.9"), (cache.PIL, "99.0")], ids=["cv2", "PIL"])
def test_another_decoder_decodes_anew(
    plain: SegmentationDataset, monkeypatch: pytest.MonkeyPatch, decoder: tuple[object, str]
) -> None:
    assert agree(cached(plain), plain)
    monkeypatch.setattr(decoder[0], "__version__", decoder[1])
    assert cached(plain).missing_bytes() == 4 * SIZE


def test_a_cut_off_file_is_written_again(plain: SegmentationDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    data = cached(plain)
    assert agree(data, plain)
    want = plain[2]
    path = data.files.path(data.keys[2].decode())
    os.truncate(path, 1000)
    assert agree(data, plain)
    decode_no_more(monkeypatch)
    assert np.array_equal(data[2][0], want[0])


def test_what_cannot_be_decoded_is_not_kept(plain: SegmentationDataset) -> None:
    Image.fromarray(np.full((30, 50), 77, np.uint8)).save(plain.pairs[0].mask)
    plain.pairs[1].image.write_bytes(b"no image")
    data = cached(plain)
    for _ in range(2):
        with pytest.raises(InputError, match="holds label 77"):
            data[0]
        with pytest.raises(InputError, match="not an image"):
            data[1]
    assert not [path for path in data.files.folder.rglob("*") if path.is_file()]


def test_the_size_is_said_before_anything_is_read(
    plain: SegmentationDataset, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    big = tmp_path / "big.png"
    Image.new("RGB", (2048, 1024)).save(big)
    data = SegmentationDataset([*plain.pairs, *[Pair(big, big)] * 150], LABELS)
    caplog.set_level(logging.INFO)
    usage = Usage(9e12, 1e12, 8e12)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with monkeypatch.context() as patch:
        decode_no_more(patch)
        SampleCache("disk").over(data)
    assert caplog.messages == [f"cache: 1.3 GB for 154 samples in {tmp_path / 'cache'}, 0.0 kB there, 8000.0 GB free"]

    filled = cached(plain)
    for index in range(3):
        filled[index]
    caplog.clear()
    both = SampleCache("disk")
    both.over(plain)
    opened = []
    look = Image.open
    monkeypatch.setattr(Image, "open", lambda path, **options: opened.append(path) or look(path, **options))
    both.over(SegmentationDataset(plain.pairs[1:], LABELS))
    assert [message.partition("cache, ")[2] for message in caplog.messages] == [
        "18.3 kB there, 8000.0 GB free",
        "12.2 kB there, 8000.0 GB free, 6.1 kB of it for the samples above",
    ]
    assert opened == [plain.pairs[3].image], "of what is there, no header is read"


def test_what_is_there_has_the_size_that_was_said(plain: SegmentationDataset) -> None:
    data = cached(plain)
    assert data.missing_bytes() == 4 * SIZE
    assert agree(data, plain)
    assert data.missing_bytes() == 0
    assert sum(path.stat().st_size for path in data.files.folder.rglob("*") if path.is_file()) == 4 * SIZE


def test_a_full_disk_is_refused(plain: SegmentationDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = Usage(10 * SIZE, 0, int(4.1 * SIZE))  # enough, without the margin
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        InputError,
        match=r"dataset.cache=disk needs 24.4 kB more in .*cache, and only 25.0 kB are free there; set the variable FCN_CACHE",
    ):
        SampleCache("disk").over(plain)
    usage = Usage(10 * SIZE, 0, int(4.3 * SIZE))
    data = SampleCache("disk").over(plain)
    assert agree(data, plain)
    usage = Usage(10 * SIZE, 0, 0)
    SampleCache("disk").over(plain)  # all is there


def test_two_splits_have_to_fit_together(plain: SegmentationDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = Usage(10 * SIZE, 0, int(4.5 * SIZE))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    both = SampleCache("disk")
    train = both.over(SegmentationDataset(plain.pairs[:3], LABELS))
    val = SegmentationDataset(plain.pairs[2:], LABELS)
    with pytest.raises(InputError, match=r"needs 30.5 kB more in .* only 27.5 kB are free there"):
        both.over(val)
    _ = train[0], train[1]  # what has been written is not asked for twice
    assert agree(both.over(val), val)


@pytest.mark.parametrize("limit", ["in memory", "within the memory limit"])
def test_memory_that_is_too_small_is_refused(
    plain: SegmentationDataset, monkeypatch: pytest.MonkeyPatch, limit: str, shm: Path
) -> None:
    monkeypatch.setattr(shared_memory, "free_memory", lambda: {"in /dev/shm": 10**12, limit: 4 * SIZE})
    with pytest.raises(InputError, match=rf"dataset.cache=ram needs .* are free {limit}.*; set dataset.cache to disk or none"):
        SampleCache("ram").over(plain)
    gc.collect()
    assert not list(shm.iterdir()), "nothing stays in memory"


def test_a_disk_that_fills_up_stops_no_run(
    plain: SegmentationDataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = cached(plain)

    def full(self: SampleFiles, key: str, sample: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SampleFiles, "write", full)
    assert agree(data, plain)
    assert [message for message in caplog.messages if "No space left" in message] == [
        f"cache: {data.files.folder} cannot be written (No space left on device); what is not there is decoded each time"
    ]


def test_the_memory_is_free_when_the_data_set_is_gone(plain: SegmentationDataset, shm: Path) -> None:
    data = cached(plain, "ram")
    assert agree(data, plain)
    assert list(shm.rglob("samples"))
    del data
    assert not list(shm.iterdir())


def test_what_a_killed_run_left_in_memory_goes_at_the_next_start(shm: Path) -> None:
    left = shm / f"fcn_lightning-{os.getuid()}/data"
    left.mkdir(parents=True)
    (left / "lock").touch()
    SampleCache("none")
    assert not left.exists()


def test_no_cache_is_the_data_set_itself(plain: SegmentationDataset, tmp_path: Path) -> None:
    assert SampleCache("none").over(plain) is plain
    assert not (tmp_path / "cache").exists()


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert SampleCache("disk", str(tmp_path / "mine")).folder == tmp_path / "mine"
    assert SampleCache("disk").folder == tmp_path / "cache"
    monkeypatch.delenv("FCN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert SampleCache("disk").folder == tmp_path / "xdg/fcn_lightning"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SampleCache("disk").folder == tmp_path / ".cache/fcn_lightning"


def test_settings_that_cannot_work(plain: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"dataset.cache=memory is not known; use none, ram or disk"):
        SampleCache("memory")
    with pytest.raises(InputError, match=r"this data set is drawn.*set dataset.cache=none"):
        SampleCache("ram").over(Shapes(3, 32, 0))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"the cache folder .*file cannot be made \(.*\); set the variable FCN_CACHE"):
        SampleCache("disk", str(tmp_path / "file")).over(plain)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"must not be written by this user; set the variable FCN_CACHE"):
        SampleCache("disk").over(plain)
    plain.pairs[0].image.unlink()
    with pytest.raises(InputError, match=r"cannot read .*0.jpg"):
        SampleCache("disk").over(plain)
    monkeypatch.setattr(cache.locks, "AVAILABLE", False)
    with pytest.raises(InputError, match="needs file locks"):
        SampleCache("disk")


@pytest.mark.parametrize("name", ["samples", "parts"])
def test_a_folder_that_anybody_may_write_is_refused(plain: SegmentationDataset, tmp_path: Path, name: str) -> None:
    cached(plain)[0]
    (tmp_path / "cache" / name).chmod(0o777)
    with pytest.raises(InputError, match=r"anybody may write into the cache folder .*; run chmod -R o-w .*, or set the variable"):
        SampleCache("disk").over(plain)
    (tmp_path / "cache" / name).chmod(0o775)
    cached(plain)[0]


def test_an_image_of_too_many_pixels_is_said_when_it_is_read(plain: SegmentationDataset) -> None:
    huge_png(plain.pairs[1].image, 60_000, 60_000)
    data = cached(plain)
    assert data.sizes[1] == 0
    with pytest.raises(InputError, match="declares more pixels"):
        data[1]
