"""Tell whether two networks differ: `python -m fcn_lightning.bootstrap a=<run folder> b=<run folder>`."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.cli import command

log = logging.getLogger(__name__)


@command("bootstrap")
def main(config: DictConfig) -> None:
    """Resample the validation images of two runs, and say how far their scores differ beyond that.

    Args:
        config: `conf/bootstrap.yaml` as composed.
    """
    if config.seed < 0:
        raise InputError(f"seed={config.seed} is negative; give seed=0 or more")
    output = find_output(config.output)

    from fcn_lightning.evaluation.bootstrap import paired_bootstrap
    from fcn_lightning.reporting.count_files import find_counts, read_counts, require_same_images
    from fcn_lightning.reporting.record import write_json
    from fcn_lightning.reporting.significance import as_json, difference_table, sentence

    a, b = (read_counts(find_counts(key, str(config[key]))) for key in ("a", "b"))
    require_same_images(a, b)
    result = paired_bootstrap(a.counts, b.counts, resamples=config.resamples, seed=config.seed)
    log.info("a  %s\nb  %s\n\n%s\n\n%s", a.path, b.path, difference_table(result, a.classes), sentence(result))
    if output is None:
        return
    files = {"a": str(a.path), "b": str(b.path), "file_list_sha256": a.sha256, "seed": config.seed}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, files | as_json(result, a.classes) | {"sentence": sentence(result)})
    except OSError as error:
        raise InputError(f"output={output} cannot be written ({error.strerror}); give another output=<file>.json") from error
    log.info("%s", output)


def find_output(given: str | None) -> Path | None:
    """Return where the figures go, if anywhere.

    Args:
        given: value of the key.

    Raises:
        InputError: it is no JSON file, or one that exists.
    """
    if given is None:
        return None
    path = Path(str(given))
    if path.suffix.lower() != ".json":
        raise InputError(f"output={given} names no JSON file; give output=<file>.json")
    if path.exists():
        raise InputError(f"output={given} exists, and nothing is overwritten; give a new file")
    return path


if __name__ == "__main__":
    main()
