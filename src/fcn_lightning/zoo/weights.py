"""Published weights: reading them without executing anything, and fitting them to a network.

Reads what mmsegmentation has written since 2020: the pre-zip serialisation, keys with the `module.` prefix of a
distributed wrapper, files with and without the auxiliary head, and the classes that 1.x files mention.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fcn_lightning import InputError
from fcn_lightning.data.dataset import Labels
from fcn_lightning.models.weight_files import cached, check_hash, name_hash
from fcn_lightning.training.checkpoint import CARD, PREFIX, read
from fcn_lightning.zoo.recipes import Row, is_row, row, row_of_file

log = logging.getLogger(__name__)

CLASSIFIERS = ("decode_head.conv_seg", "auxiliary_head.conv_seg")
WRAPPER = "module."
# Classes in the message hub of 1.x files, beside tensors and built-in types. Their content is of no use here.
FOREIGN = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.config.config.ConfigDict",
    "addict.addict.Dict",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
)


class Inert:
    """Stands in for a foreign class: takes any arguments and any state, and keeps none."""

    def __new__(cls, *arguments: object) -> "Inert":
        """Ignore the arguments."""
        return object.__new__(cls)

    def __init__(self, *arguments: object) -> None:
        """Ignore the arguments."""

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


@dataclass(frozen=True)
class Weights:
    """A file of weights, read.

    Args:
        path: of the file.
        sha256: of the file, hexadecimal.
        row: id of the row whose published file this is, or whose name it has; None if neither.
        verified: the file's name carries the published hash of the row, and the content has it.
        state: parameter name -> tensor, with the names of `FCN`.
        card: of a checkpoint of this package; None for a published file.
    """

    path: Path
    sha256: str
    row: str | None
    verified: bool
    state: dict[str, Tensor]
    card: dict[str, Any] | None

    @property
    def note(self) -> str:
        """Say what is known about the origin."""
        if self.verified:
            return f"verified: SHA-256 {self.sha256[:8]} as published"
        if name_hash(self.path.name):
            return f"unverified: SHA-256 {self.sha256[:8]} is what the name says, but of no published file"
        return "unverified: the file's name carries no hash"


def open_weights(source: str | Path) -> Weights:
    """Read weights: a local file, or the published file of a row.

    Args:
        source: path, or a row's id (or its configuration name in mmsegmentation 1.x), whose file is taken from the
            cache or fetched.

    Raises:
        InputError: the file cannot be had, is not what its name says, is broken, or holds something else than weights.
    """
    if is_row(str(source)) and not Path(source).exists():
        published = row(str(source))
        path = cached(published.checkpoint, size=published.bytes)
    else:
        path = Path(source)
    digest = check_hash(path)
    named = row_of_file(path.name)
    verified = named is not None and digest.startswith(row(named).sha256_prefix)
    content = _read_inert(path)
    return Weights(path, digest, named, verified, _state(content, path), content.get(CARD))


def _read_inert(path: Path) -> dict[str, Any]:
    with torch.serialization.safe_globals([(Inert, name) for name in FOREIGN]):
        return read(path)


def _state(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors under the network's own names."""
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no weights (a `state_dict` of tensors); give a published file or a checkpoint of a run")
    prefix = PREFIX if CARD in content else WRAPPER
    return {str(key).removeprefix(prefix): value for key, value in state.items()}


def load_exactly(model: nn.Module, weights: Weights, published: Row) -> None:
    """Fill a row's network; every tensor that prediction uses has to be there and to fit.

    Args:
        model: the row's network.
        weights: to load.
        published: the row.

    Raises:
        InputError: the weights belong to another network or another number of classes.
    """
    own, state = model.state_dict(), dict(weights.state)
    if published.auxiliary_classes:  # a classifier of training alone, whose labels were not the data set's
        for key in [key for key in state if key.startswith(CLASSIFIERS[1])]:
            if len(state[key]) == published.auxiliary_classes:
                del state[key]
    problem = _misfit(own, state, optional="auxiliary_head.")
    if problem:
        raise InputError(f"{weights.path} does not fit the row {published.id}: {problem}; give the weights of that row")
    model.load_state_dict(state, strict=False)
    log.info("weights     %s, %s", weights.path.name, weights.note)


def start_from(model: nn.Module, weights: Weights) -> str:
    """Fill a network for training; where the number of classes differs, both classifiers keep their random start.

    Args:
        model: with random weights.
        weights: to load.

    Returns:
        What was kept, in words.

    Raises:
        InputError: the weights belong to another backbone or head.
    """
    own, state = model.state_dict(), dict(weights.state)
    main, auxiliary = (f"{name}.weight" for name in CLASSIFIERS)
    dropped = main in state and len(state[main]) != len(own[main])
    # A classifier of another width than the main one is that of the two rows with a 19-way auxiliary head.
    dropped_auxiliary = dropped or (auxiliary in state and len(state[auxiliary]) != len(own[auxiliary]))
    names = [name for name, drop in zip(CLASSIFIERS, (dropped, dropped_auxiliary), strict=True) if drop]
    state = {key: value for key, value in state.items() if not key.startswith(tuple(names))} if names else state
    problem = _misfit(own, state, optional=("auxiliary_head.", *names))
    if problem:
        raise InputError(
            f"{weights.path} does not fit this network: {problem}; choose the backbone and head of the weights, or other weights"
        )
    model.load_state_dict(state, strict=False)
    text = f"{len(state)} of {len(own)} tensors kept, {weights.note}"
    if dropped:
        text += f"; both classifiers start anew ({len(weights.state[main])} classes -> {len(own[main])})"
    elif names:
        text += "; the auxiliary classifier starts anew"
    return text


def _misfit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], *, optional: str | tuple[str, ...]) -> str | None:
    """Say why tensors do not fill a network, or None; old files lack the step counters, which nothing reads."""
    main = f"{CLASSIFIERS[0]}.weight"
    if main in state and main in own and len(state[main]) != len(own[main]):
        return f"it has {len(state[main])} classes, expected {len(own[main])}"
    missing = [key for key in own if key not in state and not key.startswith(optional) and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own]
    if missing or unknown:
        parts = [
            f"{len(keys)} tensors {what}, first {keys[0]}" for keys, what in ((missing, "missing"), (unknown, "not known")) if keys
        ]
        return " and ".join(parts)
    shaped = [key for key in state if state[key].shape != own[key].shape]
    if shaped:
        return f"{shaped[0]} has the shape {tuple(state[shaped[0]].shape)}, expected {tuple(own[shaped[0]].shape)}"
    return None


def write_mmseg(path: Path, model: nn.Module, labels: Labels) -> str:
    """Write a network as mmsegmentation stores one, so that it loads there strictly.

    Args:
        path: of the file, which appears only when it is complete.
        model: to write.
        labels: its classes and palette, for the file's metadata.

    Returns:
        The file's SHA-256, in hexadecimal digits.

    Raises:
        InputError: the folder cannot be written to.
    """
    classes, palette = labels.classes, [list(color) for color in labels.palette]
    # Names and colours twice: releases before 1.0 read the first pair, 1.x the second.
    meta = {"CLASSES": classes, "PALETTE": palette, "dataset_meta": {"classes": classes, "palette": palette}}
    state = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"meta": meta, "state_dict": state}, part)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as the latter
        raise InputError(f"{path} could not be written ({error}); give output=<file> in a folder with room") from error
    return check_hash(path)
