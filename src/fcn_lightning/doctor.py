"""Explain what is wrong with a data set: `python -m fcn_lightning.doctor dataset=folder dataset.root=<folder>`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fcn_lightning import InputError
from fcn_lightning.cli import command
from fcn_lightning.config import build, compose, options, others, run_folder, typed

if TYPE_CHECKING:  # numpy, torch and Lightning are imported when work starts, so that --help answers at once
    from fcn_lightning.diagnosis.diagnosis import Diagnosis

log = logging.getLogger(__name__)

MAY_BE_SET = {"dataset", "dataset.", "images", "fix", "output", "run_name"}


@command("doctor")
def main(config: DictConfig) -> None:
    """Scan a data set, write what is wrong with it, and on request a folder that mends it.

    Args:
        config: `conf/doctor.yaml` as composed.
    """
    check_request(typed(HydraConfig.get().overrides.task), config.images)
    folder = run_folder()
    check_output(folder, Path(config.dataset.get("root") or folder / "nowhere"))

    from fcn_lightning.data.datamodule import available_cores
    from fcn_lightning.diagnosis.diagnosis import diagnose
    from fcn_lightning.diagnosis.fix import fix
    from fcn_lightning.diagnosis.summary import sentences
    from fcn_lightning.reporting import record

    diagnosis = diagnose(build(config.dataset), images=config.images, processes=available_cores())
    record.claim(folder, OmegaConf.to_yaml(config, resolve=True), HydraConfig.get().overrides.task)
    report(diagnosis, folder)
    if not config.fix:
        refuse(diagnosis, folder, "fix=true output=<new folder> writes one that mends what can be mended")
        return
    if not diagnosis.errors:
        log.info("there is nothing to mend, so nothing else is written")
        return

    mended = fix(diagnosis, folder, processes=available_cores())
    record.write_json(folder / "doctor.json", diagnosis.as_json() | {"fix": mended.as_json()})
    log.info("%s", mended)
    again = build(compose("dataset=folder", verb="doctor").dataset, {"root": str(folder)})
    after = diagnose(again, images=config.images, processes=available_cores())
    log.info("examined again:\n%s", sentences(after))
    refuse(after, folder, "mend the rest by hand")
    log.info("train on it with dataset=folder dataset.root=%s", folder)


def report(diagnosis: "Diagnosis", folder: Path) -> None:
    """Show the findings and how often each class occurs, and write both as JSON and as a page.

    Args:
        diagnosis: of the data set.
        folder: to write to.
    """
    from fcn_lightning.diagnosis.page import write_page
    from fcn_lightning.diagnosis.summary import class_table, examined, sentences, verdict
    from fcn_lightning.reporting import record

    write_page(diagnosis, folder / "doctor.html")
    record.write_json(folder / "doctor.json", diagnosis.as_json() | {"fix": None})
    log.info("%s\n", sentences(diagnosis))
    if diagnosis.frequencies:
        log.info("%s\n", class_table(diagnosis.frequencies))
    log.info("%s\n%s  %s", examined(diagnosis), verdict(diagnosis), folder / "doctor.html")


def refuse(diagnosis: "Diagnosis", folder: Path, remedy: str) -> None:
    """End with status 1 where training would stop or learn something wrong.

    Raises:
        InputError: it would.
    """
    if diagnosis.errors:
        codes = ", ".join(finding.code for finding in diagnosis.errors)
        raise InputError(f"training on {diagnosis.root} would stop or learn something wrong ({codes}), see {folder}; {remedy}")


def check_request(overrides: set[str], images: int) -> None:
    """Refuse a command line without a data set, and keys that have no effect here.

    Raises:
        InputError: it is one.
    """
    if "dataset" not in overrides:
        raise InputError(f"dataset is not set; add dataset=<name>, where the names are {', '.join(options()['dataset'])}")
    refused = others(overrides, MAY_BE_SET)
    if refused:
        raise InputError(f"{refused[0]} has no effect here; leave {refused[0]} out")
    if images < 0:
        raise InputError(f"images={images} is no number of images; give 0 or more")


def check_output(folder: Path, root: Path) -> None:
    """Refuse a folder that holds something, or lies among the data: nothing that was given is changed.

    Raises:
        InputError: it does.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"output={folder} is not empty, and nothing is overwritten; give a new folder")
    if root.resolve() in (folder.resolve(), *folder.resolve().parents):
        folder.rmdir()  # Hydra has just made it
        raise InputError(f"output={folder} lies inside dataset.root={root}; give a folder outside it")


if __name__ == "__main__":
    main()
