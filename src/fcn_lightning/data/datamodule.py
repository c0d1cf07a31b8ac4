"""`SegmentationDataModule`: the loaders of any data set. A data set adds a few lines that say what its splits are."""

import gc
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import cv2
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from fcn_lightning import InputError
from fcn_lightning.data.batches import collate_train, collate_val, train_batch, val_batch
from fcn_lightning.data.cache import SampleCache
from fcn_lightning.data.dataset import Labels, SegmentationDataset, TrainSamples, ValSamples
from fcn_lightning.data.label_map import REDUCE_ZERO_LABEL, with_label_map
from fcn_lightning.data.sampler import PositionSampler, ShardSampler
from fcn_lightning.data.transforms import MS_RATIOS, Augment, ImagePreparation, train_transform

MAX_WORKERS = 8  # more do not pay for one training process
LAST_SECONDS = 10  # that a loader process goes on after a SIGTERM


class SegmentationDataModule(pl.LightningDataModule, ABC):
    """Loaders for training and validation.

    Attributes:
        name: of the data set, as in `dataset=<name>`.
        published_counts: images in "train" and "val" of the published data set; empty where there is no such thing.

    Args:
        base_scale: (width, height) that images are resized to fit, keeping their aspect ratio.
        ratio_range: training images are resized to fit base_scale times a ratio drawn from it.
        crop_size: height and width of a training crop.
        global_batch_size: images per optimiser step, over all devices.
        workers: loader processes per training process; null chooses by the cores at hand.
        seed: of sampling and augmentation.
        root: folder of the data, where a data set has one.
        cache: "none", "ram" or "disk": where decoded images are kept.
        augment: further transforms; None for the published pipeline.
        label_map: what each file value means, instead of the data set's own table; see `label_map.py`.
        reduce_zero_label: short for the label_map of that name.
    """

    name: str
    published_counts: ClassVar[Mapping[str, int]] = {}

    def __init__(
        self,
        *,
        base_scale: tuple[int, int],
        ratio_range: tuple[float, float],
        crop_size: tuple[int, int],
        global_batch_size: int,
        workers: int | None,
        seed: int,
        root: str = "",
        cache: str = "none",
        augment: Augment | None = None,
        label_map: Mapping[Any, Any] | str | None = None,
        reduce_zero_label: bool = False,
    ) -> None:
        """Keep the settings; nothing is read yet."""
        super().__init__()
        if global_batch_size < 1 or (workers is not None and workers < 0):
            raise InputError(
                f"dataset.global_batch_size={global_batch_size} must be at least 1, dataset.workers={workers} null or at least 0"
            )
        self.base_scale = _pair(base_scale)
        self.ratio_range = (float(ratio_range[0]), float(ratio_range[1]))
        self.crop_size = _pair(crop_size)
        self.global_batch_size = global_batch_size
        self.workers = default_workers() if workers is None else workers
        self._share_cores = workers is None
        self.seed = seed
        self.root = root
        self.cache = cache
        self.augment = augment
        self.label_map = REDUCE_ZERO_LABEL if reduce_zero_label and not label_map else label_map
        self.max_steps = 0
        self.accumulate = 1
        self.ratios: tuple[float, ...] = (1.0,)

    @property
    @abstractmethod
    def canonical(self) -> Labels:
        """The classes with the data set's own file values, known without the images; a subclass may set it as a constant."""

    @cached_property
    def labels(self) -> Labels:
        """The classes with their file values: by the label_map, where there is one."""
        return with_label_map(self.canonical, self.label_map, f"dataset={self.name}") if self.label_map else self.canonical

    @abstractmethod
    def build(self, split: str) -> SegmentationDataset:
        """Return the data of "train" or "val"; each data set says how.

        Pairs of which a file is absent are among them: `train_data` and `val_data` refuse these.

        Raises:
            InputError: folders or lists are missing, empty or wrong.
        """

    def labels_of(self, mask: Path) -> Labels:
        """Return the classes with the file values of one mask file; a data set with two encodings tells them apart."""
        return self.labels

    def folder(self) -> Path:
        """Return the folder of the data.

        Raises:
            InputError: it does not exist.
        """
        if not self.root or not Path(self.root).is_dir():
            raise InputError(
                f"the folder of data set {self.name}, {self.root or 'not set'}, does not exist; set dataset.root=<folder>, "
                "or the environment variable FCN_DATA to the folder of all data sets"
            )
        return Path(self.root)

    def folder_with(self, marker: str, *below: str) -> Path:
        """Return the folder of the data, which may lie inside the given one.

        Args:
            marker: a folder by which it is known.
            below: relative paths at which it may be, beside the given folder itself.

        Raises:
            InputError: none of these holds the marker.
        """
        root = self.folder()
        found = next((folder for folder in (root, *(root / path for path in below)) if (folder / marker).is_dir()), None)
        if found is None:
            raise InputError(
                f"{root} holds no folder {marker}, nor {' or '.join(f'{path}/{marker}' for path in below)}; "
                "set dataset.root=<folder> to the one that does"
            )
        return found

    def plan(self, *, max_steps: int, ms_flip: bool, accumulate: int = 1, processes: int = 1) -> None:
        """Say what the loaders are for.

        Args:
            max_steps: length of the training stream in optimiser steps.
            ms_flip: test images at the published ratios.
            accumulate: batches per optimiser step that each process reads one after the other.
            processes: of this machine that train together; they share its cores where `workers` leaves that open.
        """
        self.max_steps = max_steps
        self.accumulate = accumulate
        self.ratios = MS_RATIOS if ms_flip else (1.0,)
        if self._share_cores:
            self.workers = default_workers(processes)

    @cached_property
    def train_data(self) -> SegmentationDataset:
        """The training split, built on first use in each process; an `InputError` where a file is absent."""
        return self._samples.over(_require_files(self.build("train")))

    @cached_property
    def val_data(self) -> SegmentationDataset:
        """The validation split, built on first use in each process; an `InputError` where a file is absent."""
        return self._samples.over(_require_files(self.build("val")))

    @cached_property
    def _samples(self) -> SampleCache:
        return SampleCache(self.cache)

    def use_present_val(self) -> int:
        """Let `val_data` be the pairs of which both files exist.

        Returns:
            How many pairs were left out.

        Raises:
            InputError: no pair remains.
        """
        dataset = self.build("val")
        present = dataset.present()
        if not len(present):
            _require_files(dataset)
        self.val_data = self._samples.over(present)
        return len(dataset) - len(present)

    def check_first_samples(self) -> None:
        """Read the first sample of each split, so that a wrong encoding is said before anything starts.

        Raises:
            InputError: a file is broken, or a mask holds unlisted values.
        """
        for dataset in (self.train_data, self.val_data):
            dataset[0]

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return batches {"image": (B, h, w, 3) uint8, "mask": (B, h, w) uint8, "sizes", "index"} from the trainer's step on."""
        rank, world_size = self._place()
        sampler = PositionSampler(
            global_batch_size=self.global_batch_size,
            max_steps=self.max_steps,
            start_step=self.trainer.global_step if self.trainer else 0,
            rank=rank,
            world_size=world_size,
            accumulate=self.accumulate,
        )
        return DataLoader(
            self.train_samples(),
            batch_sampler=sampler,
            collate_fn=collate_train,
            num_workers=self.workers,
            worker_init_fn=_start_worker,
            pin_memory=torch.cuda.is_available(),
        )

    def train_samples(self) -> TrainSamples:
        """Return the augmented samples that training reads, addressed by position; pixels are uint8."""
        transform = train_transform(self.base_scale, self.ratio_range, self.crop_size, self.augment)
        return TrainSamples(self.train_data, transform, crop_size=self.crop_size, seed=self.seed)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return one image at a time: {"images": [(1, h, w, 3) uint8 per ratio], "mask": (H, W), "index": int}.

        Several processes share the images: each one is read by exactly one of them.
        """
        rank, world_size = self._place()
        return DataLoader(
            ValSamples(self.val_data, ImagePreparation(self.base_scale, self.ratios)),
            sampler=ShardSampler(len(self.val_data), rank=rank, world_size=world_size),
            batch_size=1,
            collate_fn=collate_val,
            num_workers=self.workers,
            worker_init_fn=_start_worker,
        )

    def _place(self) -> tuple[int, int]:
        """Return the rank of this process, and of how many."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Normalise a batch on its device, as `train_batch` and `val_batch` say."""
        return train_batch(batch) if "sizes" in batch else val_batch(batch)


