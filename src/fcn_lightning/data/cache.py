"""The cache of decoded samples: each image and mask is decoded once, later reads map the pixels into memory.

What is stored is what `SegmentationDataset` returns: uint8 RGB, and the mask in classes. A sample is known by its files
(path, size, time of change), the label table and the versions of the decoders, so a changed file is decoded anew.
"""

import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray

from fcn_lightning import InputError
from fcn_lightning.data import locks, shared_memory
from fcn_lightning.data.dataset import Labels, SegmentationDataset
from fcn_lightning.data.images import UNREADABLE, open_image
from fcn_lightning.data.pairs import Pair
from fcn_lightning.data.sample_files import VERSION, Sample, SampleFiles, file_size
from fcn_lightning.data.shared_memory import MemoryFolder

log = logging.getLogger(__name__)

KINDS = ("none", "ram", "disk")
FOLDER = "FCN_CACHE"  # environment variable: where samples are kept on disk
KEY_DIGITS = 32
MARGIN = 1.05  # room asked for, over what is needed
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
THREADS, CHUNK = 8, 256  # file systems answer several questions at once, network ones above all

T = TypeVar("T")


class SampleCache:
    """Where the decoded samples of a run's data sets are kept, and whether there is room for all of them.

    Args:
        kind: "none"; "ram", in memory as long as a process uses it; or "disk", until somebody deletes it.
        folder: of the disk; null: the environment variable FCN_CACHE, else `fcn_lightning` in the user's cache folder.
    """

    def __init__(self, kind: str, folder: str | None = None) -> None:
        """Remove what killed runs left in memory; nothing is stored yet.

        Raises:
            InputError: there is no such kind of cache, here or at all.
        """
        if kind not in KINDS:
            raise InputError(f"dataset.cache={kind} is not known; use {', '.join(KINDS[:-1])} or {KINDS[-1]}")
        if kind != "none" and not locks.AVAILABLE:
            raise InputError(f"dataset.cache={kind} needs file locks, which this system does not have; set dataset.cache=none")
        self.kind = kind
        self.folder = Path(folder or os.environ.get(FOLDER) or _user_cache() / "fcn_lightning").expanduser().absolute()
        self.datasets: list[CachedDataset] = []
        if shared_memory.SHARED_MEMORY.is_dir():
            shared_memory.sweep()

    def over(self, dataset: SegmentationDataset) -> SegmentationDataset:
        """Return a data set that reads through the cache, and say how much that takes; with "none", the data set itself.

        Raises:
            InputError: the data set has no files, a file is absent, or there is no room for this data set and those before.
        """
        if self.kind == "none":
            return dataset
        if len(dataset.pairs) != len(dataset):
            raise InputError(
                f"dataset.cache={self.kind} keeps what is read from files; this data set is drawn: set dataset.cache=none"
            )
        key_of = key_maker(dataset.labels)
        keys = np.array(_in_threads(lambda index: key_of(dataset.pairs[index]), len(dataset)), f"S{KEY_DIGITS}")
        files, memory = self._open(keys)
        cached = CachedDataset(dataset, files, keys, memory)
        self._find_room(cached)
        self.datasets.append(cached)
        return cached

    def _open(self, keys: NDArray[np.bytes_]) -> tuple[SampleFiles, MemoryFolder | None]:
        """Make the folder of these samples, and take hold of it where it is in memory."""
        folder, memory = self.folder, None
        try:
            if self.kind == "ram":
                memory = MemoryFolder(hashlib.sha256(keys.tobytes()).hexdigest()[:KEY_DIGITS])
                folder = memory.path
            files = SampleFiles(folder, durable=memory is None)
            files.prepare()
        except OSError as error:
            raise InputError(f"the cache folder {folder} cannot be made ({error.strerror}); {self._elsewhere()}") from error
        if any((folder / name).stat().st_mode & stat.S_IWOTH for name in ("samples", "parts")):
            raise InputError(
                f"anybody may write into the cache folder {folder}, and so change what is trained on; run chmod -R o-w {folder}, "
                f"or {self._elsewhere()}"
            )
        return files, memory

    def _find_room(self, cached: "CachedDataset") -> None:
        """Say how much a data set takes, and refuse what does not fit beside those before."""
        folder = cached.files.folder
        whole, needed = int(cached.sizes.sum()), cached.missing_bytes()
        promised = sum(before.missing_bytes() for before in self.datasets)
        if needed and not os.access(folder / "parts", os.W_OK):
            raise InputError(f"the cache folder {folder} must not be written by this user; {self._elsewhere()}")
        limits = {"there": shutil.disk_usage(folder).free} if self.kind == "disk" else shared_memory.free_memory()
        where, free = min(limits.items(), key=lambda limit: limit[1])
        others = f", {_readable(promised)} of it for the samples above" if promised else ""
        there = f"{_readable(whole - needed)} there, {_readable(free)} free{others}"
        log.info("cache: %s for %d samples in %s, %s", _readable(whole), len(cached), folder, there)
        if needed and free < MARGIN * (needed + promised):
            raise InputError(
                f"dataset.cache={self.kind} needs {_readable(needed + promised)} more in {folder}, and only {_readable(free)} "
                f"are free {where}; {self._elsewhere()}"
            )

    def _elsewhere(self) -> str:
        if self.kind == "ram":
            return "set dataset.cache to disk or none"
        return f"set the variable {FOLDER} to a folder on a disk with room, or dataset.cache=none"


