"""Compare a run with a published log: `python -m fcn_lightning.compare log=<published log> run=<run folder>`."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.cli import command

log = logging.getLogger(__name__)


@command("compare")
def main(config: DictConfig) -> None:
    """Say where the run first deviates, with a table and a figure.

    Args:
        config: `conf/compare.yaml` as composed.
    """
    published_log, run_log = find_log("log", str(config.log)), find_log("run", str(config.run))
    picture = find_output(config.output, run=Path(str(config.run)))

    from fcn_lightning.reporting.alignment import table
    from fcn_lightning.reporting.comparison import compare
    from fcn_lightning.zoo.logs import read_log

    published, run = read_log(published_log), read_log(run_log)
    result = compare(published, run)
    log.info("\n".join([result.sentence, *result.notes, "", table(published, run), ""]))

    from fcn_lightning.reporting.figures import compared_curves  # torch and matplotlib: the words need not wait for them

    try:
        compared_curves(run, published, result, picture)
    except OSError as error:
        raise InputError(f"output={picture} cannot be written ({error.strerror}); give another output=<file>.png") from error
    log.info("%s", picture)


def find_log(key: str, given: str) -> Path:
    """Return the log file that is given, or the one in a given run folder.

    Args:
        key: of the configuration, for the message.
        given: its value.

    Raises:
        InputError: there is none.
    """
    path = Path(given)
    if not path.exists():
        raise InputError(f"{key}={given} does not exist; give a run folder or a log file")
    if not path.is_dir():
        return path
    if not (path / "log.jsonl").is_file():
        raise InputError(f"{key}={given} has no log.jsonl, so it is no run folder; give the folder of a training, or a log file")
    return path / "log.jsonl"


def find_output(output: str | None, run: Path) -> Path:
    """Return where the picture goes.

    Args:
        output: as given.
        run: folder or log file.

    Raises:
        InputError: it is no PNG.
    """
    if output is None:
        return run / "plots" / "comparison.png" if run.is_dir() else run.parent / "comparison.png"
    path = Path(str(output))
    if path.suffix.lower() != ".png" or path.is_dir():
        raise InputError(f"output={output} names no PNG file; give output=<file>.png")
    return path


if __name__ == "__main__":
    main()