def default_workers(processes: int = 1) -> int:
    """Return loader processes for the cores at hand: half of them, at least one, at most eight.

    Args:
        processes: of this machine that train together; each gets its part.
    """
    return max(1, min(MAX_WORKERS, available_cores() // 2 // processes))


def available_cores() -> int:
    """Return the cores that this process may use; not every system can restrict them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require_files(dataset: SegmentationDataset) -> SegmentationDataset:
    """Return the data set if all its files exist, and say of one kind of gap what mends it otherwise."""
    missing = dataset.missing()
    if not missing:
        return dataset
    no_mask = [pair for pair in missing if pair.image.is_file()]
    no_image = [pair for pair in missing if pair.mask.is_file()]
    neither = [pair for pair in missing if not pair.image.is_file() and not pair.mask.is_file()]
    if neither:
        raise InputError(
            f"{len(neither)} of {len(dataset)} listed names have neither image nor mask, first {neither[0].image}; "
            f"expected also {neither[0].mask}: add both or remove the names from the list"
        )
    if no_mask:
        raise InputError(
            f"{len(no_mask)} of {len(dataset)} images have no mask, first {no_mask[0].image}; "
            f"expected {no_mask[0].mask}: add the mask or remove the image from the data set"
        )
    raise InputError(
        f"{len(no_image)} of {len(dataset)} masks have no image, first {no_image[0].mask}; "
        f"expected {no_image[0].image}: add the image or remove the mask from the data set"
    )


def _start_worker(worker: int) -> None:
    # A terminal sends Ctrl-C, and a cluster SIGTERM, to all processes at once. The training process then finishes its step, for
    # which it needs the loaders; these end with it. A loader that outlives a SIGTERM for long is stuck, and ends by an alarm.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(LAST_SECONDS))
    cv2.setNumThreads(0)  # the workers themselves are the parallelism; OpenCV's threads would fight them
    gc.freeze()  # a garbage collection writes to every object that it visits: leave those of the parent's memory alone


def _pair(values: tuple[int, int]) -> tuple[int, int]:
    if len(values) != 2:
        raise InputError(f"{list(values)} is not a pair; base_scale is [width, height], crop_size is [height, width]")
    return int(values[0]), int(values[1])
