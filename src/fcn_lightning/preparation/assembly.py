"""From archives to a complete data set: check, list, write, count."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcn_lightning import InputError
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.preparation.archives import digests
from fcn_lightning.preparation.layouts import Layout
from fcn_lightning.preparation.outputs import check_room, still_to_write, write
from fcn_lightning.preparation.record import read_record, write_record
from fcn_lightning.preparation.sources import Found, Part, find, look_through

log = logging.getLogger(__name__)

NAMED = 3  # files that a message names


def is_prepared(layout: Layout, datamodule: SegmentationDataModule, *, accept_other: bool) -> bool:
    """Tell whether a preparation was finished, and all that it wrote is still there.

    Args:
        layout: of the data set.
        datamodule: that reads it.
        accept_other: whether other numbers than the published ones will do.
    """
    noted = read_record(Path(datamodule.root), layout.name).images
    if not noted:
        return False
    try:
        return count(datamodule, accept_other=accept_other) == noted
    except InputError:
        return False


def assemble(layout: Layout, sources: Sequence[Path], root: Path, *, accept_other: bool) -> None:
    """Write the files of a data set that are not there yet.

    Args:
        layout: of the data set.
        sources: archives, folders with archives, and unpacked folders.
        root: folder to write to.
        accept_other: whether a file with another hash than the published one will do.

    Raises:
        InputError: an archive is missing, damaged, or not the published one; a file is there with another content; or the
            disk is too small.
    """
    record = read_record(root, layout.name)
    record.images = {}
    found = []
    for part, path in zip(layout.parts, find(layout.parts, sources), strict=True):
        log.info("reading %s", path if path.is_file() else f"{path} in place of {part.file}")
        identity = {} if path.is_dir() else _identify(part, path, accept_other=accept_other)
        found.append(look_through(part, path))
        record.add(part.file, {"name": path.name} | (identity or _size(found[-1])))
    outputs = layout.plan(found, root)
    todo = still_to_write(outputs)
    if len(todo) < len(outputs):
        log.info("%s files are there already", f"{len(outputs) - len(todo):,}")
    if todo:
        log.info("%s", check_room(root, todo))
    write_record(root, layout.name, record)
    write(todo)


def finish(layout: Layout, datamodule: SegmentationDataModule, *, accept_other: bool) -> str:
    """Count what has been written, try the first images, and note that the preparation is complete.

    Args:
        layout: of the data set.
        datamodule: that reads it.
        accept_other: whether other numbers than the published ones will do.

    Returns:
        The numbers, in words.

    Raises:
        InputError: images or masks are missing, or one cannot be read.
    """
    images = count(datamodule, accept_other=accept_other)
    datamodule.check_first_samples()
    root = Path(datamodule.root)
    record = read_record(root, layout.name)
    record.images = images
    write_record(root, layout.name, record)
    return f"{_numbers(images)}, {'as published' if images == datamodule.published_counts else 'not the published numbers'}"


def count(datamodule: SegmentationDataModule, *, accept_other: bool) -> dict[str, int]:
    """Return how many images each split has, with their masks.

    Args:
        datamodule: that reads them.
        accept_other: whether other numbers than the published ones will do.

    Raises:
        InputError: a file is missing, or the number is not the published one.
    """
    images, missing = {}, []
    for split in ("train", "val"):
        dataset = datamodule.build(split)
        images[split] = len(dataset)
        missing += [path for pair in dataset.missing() for path in (pair.image, pair.mask) if not path.is_file()]
    if missing:
        more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
        raise InputError(
            f"{datamodule.root} lacks {', '.join(map(str, missing[:NAMED]))}{more}; the archives do not hold them: get these again"
        )
    published = datamodule.published_counts
    if images != published and not accept_other:
        raise InputError(
            f"{datamodule.root} has {_numbers(images)}, the published data set {_numbers(published)}; an archive is incomplete or "
            "another one: get it again, or add accept_other=true to use what is there"
        )
    return images


def _identify(part: Part, path: Path, *, accept_other: bool) -> dict[str, Any]:
    """Hash a file, and compare it with what was published."""
    sha256, *others = digests(path, "sha256", *(["sha1"] if part.sha1 else []))
    if others and others[0] != part.sha1:
        difference = f"{path} has the SHA-1 {others[0]}, the published {part.file} {part.sha1}"
        if not accept_other:
            raise InputError(f"{difference}; get it again from {part.origin}, or add accept_other=true to use this one")
        log.warning("%s", difference)
    return {"bytes": path.stat().st_size, "sha256": sha256}


def _size(found: Found) -> dict[str, Any]:
    return {"files": len(found.sizes), "bytes": sum(found.sizes.values())}


def _numbers(images: Mapping[str, int]) -> str:
    return f"{images['train']:,} training and {images['val']:,} validation images"
