"""Where the configuration is, and how Python composes it: for notebooks, tests and the commands."""

import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fcn_lightning import InputError
from fcn_lightning.data.yaml_file import read_yaml
from fcn_lightning.reporting.run_state import CONFIG, OVERRIDES, find_unfinished, is_free
from fcn_lightning.training.launch import launch, shared_name

_PACKAGE = Path(__file__).resolve().parent
# In a wheel the folder travels inside the package; in a checkout it stands at the root.
CONF_DIR = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if folder.is_dir())


SETTLED = ("trainer.precision", "logger.id")  # what was decided when the run began, and stays with it
PATIENCE = 1800.0  # seconds that a rank waits for rank 0 to write the configuration


def compose(*overrides: str, verb: str = "train") -> DictConfig:
    """Compose a configuration as the command line would.

    Args:
        overrides: as typed, such as "dataset=camvid" or "schedule.max_steps=100".
        verb: which command's configuration.

    Returns:
        The resolved configuration, without Hydra's own part.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = hydra_compose(verb, list(overrides), return_hydra_config=True)
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)  # names of runs refer to the chosen options
    with open_dict(config):
        del config["hydra"]
    OmegaConf.resolve(config)
    HydraConfig.instance().cfg = before
    return config


def options() -> dict[str, list[str]]:
    """Return the choices of each group, as in `dataset=camvid`."""
    folders = [folder for folder in CONF_DIR.iterdir() if folder.is_dir() and folder.name != "hydra"]
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}


def run_folder() -> Path:
    """Return the folder that Hydra made for this run: relative where it lies below the current one, so that it reads well."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def build(node: DictConfig, given: Mapping[str, Any] | None = None) -> Any:
    """Make the object that a node's `_target_` names, with the node's other keys as arguments.

    Lists and dicts arrive as plain Python, so that objects and checkpoints hold no configuration.

    Args:
        node: of the configuration.
        given: further arguments, which are not in YAML.
    """
    return instantiate(node, **(given or {}), _convert_="all")


def plain(node: DictConfig) -> dict[str, Any]:
    """Return a node's keys as a plain dict, without `_target_`."""
    content = OmegaConf.to_container(node, resolve=True)
    if not isinstance(content, dict):
        raise TypeError(f"expected a mapping, got {type(content).__name__}")
    return {str(key): value for key, value in content.items() if key != "_target_"}


def typed(overrides: Sequence[str]) -> set[str]:
    """Return the keys that were set on the command line."""
    return {override.split("=", 1)[0].lstrip("+~") for override in overrides}


def others(overrides: set[str], read: set[str]) -> list[str]:
    """Return, sorted, the keys that were typed but that a command does not read.

    Args:
        overrides: keys that were typed.
        read: keys that the command reads; one that ends in a dot stands for all below it. Hydra's own are always read.
    """
    below = ("hydra.", *(key for key in read if key.endswith(".")))
    return sorted(key for key in overrides if key not in read and not key.startswith(below))


