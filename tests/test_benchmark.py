"""The command `benchmark` as a user runs it."""

import json
from pathlib import Path

import numpy as np

from fcn_lightning.data.images import write_png
from tests.conftest import Run

ROW = "recipe=fcn_r50-d8_512x512_80k_ade20k"


def test_the_last_line_is_json(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_png(tmp_path / "a.png", rng.integers(0, 256, (48, 64, 3)).astype(np.uint8))
    write_png(tmp_path / "b.png", rng.integers(0, 151, (48, 64)).astype(np.uint8))
    files = f"image={tmp_path / 'a.png'}", f"label={tmp_path / 'b.png'}"
    result = run("benchmark", "what=pipeline", ROW, *files, "repeat=2", "dataset.crop_size=[32,32]", "dataset.base_scale=[64,48]")
    assert result.status == 0
    content = json.loads(result.out.splitlines()[-1])
    assert (content["what"], content["recipe"], content["cache"]) == ("pipeline", ROW.split("=")[1], "none")
    assert content["images_per_s_per_core"] > 0
    assert not list(Path.cwd().iterdir()), "nothing is written"


def test_mistakes_are_answered_in_a_sentence(run: Run, tmp_path: Path) -> None:
    cases = {
        ("what=speed", "image=a", "label=b"): "what=speed is not known; use pipeline",
        ("image=a", "label=b", "repeat=0"): "repeat=0 measures nothing",
        ("image=a",): "label is not set; add label=<value>",
        ("image=a", "label=b"): "cannot read a",
        ("image=a", "label=b", "cache=memory"): "cannot read a",
    }
    for arguments, sentence in cases.items():
        result = run("benchmark", ROW, *arguments)
        assert result.status == 1
        assert sentence in result.err
