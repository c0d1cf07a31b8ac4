"""Show samples as training will see them: `python -m fcn_lightning.browse dataset=camvid dataset.root=<folder>`."""

import logging

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fcn_lightning import InputError
from fcn_lightning.cli import command
from fcn_lightning.config import build, run_folder

log = logging.getLogger(__name__)

SPLITS = ("train", "val")
MOST = 64  # samples on a sheet; more would be too small to see anything


@command("browse")
def main(config: DictConfig) -> None:
    """Draw a contact sheet of the samples at some positions.

    Args:
        config: `conf/browse.yaml` as composed.
    """
    check_request(config)
    folder = run_folder()
    if any(folder.iterdir()):
        raise InputError(f"output={folder} is not empty, and nothing is overwritten; give a new folder")

    from fcn_lightning.data.images import write_png
    from fcn_lightning.reporting import record
    from fcn_lightning.reporting.data_sheets import training_sheet, validation_sheet

    datamodule = build(config.dataset)
    positions = range(config.first, config.first + config.count)
    if config.split == "val":
        sheet = validation_sheet(datamodule, positions)
    else:
        sheet, rate = training_sheet(datamodule, positions)
        log.info("one process makes about %.1f samples per second", rate)
    record.claim(folder, OmegaConf.to_yaml(config, resolve=True), HydraConfig.get().overrides.task)
    write_png(folder / "browse.png", sheet)
    log.info("%s", folder / "browse.png")


def check_request(config: DictConfig) -> None:
    """Refuse a split or positions that do not exist.

    Raises:
        InputError: they do not.
    """
    if config.split not in SPLITS:
        raise InputError(f"split={config.split} is not known; use {' or '.join(SPLITS)}")
    if not 1 <= config.count <= MOST:
        raise InputError(
            f"count={config.count} does not fit on a sheet; give 1 to {MOST}, and first=<position> for those that follow"
        )
    if config.first < 0:
        raise InputError(f"first={config.first} is no position; the first sample has 0")


if __name__ == "__main__":
    main()
