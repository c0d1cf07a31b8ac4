"""Write a network for other programs: `python -m fcn_lightning.export checkpoint=<file> format=mmseg output=weights.pth`."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.cli import command

if TYPE_CHECKING:  # torch is imported when work starts, so that --help answers at once
    from torch import nn

    from fcn_lightning.data.dataset import Labels

log = logging.getLogger(__name__)

FORMATS = ("mmseg",)


@command("export")
def main(config: DictConfig) -> None:
    """Write the weights of a checkpoint or a published row.

    Args:
        config: `conf/export.yaml` as composed.
    """
    output = Path(config.output)
    if config.format not in FORMATS:
        raise InputError(f"format={config.format} is not known; use {' or '.join(FORMATS)}")
    if output.exists():
        raise InputError(f"output={output} exists, and nothing is overwritten; give a new file")

    from fcn_lightning.models.weight_files import check_hash, name_hash
    from fcn_lightning.zoo.load import load_requested

    ending = name_hash(output.name)
    if ending:  # the file would be refused wherever it is read
        raise InputError(f"output={output} promises a SHA-256 that starts with {ending}; leave -{ending} out of the name")
    predictor = load_requested(config.checkpoint, config.weights, config.row)
    write_mmseg(output, predictor.model, predictor.card.labels)
    log.info("%s  SHA-256 %s", output, check_hash(output))


def write_mmseg(path: Path, model: "nn.Module", labels: "Labels") -> None:
    """Write a network as mmsegmentation stores one, so that it loads there strictly.

    Args:
        path: of the file, which appears only when it is complete.
        model: to write.
        labels: its classes and palette, for the file's metadata.

    Raises:
        InputError: the folder cannot be written to.
    """
    import torch

    classes, palette = labels.classes, [list(color) for color in labels.palette]
    # Names and colours twice: releases before 1.0 read the first pair, 1.x the second.
    meta = {"CLASSES": classes, "PALETTE": palette, "dataset_meta": {"classes": classes, "palette": palette}}
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"meta": meta, "state_dict": dict(model.state_dict())}, part)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as the latter
        with suppress(OSError):
            part.unlink()
        reason = " ".join(str(error).split())
        raise InputError(f"{path} could not be written ({reason}); give output=<file> in a folder with room") from error


if __name__ == "__main__":
    main()
