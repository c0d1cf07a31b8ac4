"""Comparing through the command: sentences, table, picture; what is no log."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from fcn_lightning.reporting import figures
from fcn_lightning.zoo.logs import TrainingCurve
from tests.conftest import SHORT, Run
from tests.zoo.log_files import Values, write_v0, write_v1


def rate_halved(step: int, values: Values) -> None:
    values["lr"] /= 2


def test_says_what_deviates_and_draws_it(run: Run) -> None:
    published = write_v0(Path("published.log.json"))
    write_v0(Path("mine/log.jsonl"), rate_halved)
    result = run("compare", f"log={published}", "run=mine")
    assert result.status == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == "from step 50 on the learning rate differs: 0.00497 instead of 0.00995"
    assert lines[2].split()[:3] == ["step", "loss", "published"]
    assert len(lines) == 15, "the sentence, ten steps, the picture"
    assert lines[-1] == "mine/plots/comparison.png"
    with Image.open(lines[-1]) as picture:
        assert picture.size == (1000, 600)
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["mine", "published.log.json"]


def test_two_published_logs_and_another_picture(run: Run) -> None:
    write_v0(Path("a.log.json"))
    write_v1(Path("logs/b.json"))
    result = run("compare", "log=a.log.json", "run=logs/b.json")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("no deviation in steps 50 to 8000: learning rate, loss, decode loss and mIoU agree\nthe accuracy")
    assert Path("logs/comparison.png").is_file()
    assert run("compare", "log=a.log.json", "run=logs/b.json", "output=other/c.png").status == 0
    assert Path("other/c.png").is_file()


def test_a_run_folder_as_training_leaves_it(run: Run, trained: Path) -> None:
    result = run("compare", f"log={trained}", f"run={trained}", "output=same.png")
    assert result.status == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == "no deviation in steps 2 to 3: learning rate and mIoU agree"
    assert lines[1] == "the loss is not judged: too few common lines, 1 of the 5 needed"
    rows = {line.split()[0]: line.split() for line in lines[6:8]}
    assert rows["2"][1] == "-"
    logged = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert rows["3"][1] == f"{logged[1]['loss']:.3f}"


MISTAKES = {
    "log missing": (("log=none.json", "run=mine"), "log=none.json does not exist; give a run folder or a log file"),
    "log not given": (("run=mine",), "log is not set; add log=<value>"),
    "run missing": (("log=a.log.json", "run=none"), "run=none does not exist"),
    "run without a log": (("log=a.log.json", "run=empty"), "run=empty has no log.jsonl"),
    "no log": (("log=text.txt", "run=mine"), "text.txt line 1 is no JSON object"),
    "no common step": (("log=a.log.json", "run=early"), "covers the steps 3 to 3 and the published one 50 to 950"),
    "no picture": (("log=a.log.json", "run=mine", "output=b.txt"), "output=b.txt names no PNG file; give output=<file>.png"),
    "no such place": (("log=a.log.json", "run=mine", "output=text.txt/b.png"), "output=text.txt/b.png cannot be written"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_input_gets_one_sentence(run: Run, mistake: str) -> None:
    arguments, words = MISTAKES[mistake]
    write_v0(Path("a.log.json"), steps=1000)
    write_v0(Path("mine/log.jsonl"), steps=1000)
    Path("empty").mkdir()
    Path("early").mkdir()
    Path("early/log.jsonl").write_text('{"mode": "train", "iter": 3, "lr": 0.01, "loss": 2.0}\n')
    Path("text.txt").write_text("step 1\nstep 2\n")
    result = run("compare", *arguments)
    assert result.status == 1
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert words in result.err
    assert not Path("mine/plots").exists()


def test_training_redraws_its_curves_over_a_published_log(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")
    published = write_v0(Path("published.log.json"), interval=1, steps=10)
    seen: list[list[str]] = []
    draw = figures.curves

    def curves(metrics_csv: Path, path: Path, published: TrainingCurve | None = None) -> None:
        with metrics_csv.open(newline="") as file:
            seen.append([row["step"] for row in csv.DictReader(file) if row["val/mIoU"]])
        assert published is not None
        assert list(published.train) == list(range(1, 11))
        draw(metrics_csv, path, published)

    monkeypatch.setattr(figures, "curves", curves)
    result = run("train", *SHORT, f"log={published}", "logger=wandb", "hydra.run.dir=r")
    assert result.status == 0, result.err
    assert seen == [["2"], ["2", "3"], ["2", "3"]], "each picture has the validation that it follows"
    (sent,) = Path("r/wandb").glob("offline-run-*/files/media/images")
    assert len(list(sent.glob("curves_*.png"))) == 2
