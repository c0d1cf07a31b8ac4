"""Show how the jobs of a sweep stand, or go on with it: `python -m fcn_lightning.sweep folder=outputs/sweeps/<time>`."""

import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.cli import command
from fcn_lightning.reporting.sweep_state import Sweep, read_sweep
from fcn_lightning.reporting.sweep_table import pair, summary

log = logging.getLogger(__name__)

VERBS = ("train", "evaluate")
# Words about Hydra itself that are started again without a look; others could load or run what is not of this package.
KNOWN = re.compile(r"hydra/(launcher|sweeper|sweeper/sampler)=\w+|hydra\.(sweep|sweeper|launcher)\.[\w.\\]+=[\w.,:()+-]*")


@command("sweep")
def main(config: DictConfig) -> None:
    """Print the table of a sweep, or start its command again.

    Args:
        config: `conf/sweep.yaml` as composed.
    """
    sweep = read_sweep(Path(str(config.folder)))
    if (config.a is None) != (config.b is None):
        raise InputError("only one of a and b is given; give the numbers of two jobs, or none to have two chosen")
    if config.resume:
        resume(sweep)
        return
    log.info("%s", summary(sweep))
    if config.a is not None or pair(sweep):  # torch is loaded only for this
        show_difference(sweep, config.a, config.b)


def show_difference(sweep: Sweep, a: int | None, b: int | None) -> None:
    """Print the difference of two jobs beyond the choice of images.

    Args:
        sweep: with at least two finished jobs.
        a: number of one job; None for the two that `pair` chooses.
        b: number of the other.
    """
    from fcn_lightning.reporting.sweep_difference import compare, describe_pair, job_of

    chosen = pair(sweep)
    if a is not None and b is not None:
        words, _ = compare(sweep, job_of(sweep, "a", a), job_of(sweep, "b", b))
    elif chosen:
        words, _ = describe_pair(sweep, chosen)
    else:
        return
    log.info("\n%s", words)


def resume(sweep: Sweep) -> None:
    """Start the command of a sweep again, and end with its exit status.

    Raises:
        InputError: where it was typed is gone, or it would do more than train.
    """
    plan = sweep.plan
    words = [sys.executable, "-m", f"fcn_lightning.{plan.verb}", "-m", *plan.words]
    if plan.adaptive:
        log.info("%s is an adaptive sweep, which cannot go on: it starts anew in a new folder", sweep.folder)
    else:
        words += [f"hydra.sweep.dir={_quote(str(sweep.folder.absolute()))}", "resume=auto"]
    shown = shlex.join(["python", *words[1:]])
    strange = next((word for word in plan.words if not is_plain(word)), None if plan.verb in VERBS else plan.verb)
    if strange:
        raise InputError(f"{sweep.folder} was started with {strange}, which only you can judge; type the command: {shown}")
    if not Path(plan.cwd).is_dir():
        raise InputError(f"{plan.cwd}, where the sweep was started, is gone; go to where its data are, and type {shown}")
    log.info("%s", shown)
    sys.stdout.flush()
    sys.exit(subprocess.run(words, cwd=plan.cwd, env=os.environ).returncode)


def is_plain(word: str) -> bool:
    """Tell whether a word of a stored command only sets a value: a stranger's folder must not choose what is run."""
    if "_target_" in word or "\n" in word:
        return False
    return "hydra" not in word or KNOWN.fullmatch(word) is not None


def _quote(path: str) -> str:
    """Quote a value for Hydra, where that is needed."""
    if re.fullmatch(r"[\w./-]+", path):
        return path
    escaped = path.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


if __name__ == "__main__":
    main()