class CachedDataset(SegmentationDataset):
    """A data set whose samples are decoded when they are first read, by whichever process, and mapped from then on.

    Args:
        dataset: that decodes.
        files: of decoded samples.
        keys: (N,) bytes, the key of each sample; an array, because the workers would copy a list of N objects page by page.
        memory: what keeps the files alive, where they are in memory.
    """

    def __init__(
        self, dataset: SegmentationDataset, files: SampleFiles, keys: NDArray[np.bytes_], memory: MemoryFolder | None
    ) -> None:
        """Look which samples are there, and how large the others will be."""
        super().__init__([], dataset.labels)
        self.pairs = dataset.pairs
        self.dataset = dataset
        self.files = files
        self.keys = keys
        self.sizes = np.array(_in_threads(self._size, len(keys)), np.int64)
        self._memory = memory
        self._warned = False

    def __getitem__(self, index: int) -> Sample:
        """Read one sample as `SegmentationDataset` does; its files are not looked at where it is in the cache.

        Returns:
            image (H, W, 3) RGB and mask (H, W), whose values are classes or `IGNORE_INDEX`.

        Raises:
            InputError: a file is broken, the sizes differ, or the mask holds a value outside the table.
        """
        key = self._key(index)
        sample = self.files.read(key)
        if sample is None:
            sample = self.dataset[index]
            self._store(index, key, sample)
        return sample

    def missing_bytes(self) -> int:
        """Return what the samples that are not there yet will take."""
        there = np.array(_in_threads(lambda index: self.files.size(self._key(index)) > 0, len(self.keys)), np.bool_)
        return int(self.sizes[~there].sum())

    def _key(self, index: int) -> str:
        return str(self.keys[index], "ascii")

    def _size(self, index: int) -> int:
        """Return the bytes that a sample takes; of one that is not there, by the header of its image."""
        size = self.files.size(self._key(index))
        if size:
            return size
        try:
            with open_image(self.pairs[index].image) as image:
                return file_size(image.height, image.width)  # a rotation swaps these, which changes nothing
        except (*UNREADABLE, InputError):
            return 0  # reading the sample says what is wrong

    def _store(self, index: int, key: str, sample: Sample) -> None:
        """Write a decoded sample; where that fails, say so once and go on without."""
        if key_maker(self.labels)(self.pairs[index]) != key:
            return  # a file has changed since the start: this is no longer the sample of that key
        try:
            self.files.write(key, sample)
        except OSError as error:
            if not self._warned:
                folder, reason = self.files.folder, error.strerror
                log.warning("cache: %s cannot be written (%s); what is not there is decoded each time", folder, reason)
            self._warned = True


def key_maker(labels: Labels) -> Callable[[Pair], str]:
    """Return what gives a pair of files its key: hexadecimal digits that change with anything that decides the pixels.

    The function that is returned raises an `InputError` where a file is absent.
    """
    versions = f"{VERSION} {cv2.__version__} {PIL.__version__} "
    common = hashlib.sha256(versions.encode() + labels.table.tobytes())

    def key(pair: Pair) -> str:
        digest = common.copy()
        for path in (pair.image, pair.mask):
            try:
                status = os.stat(path)
            except OSError as error:
                raise InputError(
                    f"cannot read {path} ({error.strerror}); restore the file or remove it from the data set"
                ) from error
            digest.update(os.fsencode(os.path.abspath(path)) + f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return digest.hexdigest()[:KEY_DIGITS]

    return key


def _in_threads(function: Callable[[int], T], number: int) -> list[T]:
    """Ask the file system about each of so many samples."""
    parts = [range(start, min(start + CHUNK, number)) for start in range(0, number, CHUNK)]
    with ThreadPoolExecutor(THREADS) as pool:
        return [answer for answers in pool.map(lambda part: [function(index) for index in part], parts) for answer in answers]


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")


def _readable(size: int) -> str:
    unit, name = next(((unit, name) for unit, name in UNITS if size >= unit), UNITS[-1])
    return f"{size / unit:.1f} {name}"
