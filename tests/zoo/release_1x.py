"""Files as release 1.x writes them, with the foreign classes that they mention, where mmengine is not installed."""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from torch import Tensor


class HistoryBuffer:
    """Pickles as mmengine's buffer does: arrays, numbers of numpy, and its own methods."""

    def __init__(self, extra: object = None) -> None:
        self._log_history = np.array([0.5, 0.25])
        self._count_history = np.array([1, 2])
        self.last = (np.float64(0.25), np.float32(0.25), np.int64(3), np.bool_(True))
        self.extra = extra

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"statistics_methods": {"mean": HistoryBuffer.mean}}

    def mean(self) -> float:
        return float(self._log_history.mean())


class ConfigDict(dict):  # type: ignore[type-arg]
    """Pickles as mmengine's configuration does."""

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return ConfigDict, (dict(self),)


FOREIGN_CLASSES = {"mmengine.logging.history_buffer": HistoryBuffer, "mmengine.config.config": ConfigDict}


@contextmanager
def mmengine() -> Iterator[None]:
    """Let the two classes be pickled under mmengine's names; afterwards there is no such module."""
    with pytest.MonkeyPatch.context() as patch:
        for name, cls in FOREIGN_CLASSES.items():
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                parent = ".".join(parts[:length])
                patch.setitem(sys.modules, parent, sys.modules.get(parent, types.ModuleType(parent)))
            patch.setattr(sys.modules[name], cls.__name__, cls, raising=False)
            patch.setattr(cls, "__module__", name)
        yield
    assert "mmengine" not in sys.modules


def release_1x(state: dict[str, Tensor], extra: object = None) -> dict[str, Any]:
    """What release 1.x writes; to be pickled inside `mmengine()`."""
    hub = {
        "log_scalars": {"train/loss": HistoryBuffer(extra), "train/lr": HistoryBuffer()},
        "runtime_info": {"iter": 3, "cfg": "model = dict()", "seed": np.int64(5), "loop": ConfigDict(a=1), "eta": np.arange(3)},
        "resumed_keys": {"train/loss": True},
    }
    meta = {
        "epoch": 1,
        "iter": 3,
        "seed": np.int64(5),
        "mmengine_version": "0.10.7",
        "dataset_meta": {"classes": ("a", "b"), "palette": [[1, 2, 3], [4, 5, 6]], "label_map": None},
    }
    return {"meta": meta, "state_dict": state, "message_hub": hub, "param_schedulers": [{"eta_min": np.float64(1e-4)}]}
