"""Which data sets can be prepared, from which parts, and how."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fcn_lightning import InputError
from fcn_lightning.preparation import ade20k, camvid, cityscapes, pascal_context, voc12aug
from fcn_lightning.preparation.outputs import Output
from fcn_lightning.preparation.sources import Found, Part


@dataclass(frozen=True)
class Layout:
    """A published data set.

    Args:
        name: in the record; data sets that differ in their settings alone share it.
        parts: that it consists of.
        plan: the parts that were found, and the root, to the files of the prepared data set.
        needs: libraries that the conversion uses.
    """

    name: str
    parts: tuple[Part, ...]
    plan: Callable[[Sequence[Found], Path], list[Output]]
    needs: tuple[str, ...] = ()


CITYSCAPES = Layout("cityscapes", cityscapes.PARTS, cityscapes.plan)
PASCAL_CONTEXT = Layout("pascal_context", pascal_context.PARTS, pascal_context.plan, needs=("pycocotools",))
LAYOUTS = {  # as in dataset=<name>
    "ade20k": Layout("ade20k", ade20k.PARTS, ade20k.plan),
    "camvid": Layout("camvid", camvid.PARTS, camvid.plan),
    "cityscapes": CITYSCAPES,
    "cityscapes_769": CITYSCAPES,
    "pascal_context": PASCAL_CONTEXT,
    "pascal_context_59": PASCAL_CONTEXT,
    "voc12aug": Layout("voc12aug", voc12aug.PARTS, voc12aug.plan, needs=("scipy",)),
}


def layout(name: str) -> Layout:
    """Return how a data set is prepared.

    Args:
        name: as in `dataset=<name>`.

    Raises:
        InputError: it is not prepared by archives, or a library is missing.
    """
    if name not in LAYOUTS:
        raise InputError(f"dataset={name} is not made from published archives; those that are: {', '.join(LAYOUTS)}")
    missing = [library for library in LAYOUTS[name].needs if find_spec(library) is None]
    if missing:
        raise InputError(f"dataset={name} is converted with {missing[0]}, which is not installed; run pip install {missing[0]}")
    return LAYOUTS[name]
