"""The files that say what a run was: configuration, command line, environment, data."""

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcn_lightning import InputError
from fcn_lightning.data.datamodule import available_cores
from fcn_lightning.data.dataset import SegmentationDataset
from fcn_lightning.evaluation.dialects import Dialect
from fcn_lightning.evaluation.scores import Scores
from fcn_lightning.reporting.run_state import replace_text

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "albumentations",
    "opencv-python-headless",
    "numpy",
    "wandb",
)


def claim(folder: Path, config: str, overrides: Sequence[str]) -> None:
    """Make a run folder this run's own.

    Args:
        folder: that exists or not.
        config: the resolved configuration as YAML.
        overrides: as typed.

    Raises:
        InputError: the folder belongs to another run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken = f"{folder} belongs to another run, which is never overwritten; choose another hydra.run.dir"
    if (folder / "config.yaml").exists():
        raise InputError(taken)
    # First, since a folder with a config.yaml can be continued, for which these are read.
    (folder / "overrides.txt").write_text("\n".join(overrides) + "\n", encoding="utf-8")
    part = folder / f".config.yaml.{os.getpid()}"
    part.write_text(config, encoding="utf-8")
    try:
        os.link(part, folder / "config.yaml")  # whole at once, for the ranks that wait for it; of two runs at once, one fails
    except FileExistsError as error:
        raise InputError(taken) from error
    except OSError:  # not every file system has links
        part.rename(folder / "config.yaml")
    finally:
        part.unlink(missing_ok=True)


def reclaim(folder: Path, config: str, overrides: Sequence[str], step: int) -> None:
    """Note that a run goes on in its folder.

    Args:
        folder: of the run.
        config: the resolved configuration as YAML, with what changed.
        overrides: as typed now.
        step: optimiser steps done.
    """
    replace_text(folder / "config.yaml", config)
    with (folder / "overrides.txt").open("a", encoding="utf-8") as file:
        file.write("\n".join([f"# continued at step {step} with", *(f"# {override}" for override in overrides)]) + "\n")


def write_environment(folder: Path, device: str, *, processes: int = 1, machines: int = 1) -> None:
    """Write `environment.json`: versions, machine, device, git state; and how many processes on how many machines take part."""
    content = {
        "python": platform.python_version(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": available_cores(),
        "device": device,
        "processes": processes,
        "machines": machines,
        "git": _git_state(),
        "command": sys.argv,
    }
    write_json(folder / "environment.json", content)


def package_versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    return {name: version(name) for name in PACKAGES}


def list_hash(names: Sequence[str]) -> str:
    """Return the SHA-256 of a list of samples."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def write_data(folder: Path, splits: dict[str, SegmentationDataset]) -> None:
    """Write `data.json`: the samples of each split and the hash of that list."""
    content: dict[str, Any] = {}
    for name, dataset in splits.items():
        samples = [dataset.name(index) for index in range(len(dataset))]
        content[name] = {"count": len(samples), "sha256": list_hash(samples), "samples": samples}
    write_json(folder / "data.json", content)


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def device_name(device: torch.device) -> str:
    """Describe where a run computes."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}"
    return f"CPU, {torch.get_num_threads()} threads, {cpu_name()}"


def write_scores(
    path: Path, result: Scores, classes: tuple[str, ...], *, loss: float, dialects: Sequence[Dialect] | None = None
) -> None:
    """Write the loss and the scores as JSON, fractions in [0, 1]; null for a class that never occurs, and for NaN.

    Args:
        path: of the file.
        result: scores of the data set.
        classes: names, as many as `result` has.
        loss: mean over the data set.
        dialects: what others would call the same predictions; without them the file has no key "dialects".
    """
    content: dict[str, Any] = {
        "loss": loss,
        "mIoU": result.miou,
        "mAcc": result.macc,
        "aAcc": result.aacc,
        "IoU": by_class(result.iou, classes),
        "Acc": by_class(result.acc, classes),
    }
    if dialects is not None:
        content["dialects"] = {dialect.name: None if math.isnan(dialect.miou) else dialect.miou for dialect in dialects}
    write_json(path, content)


def by_class(values: Tensor, classes: tuple[str, ...]) -> dict[str, float | None]:
    """Return class name -> value, None for the NaN of a class that never occurs."""
    return {name: None if math.isnan(value) else value for name, value in zip(classes, values.tolist(), strict=True)}


def _git_state() -> dict[str, str] | None:
    def git(*arguments: str) -> str:
        # Without its file monitor, which a stranger's repository may set to a program of its own.
        command = ["git", "-c", "core.fsmonitor=false", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": git("status", "--porcelain")}
    except (OSError, subprocess.SubprocessError):  # no git, or not a checkout: installed from a wheel
        return None


def write_json(path: Path, content: Any) -> None:
    """Write a file of the run folder."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
