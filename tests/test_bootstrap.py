"""Comparing two networks through the command: table, sentence, JSON; what cannot be compared."""

import json
from pathlib import Path

import pytest

from fcn_lightning.reporting.count_files import step_file
from tests.conftest import Run
from tests.reporting.count_data import counts, write

FAST = "resamples=500"


def test_prints_a_table_and_a_sentence(run: Run) -> None:
    write(step_file(Path("run"), 500), counts(0.02))
    write(step_file(Path("run"), 1000), counts(0.9))
    Path("run/status.json").write_text('{"best": {"step": 500, "mIoU": 0.6}}')
    write(Path("evaluated/counts.npz"), counts(), folder="elsewhere")
    result = run("bootstrap", "a=evaluated", "b=run", FAST, "output=new/difference.json")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[:3] == ["a  evaluated/counts.npz", "b  run/counts/step_000500.npz", ""]
    assert [line.split("|")[1].strip() for line in lines[5:9]] == ["mean", "tree", "road", "sign"], "largest difference first"
    assert lines[8].split("|")[4].strip() == "+0.00"
    assert lines[10].startswith("b is ")
    assert lines[10].endswith("more than the choice of these 60 images explains")
    assert lines[11:] == ["new/difference.json"]

    content = json.loads(Path(lines[11]).read_text())
    assert (content["a"], content["b"]) == ("evaluated/counts.npz", "run/counts/step_000500.npz")
    assert (content["images"], content["resamples"], content["seed"]) == (60, 500, 0)
    assert content["sentence"] == lines[10]
    mean = content["mIoU"]
    assert mean["low"] < mean["difference"] < mean["high"]
    shown = [cell.strip() for cell in lines[5].split("|")[2:6]]
    assert shown[:3] == [f"{100 * mean['a']:.2f}", f"{100 * mean['b']:.2f}", f"{100 * mean['difference']:+.2f}"]
    assert list(content["IoU"]) == ["road", "tree", "sign"]


def test_a_network_and_itself(run: Run) -> None:
    path = write(Path("counts.npz"), counts())
    result = run("bootstrap", f"a={path}", "b=.", FAST)
    assert result.status == 0, result.err
    assert "a and b have the same mIoU (95 % interval +0.00 to +0.00, p = 1.0000)" in result.out
    assert [file.name for file in Path.cwd().iterdir()] == ["counts.npz"], "nothing is written"


def test_a_seed_repeats(run: Run) -> None:
    write(Path("a.npz"), counts())
    write(Path("b.npz"), counts(0.001))
    first, again, other = (run("bootstrap", "a=a.npz", "b=b.npz", FAST, f"seed={seed}").out for seed in (1, 1, 2))
    assert first == again
    assert first != other


MISTAKES = {
    "not given": (("a=a.npz",), "b is not set; add b=<value>"),
    "missing": (("a=a.npz", "b=none"), "b=none does not exist; give the folder of a training or of evaluate"),
    "no counts": (("a=empty", "b=a.npz"), "a=empty holds neither counts.npz nor counts/step_<step>.npz"),
    "no file of counts": (("a=a.npz", "b=text.npz"), "text.npz is no file of counts, or damaged"),
    "other images": (("a=a.npz", "b=fewer.npz"), "other images: 60 in a, 59 in b, and 1 only in a, such as 059.jpg"),
    "too few resamples": (("a=a.npz", "b=a.npz", "resamples=10"), "resamples=10 gives no interval; set resamples=100 or more"),
    "no number": (("a=a.npz", "b=a.npz", "resamples=many"), "resamples=many does not fit; a whole number belongs there"),
    "negative seed": (("a=a.npz", "b=a.npz", "seed=-1"), "seed=-1 is negative; give seed=0 or more"),
    "no JSON": (("a=a.npz", "b=a.npz", "output=b.txt"), "output=b.txt names no JSON file; give output=<file>.json"),
    "exists": (("a=a.npz", "b=a.npz", "output=old.json"), "output=old.json exists, and nothing is overwritten; give a new file"),
    "no such place": (("a=a.npz", "b=a.npz", "output=text.npz/b.json"), "output=text.npz/b.json cannot be written"),
    "misspelt": (("a=a.npz", "b=a.npz", "resample=5"), "resample is no key of this command (did you mean resamples?)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_input_gets_one_sentence(run: Run, mistake: str) -> None:
    arguments, words = MISTAKES[mistake]
    write(Path("a.npz"), counts())
    write(Path("fewer.npz"), counts(images=59))
    Path("empty").mkdir()
    Path("text.npz").write_text("no archive\n")
    Path("old.json").write_text("{}\n")
    result = run("bootstrap", *arguments)
    assert result.status == 1
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert words in result.err
    assert Path("old.json").read_text() == "{}\n"
