"""What all commands share: composing the configuration, and turning what a user can mend into one sentence.

Nothing here imports torch, so that `--help` and completion answer at once.
"""

import difflib
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from fcn_lightning import InputError
from fcn_lightning.config import CONF_DIR, compose, options
from fcn_lightning.jobs import leading, noted
from fcn_lightning.training.launch import launch
from fcn_lightning.zoo.recipes import is_row, row_id, rows

Main = Callable[[DictConfig], Any]
# What a default value is -> what may replace it; bool before int, because every bool is an int.
KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    ((int, float), "a number"),
    (ListConfig, "a list of that length"),
)
# Of Hydra's launchers and sweepers -> the extra that brings it.
EXTRAS = {"joblib": "sweep", "optuna": "sweep", "tpe": "sweep", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}


def command(verb: str) -> Callable[[Main], Callable[[], None]]:
    """Make a function of the composed configuration a command.

    Args:
        verb: name of its YAML file in `conf/`.
    """

    def decorate(main: Main) -> Callable[[], None]:
        def job(config: DictConfig) -> Any:
            if launch().rank:
                logging.getLogger().setLevel(logging.WARNING)  # rank 0 says what there is to say
            hydra = HydraConfig.get()
            if hydra.mode == RunMode.MULTIRUN and "sweep" in hydra.callbacks and launch().rank == 0:
                with noted(lambda error: _describe(error, verb)):
                    check_types(config, verb)
                    return main(config)  # a sampler reads what comes back
                return None
            try:
                check_types(config, verb)
                return main(config)
            except Exception as error:
                if _input_error(error) is None or hydra.mode == RunMode.MULTIRUN:
                    raise  # a bug shows its traceback
                _fail(explain(error, [], verb), Path(hydra.runtime.output_dir))
            return None

        job.__module__ = main.__module__  # Hydra names the job after it
        run = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=verb)(job)

        def entry() -> None:
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here instead of being printed by Hydra
            with leading():
                try:
                    run()
                except (InputError, HydraException, OmegaConfBaseException) as error:
                    _fail(explain(error, sys.argv[1:], verb))
                except KeyboardInterrupt:
                    sys.stderr.write("interrupted\n")
                    sys.exit(128 + signal.SIGINT)

        return entry

    return decorate


def check_types(config: DictConfig, verb: str) -> None:
    """Compare what was typed with the values it replaces.

    Raises:
        InputError: text where a number belongs, one number where a list belongs, and the like.
    """
    overrides = list(HydraConfig.get().overrides.task)
    groups = options()
    default = compose(*(override for override in overrides if override.split("=")[0] in groups), verb=verb)
    for override in overrides:
        key, _, text = override.partition("=")
        was: Any = OmegaConf.select(default, key, default=None)
        value: Any = OmegaConf.select(config, key)
        types, kind = next(((types, kind) for types, kind in KINDS if isinstance(was, types)), (object, ""))
        fits = isinstance(value, types) or value == "auto"  # who reads the key knows whether that is one of its values
        if not fits or (isinstance(was, ListConfig) and len(was) not in (0, len(value))):
            raise InputError(f"{key}={text} does not fit; {kind} belongs there, such as {key}={str(was).replace(' ', '')}")


def explain(error: Exception, arguments: Sequence[str], verb: str) -> str:
    """Say in one sentence what a user can mend.

    Args:
        error: what was raised.
        arguments: of the command line.
        verb: the command.
    """
    cause = _input_error(error)
    if isinstance(cause, InputError):
        # A loader process wraps the message into its traceback; the sentence is what follows the last class name.
        return str(cause).rsplit("InputError: ", 1)[-1].strip()
    if isinstance(cause, MissingMandatoryValue):
        key = cause.full_key
        return f"{key} is not set; add {key}=<value> to the command"
    if isinstance(error, InterpolationResolutionError) and (said := re.search(r"resolving interpolation: (.*)", str(error))):
        return said[1].strip()  # by a resolver of this package
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        return f"{error.override} cannot be read; quote the value twice, as in \"{key}='{value}'\""
    if (plugin := re.search(r"Could not find '(hydra/\w+/(\w+))'", str(error))) and plugin[2] in EXTRAS:
        return f"{plugin[1]} is not installed; run pip install 'fcn_lightning[{EXTRAS[plugin[2]]}]'"
    return next(_misspelt(arguments, verb), None) or " ".join(str(error).split())


def _describe(error: Exception, verb: str) -> str:
    """Say how a job of a sweep failed; a bug shows its traceback before that, and leaves it in the job's log."""
    if _input_error(error) is not None:
        return explain(error, [], verb)
    logging.getLogger(__name__).error("", exc_info=error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _input_error(error: BaseException | None) -> Exception | None:
    """Find what the user can mend in a chain of causes."""
    while error is not None:
        if isinstance(error, InputError | MissingMandatoryValue):
            return error
        error = error.__cause__
    return None


def _misspelt(arguments: Sequence[str], verb: str) -> Iterator[str]:
    """Yield a sentence for each override whose group, option or key does not exist."""
    groups = options()
    overrides = dict(argument.split("=", 1) for argument in arguments if re.match(r"[\w.]+=", argument))
    for group in overrides.keys() & groups.keys():
        for option in overrides[group].split(","):
            if option in groups[group]:
                continue
            if group == "recipe":
                yield _no_recipe(option)
                continue
            yield f"{group}={option} does not exist{_nearest(option, groups[group])}; {group} can be {', '.join(groups[group])}"
    chosen = [f"{key}={value}" for key, value in overrides.items() if key in groups and value in groups[key]]
    for choice in chosen:
        if not _composes(choice, verb):
            yield f"{choice.partition('=')[0]} is no key of this command; leave {choice} out (--help lists all keys)"
    keys = list(_keys(compose(*chosen, verb=verb))) + list(groups)
    for key in overrides:
        if key not in keys and not key.startswith("hydra."):
            yield f"{key} is no key of this command{_nearest(key, keys)}; --help lists all keys"


def _composes(choice: str, verb: str) -> bool:
    """Tell whether a command knows the group of a choice."""
    try:
        compose(choice, verb=verb)
    except HydraException:
        return False
    return True


def _no_recipe(name: str) -> str:
    """Say which recipe is meant; rows have a second name, and are too many to be listed."""
    if is_row(name):
        return f"recipe={name} is the row's name in mmsegmentation 1.x; type recipe={row_id(name)}"
    return f"recipe={name} does not exist{_nearest(name, rows())}; python -m fcn_lightning.table lists all rows"


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        name = prefix + key
        yield name
        if not OmegaConf.is_missing(config, key) and isinstance(config[key], DictConfig):
            yield from _keys(config[key], f"{name}.")


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _fail(sentence: str, folder: Path | None = None) -> None:
    """Print the sentence and end with status 1; a run folder that holds nothing yet is taken away again."""
    sys.stderr.write(f"error: {sentence}\n")
    here = Path.cwd()
    while folder is not None and here in folder.parents and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
    if folder is not None and (folder / "config.yaml").is_file():
        with (folder / f"{HydraConfig.get().job.name}.log").open("a", encoding="utf-8") as file:
            file.write(f"error: {sentence}\n")
    sys.exit(1)
