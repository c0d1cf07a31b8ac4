"""Fully Convolutional Networks for semantic segmentation: train, evaluate, predict.

The commands are `python -m fcn_lightning.<verb>`; in Python, `fcn_lightning.load` opens a checkpoint.
Importing this package loads no heavy library.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fcn_lightning.training.checkpoint import load as load

__all__ = ["InputError", "load"]
__version__ = "0.1.0"

# albumentations asks a package index for a newer version on import: two seconds offline, and nobody's business online.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


class InputError(Exception):
    """Something that the user can mend: the message says what happened, where, and the edit that fixes it.

    The commands print it as one sentence, without a traceback, and exit with status 1.
    """


def __getattr__(name: str) -> object:
    """Import `load` on first use, because it needs torch."""
    if name == "load":
        from fcn_lightning.training.checkpoint import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
