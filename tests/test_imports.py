"""The direction of imports, and what importing or asking for help must not load."""

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "src/fcn_lightning"
VERBS = (
    "train",
    "evaluate",
    "predict",
    "reproduce",
    "compare",
    "bootstrap",
    "export",
    "table",
    "browse",
    "prepare",
    "doctor",
    "benchmark",
    "sweep",
)
# Each folder may import itself and these; the files at the root (verbs, config, cli) may import all. Configurations are composed
# by config.py alone, for the zoo's recipes too.
MAY_IMPORT = {
    "models": set(),
    "data": set(),
    "preparation": {"data"},
    "benchmarks": {"data"},
    "diagnosis": {"data"},
    "evaluation": {"models", "data"},
    "training": {"models", "data", "evaluation"},
    "zoo": {"models", "data", "evaluation", "training", "config"},
    "reporting": {"models", "data", "evaluation", "training", "zoo"},
}
HEAVY = {"pytorch_lightning", "hydra", "omegaconf", "wandb"}
# Which of the heavy libraries a folder may import; of `data`, only the module with the LightningDataModule; of `zoo`, only the
# module that hands configurations on.
MAY_LOAD = {
    "models": set(),
    "data": set(),
    "data/datamodule.py": {"pytorch_lightning"},
    "preparation": set(),
    "benchmarks": set(),
    "diagnosis": set(),
    "evaluation": set(),
    "training": {"pytorch_lightning"},
    "zoo": set(),
    "zoo/recipes.py": {"omegaconf"},
    "reporting": {"pytorch_lightning", "wandb"},
    "": {"pytorch_lightning", "hydra", "omegaconf"},
}
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_one_way(file: Path) -> None:
    folder = file.parts[0] if len(file.parts) > 1 else ""
    names = imported(PACKAGE / file)
    ours = {name.split(".")[1] for name in names if name.startswith("fcn_lightning.")} - {"InputError", "__version__"}
    if folder:
        assert ours <= MAY_IMPORT[folder] | {folder}
    heavy = {name.split(".")[0] for name in names} & HEAVY
    assert heavy <= MAY_LOAD.get(file.as_posix(), MAY_LOAD[folder])
    assert "lightning" not in {name.split(".")[0] for name in names}


def python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, env=os.environ)
    return done.stdout


def test_the_model_loads_neither_lightning_nor_hydra_nor_wandb() -> None:
    out = python("import sys, fcn_lightning.models.fcn; print(*sys.modules)")
    loaded = {name.split(".")[0] for name in out.split()}
    assert "torch" in loaded
    assert not loaded & {"pytorch_lightning", "lightning", "hydra", "omegaconf", "wandb", "albumentations"}


@pytest.mark.parametrize("verb", VERBS)
def test_help_does_not_load_torch(verb: str) -> None:
    code = (
        "import runpy, sys\n"
        "try:\n"
        f"    runpy.run_module('fcn_lightning.{verb}', run_name='__main__')\n"
        "finally:\n"
        "    print('MODULES', *sys.modules)\n"
    )
    out = python(code + "sys.exit()", "--help")
    text, modules = out.split("MODULES")
    assert f"python -m fcn_lightning.{verb}" in text
    assert not {"torch", "pytorch_lightning", "wandb", "albumentations", "torchmetrics", "cv2", "numpy"} & set(modules.split())


def test_help_answers_at_once() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "fcn_lightning.train", "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    assert sorted(times)[2] < 3, times  # 1.5 s on an idle machine (docs/results.md); this one shares its cores with other tests


def test_load_is_exposed_lazily() -> None:
    out = python("import sys, fcn_lightning; print('torch' in sys.modules); fcn_lightning.load; print('torch' in sys.modules)")
    assert out.split() == ["False", "True"]
