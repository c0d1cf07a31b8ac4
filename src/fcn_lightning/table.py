"""List the published rows as the README does: `python -m fcn_lightning.table`, and `readme=README.md` to bring it up to date."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.cli import command
from fcn_lightning.zoo.table import BEGIN, END, zoo_table

log = logging.getLogger(__name__)


@command("table")
def main(config: DictConfig) -> None:
    """Print the table, or put it between the two marks of a file.

    Args:
        config: `conf/table.yaml` as composed.
    """
    table = zoo_table(Path(config.verified) if config.verified else None)
    if not config.readme:
        log.info("%s", table)
        return
    readme = Path(config.readme)
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise InputError(f"readme={readme} lacks the lines {BEGIN} and {END}, between which the table stands; add them")
    before, _, rest = text.partition(BEGIN)
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    log.info("the table in %s is up to date", readme)


if __name__ == "__main__":
    main()
