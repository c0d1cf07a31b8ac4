"""Weights as safetensors, with a card: a format that cannot hold code, and that other tools read."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fcn_lightning import InputError

SUFFIX = ".safetensors"
KEY = "fcn_lightning"  # of the card in the file's metadata, as JSON


def write(path: Path, state: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write weights with what prediction needs beside them; the file appears only when it is complete.

    Args:
        path: of the file.
        state: parameter name -> tensor.
        card: plain numbers, strings, lists and dicts.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    try:
        save_file(tensors, part, {"format": "pt", KEY: json.dumps(card)})
        os.replace(part, path)
    except SafetensorError as error:  # the library's word for what the system refuses
        raise OSError(f"{path} could not be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """Read such a file.

    Returns:
        "state_dict"; and the card under `KEY`, where the file has one.

    Raises:
        InputError: it is broken, or something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            content: dict[str, Any] = {"state_dict": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
        if KEY in metadata:
            content[KEY] = json.loads(metadata[KEY])
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged or no safetensors file ({' '.join(str(error).split())[:100]}); use another one"
        ) from error
    for name, tensor in content["state_dict"].items():
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64):
            raise InputError(f"{path} holds {name} as {tensor.dtype}, which no weights of this package are; use another file")
    return content
