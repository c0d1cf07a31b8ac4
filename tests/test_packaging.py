"""The wheel holds everything and works from an empty folder; the promises of the project's files hold."""

import configparser
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


def test_the_package_list_equals_the_folders() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {path.parent.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("__init__.py")}
    assert listed == {".".join(folder.parts) for folder in folders} | {"fcn_lightning.conf"}


def test_tested_versions_are_pinned() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in pins)
    assert {"torch", "torchvision", "albumentations", "wandb"} <= {line.split("==")[0] for line in pins}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"  # a copy, so that no build folder appears in the checkout
    source.mkdir()
    for name in ("src", "conf", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", ROOT / name, source], check=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source], check=True, capture_output=True
    )
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_all_of_conf_and_nothing_else_at_the_top(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    expected = {f"fcn_lightning/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert expected == {name for name in names if name.startswith("fcn_lightning/conf/")}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fcn_lightning"}
    assert "fcn_lightning/py.typed" in names


def test_trains_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    # A fresh environment that borrows the installed libraries, but not this checkout: its editable install is a .pth file,
    # and those are not read from a folder that only another .pth file names.
    venv.create(tmp_path / "env", with_pip=False)
    (site,) = (tmp_path / "env/lib").glob("python*/site-packages")
    libraries = Path(next(path for path in sys.path if path.endswith("site-packages")))
    (site / "libraries.pth").write_text(f"{libraries}\n")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel], check=True)
    (tmp_path / "empty").mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [tmp_path / "env/bin/python", "-m", "fcn_lightning.train", "schedule.max_steps=1", "dataset.global_batch_size=2"]
    done = subprocess.run(command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("mIoU ")
    (run,) = (tmp_path / "empty/outputs").glob("*/*")
    assert (run / "checkpoints/best.ckpt").is_file()
    where = subprocess.run(
        [tmp_path / "env/bin/python", "-c", "import fcn_lightning.config as c; print(c.CONF_DIR)"],
        cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()) == site / "fcn_lightning/conf"


@pytest.mark.parametrize("target", ["install", "train", "test", "test-slow", "parity", "check", "wheel", "notebooks", "clean"])
def test_make_help_lists_the_targets(target: str) -> None:
    out = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    assert f"\n{target} " in f"\n{out}"
