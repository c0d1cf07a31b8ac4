"""Time a part of a recipe: `python -m fcn_lightning.benchmark what=pipeline recipe=<row id> image=<file> label=<file>`."""

import json
import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.cli import command
from fcn_lightning.config import build

log = logging.getLogger(__name__)

PARTS = ("pipeline",)


@command("benchmark")
def main(config: DictConfig) -> None:
    """Measure, and print one line of JSON.

    Args:
        config: `conf/benchmark.yaml` as composed.
    """
    if config.what not in PARTS:
        raise InputError(f"what={config.what} is not known; use {' or '.join(PARTS)}")
    if config.repeat < 1:
        raise InputError(f"repeat={config.repeat} measures nothing; give at least 1")
    image, label = Path(config.image), Path(config.label)

    import torch

    from fcn_lightning.benchmarks.pipeline import time_pipeline
    from fcn_lightning.reporting.record import device_name

    timing = time_pipeline(build(config.dataset), image, label, repeat=config.repeat)
    choices = HydraConfig.get().runtime.choices
    about = {"what": config.what, "recipe": choices["recipe"], "dataset": choices["dataset"], "cache": config.cache}
    log.info(json.dumps({**about, **timing, "device": device_name(torch.device("cpu"))}))


if __name__ == "__main__":
    main()
