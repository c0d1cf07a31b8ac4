"""Where the configuration is, and how Python composes it: for notebooks, tests and the commands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

_PACKAGE = Path(__file__).resolve().parent
# In a wheel the folder travels inside the package; in a checkout it stands at the root.
CONF_DIR = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if folder.is_dir())


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
