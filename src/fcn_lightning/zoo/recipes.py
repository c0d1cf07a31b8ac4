"""The rows of the published FCN table, as `conf/recipe` has them: choices of groups, and the published figures.

A row's id is the base name of its checkpoint; the configuration name of mmsegmentation 1.x is accepted beside it.
"""

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.config import CONF_DIR, compose, plain
from fcn_lightning.config import build as build_node

if TYPE_CHECKING:  # torch is imported when a network is built, so that the commands can look a row up at once
    from fcn_lightning.evaluation.predictor import Card
    from fcn_lightning.models.fcn import FCN


@dataclass(frozen=True)
class Row:
    """What was published of one row; percentages on the data set's validation split.

    Args:
        id: of the recipe: the checkpoint's base name.
        method: as in the published table.
        backbone: as in the published table, such as "R-50-D8".
        dataset: name of the data set.
        crop_size: height and width of a training crop.
        steps: of the schedule.
        miou: single scale, of the last step.
        device: that memory and speed were measured on.
        date: of the training, YYYYMMDD.
        checkpoint: address of the weights.
        log: address of the training log.
        sha256_prefix: first eight digits of the weights' SHA-256.
        config_name: of mmsegmentation 1.x, where it has the row.
        miou_ms_flip: with six scales, each also mirrored.
        memory_gb: of training, per GPU.
        fps: images per second of the whole test.
        bytes: size of the weights' file, where known.
        auxiliary_classes: outputs of the published auxiliary classifier, where they differ from the data set's classes.
    """

    id: str
    method: str
    backbone: str
    dataset: str
    crop_size: tuple[int, int]
    steps: int
    miou: float
    device: str
    date: str
    checkpoint: str
    log: str
    sha256_prefix: str
    config_name: str | None = None
    miou_ms_flip: float | None = None
    memory_gb: float | None = None
    fps: float | None = None
    bytes: int | None = None
    auxiliary_classes: int | None = None

    def figure(self, *, ms_flip: bool) -> float | None:
        """Return the published mIoU of a test in percent, None where there is none."""
        return self.miou_ms_flip if ms_flip else self.miou

    @property
    def file_name(self) -> str:
        """Name of the published weights."""
        return PurePosixPath(self.checkpoint).name


@cache
def rows() -> tuple[str, ...]:
    """Return the ids of all rows, sorted."""
    return tuple(sorted(file.stem for file in (CONF_DIR / "recipe").glob("*.yaml")))


@cache
def row(name: str) -> Row:
    """Return what was published of a row.

    Args:
        name: its id, or its configuration name in mmsegmentation 1.x.

    Raises:
        InputError: there is no such row.
    """
    content = yaml.safe_load((CONF_DIR / "recipe" / f"{row_id(name)}.yaml").read_text(encoding="utf-8"))["row"]
    return Row(**content | {"crop_size": tuple(content["crop_size"])})


def row_id(name: str) -> str:
    """Return the id of a row that is given by its id or its configuration name in mmsegmentation 1.x.

    Raises:
        InputError: there is no such row.
    """
    found = name if name in rows() else _ids_of_config_names().get(name)
    if found is None:
        close = difflib.get_close_matches(name, [*rows(), *_ids_of_config_names()], n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise InputError(f"{name} is no row of the zoo{hint}; python -m fcn_lightning.table lists all {len(rows())}")
    return found


def is_row(name: str) -> bool:
    """Tell whether a name is a row's id or its configuration name in mmsegmentation 1.x."""
    return name in rows() or name in _ids_of_config_names()


def row_of_file(file_name: str) -> str | None:
    """Return the id of the row whose published weights have this file name, or None."""
    return next((name for name in rows() if row(name).file_name == file_name), None)


def build(name: str) -> "FCN":
    """Build a row's network with random weights.

    Args:
        name: the row's id, or its configuration name in mmsegmentation 1.x.

    Raises:
        InputError: there is no such row.
    """
    return card(name).build()


def card(name: str) -> "Card":
    """Return what prediction needs of a row beside the weights: network, classes, test mode."""
    config = compose(f"recipe={row_id(name)}")
    return card_of(config, build_node(config.dataset))


def card_of(config: DictConfig, datamodule: Any) -> "Card":
    """Say what checkpoints of a configuration have to carry.

    Args:
        config: `conf/train.yaml` as composed.
        datamodule: of its data set, a `SegmentationDataModule`.
    """
    from fcn_lightning.evaluation.predictor import Card

    scalars = {key: value for key, value in plain(config.model).items() if key != "pretrained"}
    return Card(scalars, datamodule.name, datamodule.labels, datamodule.base_scale, build_node(config.inference))


@cache
def _ids_of_config_names() -> dict[str, str]:
    published = (row(name) for name in rows())
    return {content.config_name: content.id for content in published if content.config_name}
