"""Write a network for other programs: `python -m fcn_lightning.export checkpoint=<file> format=mmseg output=weights.pth`."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.cli import command

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

    from fcn_lightning.zoo.load import load_requested
    from fcn_lightning.zoo.weights import write_mmseg

    predictor = load_requested(config.checkpoint, config.weights, config.recipe)
    digest = write_mmseg(output, predictor.model, predictor.card.labels)
    log.info("%s  SHA-256 %s", output, digest)


if __name__ == "__main__":
    main()
