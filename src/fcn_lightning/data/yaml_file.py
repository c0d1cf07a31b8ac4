"""Reading a YAML file that anybody may have written: plain values alone, none by reference, and not much of it."""

from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import Node

from fcn_lightning import InputError

MAX_BYTES = 1 << 18  # 256 kB: 253 classes with names of 100 letters, colours and a label_map take a quarter of it
# What the constructors of plain values raise, beside YAML's own errors: as on 2001-99-99, or a number of 5,000 digits.
WRONG = (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class _Loader(yaml.SafeLoader):
    """Makes numbers, strings, lists and dicts; refuses aliases, by which few lines stand for billions of words."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Compose a node that is written out."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it refers to an anchor, as in *name; write the value itself there")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Args:
        path: of the file.

    Raises:
        OSError: it cannot be opened.
        InputError: it is too large, no YAML, or asks for anything but plain values.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} has more than {MAX_BYTES:,} bytes, which no such file needs; give a shorter one")
    try:
        return yaml.load(data.decode("utf-8-sig"), _Loader)
    except WRONG as error:
        reason = "lists in lists without end" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise InputError(f"{path} is not valid YAML ({reason}); correct it") from error
