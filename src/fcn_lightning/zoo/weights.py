"""Published weights: reading them without executing anything, and fitting them to a network.

Reads what mmsegmentation has written since 2020: the pre-zip serialisation, keys with the `module.` prefix of a
distributed wrapper, files with and without the auxiliary head, and the classes that 1.x files mention.
"""

import logging
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fcn_lightning import InputError
from fcn_lightning.models.weight_files import check_hash, fetched, name_hash
from fcn_lightning.training.checkpoint import CARD, PREFIX
from fcn_lightning.zoo.recipes import Row, is_row, row, row_id, row_of_file

log = logging.getLogger(__name__)

CLASSIFIERS = ("decode_head.conv_seg", "auxiliary_head.conv_seg")
WRAPPER = "module."
# What 1.x files name in their message hub, beside tensors and built-in types. Their content is of no use here.
FOREIGN = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.config.config.ConfigDict",
    "builtins.getattr",  # how the buffer's methods are written
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
)


class Inert:
    """Stands in for a foreign class or function: takes any arguments and any state, and keeps none."""

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
        if self.card is not None:
            return "a checkpoint of this package"
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
    path = Path(source)
    if is_row(str(source)) and not path.is_file():
        published = row(str(source))
        path = fetched(published.checkpoint, size=published.bytes)  # its hash is checked below
    elif not path.exists() and str(source) == path.stem:  # a bare word: a row that is misspelt, more likely than a file
        _refuse_name(str(source))
    digest = check_hash(path)
    named = row_of_file(path.name)
    verified = named is not None and digest.startswith(row(named).sha256_prefix)
    content = _read_inert(path)
    return Weights(path, digest, named, verified, _state(content, path), content.get(CARD))


def _refuse_name(name: str) -> None:
    try:
        row_id(name)  # knows the row that may be meant
    except InputError as error:
        raise InputError(f"there is no file {name}, and {error}") from error


def _read_inert(path: Path) -> dict[str, Any]:
    """Read a file of torch: tensors, numbers, strings, lists and dicts; foreign classes are left empty, nothing is executed."""
    try:
        with torch.serialization.safe_globals([(Inert, name) for name in FOREIGN]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks about files that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch documents no list of what it raises on bytes that are not its own
        raise InputError(f"checkpoint {path} is corrupt or not a checkpoint ({_reason(error)}); use another file") from error
    if not isinstance(content, dict):
        raise InputError(f"checkpoint {path} holds a {type(content).__name__}, not a checkpoint; use another file")
    return content


def _reason(error: Exception) -> str:
    """Say why torch could not read a file; its own words fill a page, and recommend to trust the file."""
    called = re.search(r"GLOBAL (\w[\w.]*)", str(error))
    if called:
        return f"reading it would run {called[1]}, which weights have no need of"
    return "a TorchScript archive" if "TorchScript" in str(error) else "cut off, or written by something else than torch.save"


def _state(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors under the network's own names."""
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping) or not state or not all(map(_is_plain, state.values())):
        raise InputError(f"{path} holds no weights (a `state_dict` of tensors); give a published file or a checkpoint of a run")
    prefix = PREFIX if CARD in content else WRAPPER
    return {str(key).removeprefix(prefix): value for key, value in state.items()}


def _is_plain(value: object) -> bool:
    """Tell whether something is a tensor with a number for each element in memory."""
    return isinstance(value, Tensor) and value.device.type == "cpu" and value.layout == torch.strided


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
            if state[key].shape[:1] == (published.auxiliary_classes,):
                del state[key]
    problem = _misfit(own, state, optional="auxiliary_head.")
    if problem:
        raise InputError(f"{weights.path} does not fit the row {published.id}: {problem}; give the weights of that row")
    model.load_state_dict(state, strict=False)
    log.log(logging.INFO if weights.verified else logging.WARNING, "weights     %s, %s", weights.path.name, weights.note)
    if f"{CLASSIFIERS[1]}.weight" not in state:
        log.info("            without the auxiliary classifier of this row, which prediction does not use: it is random")


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
    own, state = model.state_dict(), weights.state
    main, auxiliary = CLASSIFIERS
    counts = _other_classes(own, state, main)
    # An auxiliary classifier of another width than the main one is that of the two rows with a 19-way auxiliary head.
    names = CLASSIFIERS if counts else (auxiliary,) if _other_classes(own, state, auxiliary) else ()
    state = {key: value for key, value in state.items() if not key.startswith(names)}
    problem = _misfit(own, state, optional=("auxiliary_head.", *names))
    if problem:
        raise InputError(
            f"{weights.path} does not fit this network: {problem}; choose the backbone and head of the weights, or other weights"
        )
    model.load_state_dict(state, strict=False)
    text = f"{len(state)} of {len(own)} tensors kept, {weights.note}"
    if counts:
        text += f"; both classifiers start anew ({counts[0]} classes -> {counts[1]})"
    elif names:
        text += "; the auxiliary classifier starts anew"
    return text


def _misfit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], *, optional: str | tuple[str, ...]) -> str | None:
    """Say why tensors do not fill a network, or None; old files lack the step counters, which nothing reads."""
    counts = _other_classes(own, state, CLASSIFIERS[0])
    if counts:
        return f"it has {counts[0]} classes, expected {counts[1]}"
    missing = [key for key in own if key not in state and not key.startswith(optional) and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own]
    if missing or unknown:
        kinds = ((missing, "missing"), (unknown, "not known"))
        return " and ".join(f"{len(keys)} tensors {kind}, first {keys[0]}" for keys, kind in kinds if keys)
    shaped = [key for key in state if state[key].shape != own[key].shape]
    if shaped:
        return f"{shaped[0]} has the shape {tuple(state[shaped[0]].shape)}, expected {tuple(own[shaped[0]].shape)}"
    return None


def _other_classes(own: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str) -> tuple[int, int] | None:
    """Return given and expected outputs of a classifier that differs in them alone, or None."""
    expected = own[f"{name}.weight"].shape
    given = state.get(f"{name}.weight", own[f"{name}.weight"]).shape
    return (given[0], expected[0]) if given != expected and given[1:] == expected[1:] else None
