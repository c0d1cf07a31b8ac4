"""Re-check a published number: `python -m fcn_lightning.reproduce recipe=<row id> weights=<file> dataset.root=<folder>`."""

import logging
from dataclasses import replace

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.cli import command
from fcn_lightning.config import build, joined, others, run_folder, typed
from fcn_lightning.evaluate import validate
from fcn_lightning.training.launch import launch
from fcn_lightning.zoo.recipes import card, row

log = logging.getLogger(__name__)

# Everything else is the row's: a number that is made in another way is no reproduction.
MAY_BE_SET = {
    "recipe",
    "weights",
    "tta",
    "dataset.root",
    "dataset.workers",
    "trainer",
    "trainer.accelerator",
    "trainer.devices",
    "run_name",
}


@command("reproduce")
def main(config: DictConfig) -> None:
    """Evaluate published weights as they were published, and leave a certificate.

    Args:
        config: `conf/reproduce.yaml` as composed.
    """
    here = launch()
    if here.rank:
        config = joined(run_folder())
    else:
        check_request(typed(HydraConfig.get().overrides.task))
    published = row(config.row.id)
    figure = published.figure(ms_flip=config.tta == "ms_flip")
    if figure is None:
        raise InputError(f"the row {published.id} was published without an mIoU for tta={config.tta}; leave tta out")

    from fcn_lightning.reporting.certificate import Certificate, comparison_table
    from fcn_lightning.reporting.console import quiet_lightning
    from fcn_lightning.training.device import exact_fp32
    from fcn_lightning.zoo.weights import load_exactly, open_weights

    quiet_lightning()
    exact_fp32()
    weights = open_weights(config.weights or published.id)
    described = card(published.id)
    described = replace(described, inference=replace(described.inference, tta=config.tta))
    model = described.build()
    load_exactly(model, weights, published)
    datamodule = build(config.dataset)
    datamodule.base_scale = described.base_scale
    left_out = datamodule.use_present_val()

    folder = run_folder()
    task = validate(config, "reproduce", model, described, datamodule)
    if here.rank:
        return
    if task.scores is None:
        raise RuntimeError("validation gave no scores")
    certificate = Certificate(published, figure, weights, described, datamodule, left_out, task.scores)
    certificate.write(folder / "certificate.json", task.device)
    log.info("%s\n%s", comparison_table(certificate), folder / "certificate.json")
    if certificate.objections:
        raise InputError(
            f"not reproduced: {'; '.join(certificate.objections)}; {folder / 'certificate.json'} says what was compared"
        )


def check_request(overrides: set[str]) -> None:
    """Refuse a command line without a row, or with settings that are the row's.

    Raises:
        InputError: it is one.
    """
    if "recipe" not in overrides:
        raise InputError("recipe is not set; add recipe=<row id>, which python -m fcn_lightning.table lists")
    refused = others(overrides, MAY_BE_SET)
    if refused:
        raise InputError(f"{refused[0]} is decided by the row, or has no effect here; leave {refused[0]} out")


if __name__ == "__main__":
    main()
