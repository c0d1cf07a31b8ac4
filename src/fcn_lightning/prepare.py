"""Make a published data set ready from its archives: `python -m fcn_lightning.prepare dataset=voc12aug source=downloads`."""

import logging
import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.cli import command
from fcn_lightning.config import build, others, typed

log = logging.getLogger(__name__)

MAY_BE_SET = {"dataset", "source", "root", "accept_other"}


@command("prepare")
def main(config: DictConfig) -> None:
    """Write the layout that training reads, check it, and say how to use it.

    Args:
        config: `conf/prepare.yaml` as composed.
    """
    name = HydraConfig.get().runtime.choices["dataset"]
    check_request(typed(HydraConfig.get().overrides.task))
    given = [config.source] if isinstance(config.source, str) else config.source
    sources = [Path(str(path)).expanduser() for path in given]

    from fcn_lightning.preparation.assembly import assemble, finish, is_prepared
    from fcn_lightning.preparation.layouts import layout

    chosen = layout(name)
    datamodule = build(config.dataset)
    root = Path(str(config.root)).expanduser() if config.root is not None else Path(datamodule.root)
    datamodule.root = str(root)
    if is_prepared(chosen, datamodule, accept_other=config.accept_other):
        log.info("%s is complete, nothing is left to do", root)
    else:
        try:
            assemble(chosen, sources, root, accept_other=config.accept_other)
        except KeyboardInterrupt as error:
            raise InputError(f"interrupted; the same command goes on where it stopped, what is in {root} is kept") from error
        log.info("%s: %s", root, finish(chosen, datamodule, accept_other=config.accept_other))
    log.info("python -m fcn_lightning.train dataset=%s %s", name, shlex.quote(f"dataset.root={root}"))


def check_request(overrides: set[str]) -> None:
    """Refuse a command line that leaves out the data set, or promises something that does not happen.

    Raises:
        InputError: it does.
    """
    if "dataset" not in overrides:
        raise InputError("dataset is not set; add dataset=<name>, such as dataset=cityscapes (--help lists what can be prepared)")
    refused = others(overrides, MAY_BE_SET)
    if refused:
        raise InputError(f"{refused[0]} has no effect here; leave it out (the folder to write to is root=<folder>)")


if __name__ == "__main__":
    main()
