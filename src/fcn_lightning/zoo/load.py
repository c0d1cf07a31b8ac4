"""`load`: a trained network from a run folder, a checkpoint, or a published row."""

from pathlib import Path

from fcn_lightning import InputError
from fcn_lightning.evaluation.predictor import Card, Predictor
from fcn_lightning.training.device import exact_fp32
from fcn_lightning.zoo.recipes import card, is_row, row, row_id
from fcn_lightning.zoo.weights import Weights, load_exactly, open_weights


def load(source: str | Path, *, weights: str | Path | None = None, device: str = "cpu") -> Predictor:
    """Open a trained network for prediction, in the test mode that belongs to it, in fp32 with TF32 off.

    Args:
        source: a run folder (its best checkpoint), a checkpoint file, a published file under its published name,
            or a row's id (or its configuration name in mmsegmentation 1.x).
        weights: with a row's id: the file to use instead of the published one from the cache or the network.
            A file whose name carries no hash is used with the note "unverified".
        device: where to compute, as in `torch.device`.

    Returns:
        A `Predictor`: its `predict` takes an image; its `model` is the network, its `card` what it was trained for.

    Raises:
        InputError: there is no such thing, it is broken, or the weights do not fit the row.
    """
    exact_fp32()
    path = Path(source)
    if weights is not None:
        if path.exists() and not is_row(str(source)):
            raise InputError(f"{source} is no row of the zoo, so weights={weights} has no use; give one of the two")
        return _load_row(row_id(str(source)), open_weights(weights), device)
    found = open_weights(path / "checkpoints" / "best.ckpt" if path.is_dir() else path)
    if found.card is not None:
        return _load_own(found, device)
    if found.row is None:
        raise InputError(
            f"{path} was not written by fcn_lightning, and is not named like a published file, so its row is not known; "
            "name the row too: row=<row id>, for evaluate recipe=<row id>, in Python load('<row id>', weights=...)"
        )
    return _load_row(found.row, found, device)


def _load_row(name: str, weights: Weights, device: str) -> Predictor:
    described = card(name)
    model = described.build()
    load_exactly(model, weights, row(name))
    return Predictor(model, described, device=device)


def _load_own(weights: Weights, device: str) -> Predictor:
    try:
        described = Card.from_dict(weights.card or {})
        model = described.build()
        model.load_state_dict(weights.state)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError, InputError) as error:
        raise InputError(
            f"checkpoint {weights.path} was not written by fcn_lightning, or by another version of it ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); give a file from the checkpoints folder of a run"
        ) from error
    return Predictor(model, described, device=device)


def load_requested(checkpoint: str | None, weights: str | None, name: str | None) -> Predictor:
    """Open what a command line names.

    Args:
        checkpoint: of a run: its folder or a file.
        weights: published ones: a row's id, or a file.
        name: of the weights' row: its id, or its name in 1.x; alone, its published weights are meant.

    Raises:
        InputError: nothing is named, or two things are; and whatever `load` raises.
    """
    if checkpoint and weights:
        raise InputError(f"checkpoint={checkpoint} and weights={weights} are both networks; give one of the two")
    if checkpoint and name:
        raise InputError(f"checkpoint={checkpoint} knows its own network; leave row={name} out")
    if checkpoint:
        return load(checkpoint)
    if name:
        return load(name, weights=weights or name)
    if not weights:
        raise InputError("checkpoint is not set; add checkpoint=<value>, or weights=<file or id of a published row>")
    return load(weights)
