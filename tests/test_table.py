"""The README's table is made from the recipes, and is up to date."""

import json
from pathlib import Path

import pytest
import yaml

from fcn_lightning import InputError
from fcn_lightning.zoo.recipes import rows
from fcn_lightning.zoo.table import BEGIN, END, zoo_table
from tests.conftest import ROOT, Run

GOLDEN = yaml.safe_load((ROOT / "tests/golden/mmseg_zoo.yaml").read_text())


def test_the_readme_is_up_to_date() -> None:
    text = (ROOT / "README.md").read_text()
    shown = text.partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0]
    command = "python -m fcn_lightning.table readme=README.md verified=docs/verified.json"
    assert shown == zoo_table(ROOT / "docs/verified.json"), f"run {command}"
    assert command in text


def test_every_row_has_its_published_cells() -> None:
    lines = zoo_table(None).splitlines()
    for entry in GOLDEN["seed_rows"] + GOLDEN["beyond_seed"]:
        (line,) = [line for line in lines if f"conf/recipe/{entry['id']}.yaml" in line]
        cells = [cell.strip() for cell in line.replace("\\|", "/").split("|")[1:-1]]
        raw = entry["raw_cells"]
        assert cells[:2] == [entry["method"], entry["backbone"]]
        assert cells[2:4] == [f"{entry['crop_h']}x{entry['crop_w']}", str(entry["iterations"])]
        assert cells[4:6] == [raw["mem"], raw["fps"] or "-"]  # some of the published cells are empty
        assert [cell.strip("-") and float(cell) for cell in cells[6:8]] == [
            raw[key].strip("-") and float(raw[key]) for key in ("miou", "ms_flip")
        ]
        assert all(cell == "-" or len(cell.partition(".")[2]) == 2 for cell in cells[6:8])
        assert f"[model]({entry['checkpoint_url']})" in cells[9]
        assert f"[log]({entry['log_url']})" in cells[9]
    assert sum("conf/recipe/" in line for line in lines) == len(rows()) == 43


def test_prints_and_writes(run: Run) -> None:
    assert run("table").out.strip() == zoo_table(None)
    Path("checked.json").write_text(json.dumps({rows()[0]: "looked at"}))
    Path("page.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert run("table", "readme=page.md", "verified=checked.json").status == 0
    text = Path("page.md").read_text()
    assert text.startswith(f"before\n{BEGIN}\n**Cityscapes**")
    assert text.endswith(f"{END}\nafter\n")
    assert text.count("looked at") == 1
    assert "old" not in text


def test_bad_files_are_refused(run: Run, tmp_path: Path) -> None:
    Path("page.md").write_text("no marks")
    result = run("table", "readme=page.md")
    assert result.status == 1
    assert "readme=page.md lacks the lines" in result.err
    (tmp_path / "v.json").write_text('{"fcn_x": "y"}')
    with pytest.raises(InputError, match="names fcn_x, which is no row"):
        zoo_table(tmp_path / "v.json")
    with pytest.raises(InputError, match="cannot be read"):
        zoo_table(tmp_path / "none.json")
