"""Fully Convolutional Networks for semantic segmentation: train, evaluate, predict.

The commands are `python -m fcn_lightning.<verb>`; in Python, `fcn_lightning.load` opens a trained network, and
`fcn_lightning.zoo` lists the published rows.
Importing this package loads no heavy library.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fcn_lightning import zoo as zoo
    from fcn_lightning.zoo.load import load as load

__all__ = ["InputError", "load", "zoo"]
__version__ = "0.1.0"

# albumentations asks a package index for a newer version on import: two seconds offline, and nobody's business online.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


class InputError(Exception):
    """Something that the user can mend: the message says what happened, where, and the edit that fixes it.

    The commands print it as one sentence, without a traceback, and exit with status 1.
    """


def __getattr__(name: str) -> object:
    """Import `load`, which needs torch, and `zoo`, which needs Hydra, on first use."""
    if name == "load":
        from fcn_lightning.zoo.load import load

        return load
    if name == "zoo":
        return import_module("fcn_lightning.zoo")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