def begun(parent: str, resume: str | None) -> str:
    """Choose the run folder: the resolver `begun` of conf/train.yaml.

    Args:
        parent: folder of the runs of that name.
        resume: null; a run folder or one of its checkpoints, to continue it; or "auto", to continue the newest run that was
            started with the same words and did not finish. A command that its cluster started again means "auto", too.

    Returns:
        The folder of the run to continue; else a new one, named by the time, on which all ranks agree.
    """
    if resume and resume != "auto":
        return str(run_of(resume))
    found = None
    if resume == "auto" or launch().restarted:
        found = find_unfinished(Path(parent), HydraConfig.get().overrides.task)
    return shared_name(str(found or Path(parent) / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")))


def log_name(verb: str) -> str:
    """Name the log file of this process: the resolver `log_name`; each rank but the first has its own."""
    rank = launch().rank
    return f"rank{rank}" if rank else verb


def sweep_name() -> str | None:
    """Return the name of the sweep's folder, for a tracker to group its jobs: the resolver `sweep_name`; None outside of one."""
    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None


OmegaConf.register_new_resolver("begun", begun, use_cache=True, replace=True)
OmegaConf.register_new_resolver("log_name", log_name, replace=True)
OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)


def run_of(source: str) -> Path:
    """Return the run folder that `resume=<run folder or checkpoint>` means.

    Raises:
        InputError: it is none.
    """
    path = Path(source)
    folder = path.parent.parent if path.is_file() else path
    if not (folder / CONFIG).is_file():
        raise InputError(f"resume={source} is no run folder, nor a checkpoint in one; give the folder that holds {CONFIG}")
    return folder


def continued(config: DictConfig, folder: Path) -> DictConfig:
    """Return the configuration of a run that goes on: that of its folder, with what was typed now.

    Args:
        config: as composed now.
        folder: of the run.

    Raises:
        InputError: something was typed that would make another run of it; or the folder's file names foreign classes.
    """
    stored = read_config(folder)
    check_targets(stored, folder)
    overrides, groups = list(HydraConfig.get().overrides.task), options()
    before = set((folder / OVERRIDES).read_text(encoding="utf-8").splitlines())
    settled = {key: OmegaConf.select(stored, key) for key in SETTLED}
    for override in overrides:
        key = override.split("=", 1)[0].lstrip("+~")
        if is_free(key) or key.split(".")[0] == "sweep":  # how many jobs there are is no matter of this one
            OmegaConf.update(stored, key, OmegaConf.select(config, key), force_add=True)
        elif override not in before and (key in groups or OmegaConf.select(stored, key) != OmegaConf.select(config, key)):
            raise InputError(
                f"{override} cannot change in a run that is continued; leave it out, or start a new run with "
                f"weights={folder}/checkpoints/last.ckpt"
            )
    for key, value in settled.items():
        if value is not None and key not in typed(overrides) and OmegaConf.select(stored, key.split(".")[0]):
            OmegaConf.update(stored, key, value, force_add=True)
    return stored


def joined(folder: Path) -> DictConfig:
    """Return the configuration that rank 0 writes into the run folder, for another rank; it is waited for."""
    deadline = time.monotonic() + PATIENCE
    while not (folder / CONFIG).is_file():
        if time.monotonic() > deadline:
            raise InputError(f"rank 0 wrote no {folder / CONFIG} within {PATIENCE / 60:.0f} minutes; look at its output")
        time.sleep(0.1)
    return read_config(folder)


def rank_command(verb: str, folder: Path) -> list[str]:
    """Return the command line of a further rank of this machine: it takes its configuration from the run folder.

    Args:
        verb: the command.
        folder: of the run.
    """
    quoted = str(folder.absolute()).replace("\\", "\\\\").replace("'", "\\'")
    own = f"hydra.run.dir='{quoted}'"
    return [sys.executable, "-m", f"fcn_lightning.{verb}", own, "hydra/job_logging=console"]


def read_config(folder: Path) -> DictConfig:
    """Read a run folder's configuration.

    Raises:
        InputError: it cannot be read.
    """
    path = folder / CONFIG
    try:
        config = OmegaConf.create(read_yaml(path))
    except (OSError, InputError, OmegaConfBaseException, ValueError) as error:
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}); start a new run") from error
    if not isinstance(config, DictConfig):
        raise InputError(f"{path} holds no configuration; start a new run")
    return config


def check_targets(config: DictConfig, folder: Path) -> None:
    """Refuse a run folder's configuration that could run a stranger's code, or read what is not in it.

    What it may name to be built is what `conf/` names, and the transforms of albumentations.

    Raises:
        InputError: it names anything else.
    """
    content = OmegaConf.to_container(config, resolve=False)
    known = {name for file in CONF_DIR.rglob("*.yaml") for name in re.findall(r"_target_: (\S+)", file.read_text("utf-8"))}
    foreign = next((str(target) for target in _targets(content) if target not in known and not _is_transform(target)), None)
    if foreign is None and "${" in str(content):
        foreign = "a reference (${...})"
    if foreign:
        raise InputError(
            f"{folder / CONFIG} names {foreign}, which no configuration of this package does: continuing could run a stranger's "
            f"code; start a new run with weights={folder}/checkpoints/last.ckpt"
        )


def _is_transform(target: object) -> bool:
    """Tell whether a name is that of an albumentations transform, and not of something else that can be reached from there."""
    match = re.fullmatch(r"albumentations\.(\w+)", str(target))
    if not match:
        return False
    import albumentations

    found = getattr(albumentations, match[1], None)
    return isinstance(found, type) and issubclass(found, albumentations.BasicTransform | albumentations.BaseCompose)


def _targets(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "_target_")
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _targets(item)
