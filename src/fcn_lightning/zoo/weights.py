"""Published weights: finding and reading them, and fitting them to a network; `models/torch_files.py` opens the file.

Reads what mmsegmentation has written since 2020: the pre-zip serialisation, keys with the `module.` prefix of a
distributed wrapper, files with and without the auxiliary head, and the classes that 1.x files mention.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fcn_lightning import InputError
from fcn_lightning.models import safe_weights
from fcn_lightning.models.torch_files import is_plain, read_inert
from fcn_lightning.models.weight_files import check_hash, fetched, name_hash
from fcn_lightning.training.checkpoint import CARD, PREFIX
from fcn_lightning.zoo.recipes import Row, is_row, row, row_id, row_of_file

log = logging.getLogger(__name__)

CLASSIFIERS = ("decode_head.conv_seg", "auxiliary_head.conv_seg")
WRAPPER = "module."
CARD_VALUES, CARD_WORD = 20_000, 1_000  # values, and letters of one; the card of 253 classes has 2,000 values


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
    content = safe_weights.read(path) if path.suffix == safe_weights.SUFFIX else read_inert(path)
    return Weights(path, digest, named, verified, _state(content, path), _card(content, path))


def _refuse_name(name: str) -> None:
    try:
        row_id(name)  # knows the row that may be meant
    except InputError as error:
        raise InputError(f"there is no file {name}, and {error}") from error


def _state(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors under the network's own names."""
    state = content.get("state_dict", content)
    named = isinstance(state, Mapping) and bool(state) and all(isinstance(key, str) for key in state)
    if not named or not all(map(is_plain, state.values())):
        raise InputError(f"{path} holds no weights (a `state_dict` of tensors); give a published file or a checkpoint of a run")
    prefix = PREFIX if CARD in content else WRAPPER
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _card(content: Mapping[str, Any], path: Path) -> dict[str, Any] | None:
    """Return the card of a checkpoint of this package, which has to be few plain values: messages show some of them."""
    card = content.get(CARD)
    waiting, seen = [card], 0
    while waiting:
        value, seen = waiting.pop(), seen + 1
        if isinstance(value, dict):
            waiting += (*value, *value.values())
        elif isinstance(value, list | tuple):
            waiting += value
        plain = value is None or isinstance(value, dict | list | tuple | int | float | str)
        if not plain or seen > CARD_VALUES or (isinstance(value, str) and len(value) > CARD_WORD):
            raise InputError(f"checkpoint {path} says more about itself than fcn_lightning writes; use another file")
    if card is not None and not isinstance(card, dict):
        raise InputError(f"checkpoint {path} has a {type(card).__name__} where fcn_lightning writes its card; use another file")
    return card


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
