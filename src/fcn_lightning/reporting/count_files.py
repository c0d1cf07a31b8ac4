"""Files with the counts of every single image: written after a validation, read to compare two of them."""

import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fcn_lightning import InputError
from fcn_lightning.evaluation.image_counts import Counts
from fcn_lightning.reporting.record import list_hash

ONE = "counts.npz"  # in the run folder of an evaluation
MANY = "counts"  # folder in that of a training, one file per validation
PARTS = ("intersect", "pred", "true")


@dataclass(frozen=True)
class CountFile:
    """What a file holds.

    Args:
        path: of the file.
        counts: of N images and K classes.
        names: N, one per image, relative to the folder that all images have in common.
        classes: K names.
        sha256: of the list of names.
    """

    path: Path
    counts: Counts
    names: tuple[str, ...]
    classes: tuple[str, ...]
    sha256: str


def step_file(run: Path, step: int) -> Path:
    """Return where a training keeps the counts of the validation at a step."""
    return run / MANY / f"step_{step:06d}.npz"


def write_counts(path: Path, counts: Counts, names: Sequence[str], classes: Sequence[str]) -> None:
    """Write a compressed NumPy archive, which appears only when it is complete.

    Args:
        path: of the file; its folder is made.
        counts: of some or all images of a data set.
        names: paths of all images of the data set, by index. What they have in common is left out, so that the same files
            compare as the same wherever they lie.
        classes: names, K.
    """
    short = _below_common_folder(names)
    used = [short[index] for index in counts.index.tolist()]
    arrays = {part: _small(getattr(counts, part).numpy()) for part in PARTS}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            index=_small(counts.index.numpy()),
            names=np.array(used, np.str_),
            classes=np.array(list(classes), np.str_),
            sha256=np.array(list_hash(used)),
            **arrays,
        )
    os.replace(part, path)


def read_counts(path: Path) -> CountFile:
    """Read a file that `write_counts` wrote.

    Raises:
        InputError: it is another file, or damaged.
    """
    content = _load(path)
    names, classes = tuple(content["names"].tolist()), tuple(content["classes"].tolist())
    shapes = {content[part].shape for part in PARTS}
    if shapes != {(len(names), len(classes))} or content["index"].shape != (len(names),):
        raise _damaged(path, f"{len(names)} images and {len(classes)} classes do not fit arrays of {sorted(shapes)}")
    if any(content[key].dtype.kind != "u" for key in ("index", *PARTS)):
        raise _damaged(path, "its counts are no natural numbers")
    counts = Counts(*(torch.from_numpy(content[key].astype(np.int64)) for key in ("index", *PARTS)))
    if (counts.intersect > torch.minimum(counts.pred, counts.true)).any() or list_hash(names) != str(content["sha256"]):
        raise _damaged(path, "its content contradicts itself")
    return CountFile(path, counts, names, classes, str(content["sha256"]))


def find_counts(key: str, given: str) -> Path:
    """Return the file that is given, or the one in a given run folder: of a training that of its best validation.

    Args:
        key: of the configuration, for the message.
        given: its value.

    Raises:
        InputError: there is none.
    """
    path = Path(given)
    if not path.exists():
        raise InputError(f"{key}={given} does not exist; give the folder of a training or of evaluate, or a file of counts")
    if not path.is_dir():
        return path
    if (path / ONE).is_file():
        return path / ONE
    steps = {int(file.stem.removeprefix("step_")): file for file in (path / MANY).glob("step_*.npz") if file.stem[5:].isdigit()}
    if not steps:
        raise InputError(
            f"{key}={given} holds neither {ONE} nor {MANY}/step_<step>.npz; give the folder of a training that has validated, "
            "or score its checkpoint with python -m fcn_lightning.evaluate and give the folder of that"
        )
    best = _best_step(path / "status.json")
    if best is None:
        return steps[max(steps)]
    if best not in steps:
        raise InputError(f"{step_file(path, best)} of the best validation is absent; give {key}=<another file in {path / MANY}>")
    return steps[best]


def require_same_images(a: CountFile, b: CountFile) -> None:
    """Refuse files that cannot be compared image by image.

    Raises:
        InputError: the classes, the images or their masks differ.
    """
    where = f"a ({a.path}) and b ({b.path})"
    if a.classes != b.classes:
        raise InputError(f"{where} have other classes: {_first_difference(a.classes, b.classes)}; evaluate both on one data set")
    if a.sha256 != b.sha256:
        raise InputError(f"{where} have other images: {_first_difference(a.names, b.names)}; evaluate both on the same images")
    different = (a.counts.true != b.counts.true).nonzero()
    if len(different):
        image, label = different[0].tolist()
        in_a, in_b = (int(file.counts.true[image, label]) for file in (a, b))
        raise InputError(
            f"{where} have other masks: {a.names[image]} has {in_a} pixels of {a.classes[label]} in a, {in_b} in b; "
            "evaluate both with the same masks"
        )


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):  # NumPy would advise to load it without safeguards
                raise ValueError("it is no complete NumPy archive")
            with np.load(file, allow_pickle=False) as archive:
                return {key: archive[key] for key in ("index", "names", "classes", "sha256", *PARTS)}
    # What NumPy and zipfile raise for something else or a damaged file.
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, " ".join(str(error).split())) from error


def _first_difference(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    for one, other, side in ((a, b, "a"), (b, a, "b")):
        only = sorted(set(one) - set(other))
        if only:
            return f"{len(a)} in a, {len(b)} in b, and {len(only)} only in {side}, such as {only[0]}"
    return "the same ones in another order"


def _below_common_folder(names: Sequence[str]) -> list[str]:
    """Leave out the folders that all paths have in common."""
    if not names:
        return []
    common = os.path.commonpath([os.path.dirname(name) for name in names])
    return [Path(os.path.relpath(name, common or ".")).as_posix() for name in names]


def _small(values: np.ndarray) -> np.ndarray:
    """Return counts in the smallest unsigned type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _best_step(status: Path) -> int | None:
    """Return the step of the best validation; None where that is not known."""
    try:
        content = json.loads(status.read_text(encoding="utf-8"))
        return int(content["best"]["step"]) if content["best"] else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{status} does not say which validation is best ({error}); give a file in {MANY} instead") from error


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is no file of counts, or damaged ({reason}); evaluate again, or give another file")
