"""The doctor as a user calls it: what it prints and writes, its exit status, and a fix that training accepts."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_lightning import InputError
from fcn_lightning.config import build, compose
from tests.conftest import Run
from tests.diagnosis.planted import PLANTS, clean, paint, remap


class Page(HTMLParser):
    """Collects what a page refers to, and what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def page(path: Path) -> Page:
    parser = Page()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return clean(tmp_path / "data")


def test_a_clean_data_set(run: Run, data: Path) -> None:
    result = run("doctor", "dataset=folder", f"dataset.root={data}", "output=out")
    assert result.status == 0, result.err
    assert "nothing is wrong with this data set" in result.out
    assert re.search(r"ground +\d+\.\d{3} +100\.0 +\d+\.\d{3} +100\.0", result.out)
    assert "examined 10 masks in full, 10 image headers, 10 images in full" in result.out
    content = json.loads(Path("out/doctor.json").read_text())
    assert (content["errors"], content["findings"], content["fix"]) == (0, [], None)
    ground = content["splits"]["train"]["classes"][0]
    assert ground["pixels"] == content["splits"]["train"]["values"]["0"]
    assert sum(entry["pixel_share"] for entry in content["splits"]["val"]["classes"]) == pytest.approx(1)
    assert "nothing is wrong" in result.out
    assert "Nothing is wrong" in page(Path("out/doctor.html")).text
    assert "nothing is wrong" in Path("out/doctor.log").read_text()


def test_the_default_folder_names_the_data_set(run: Run, data: Path) -> None:
    assert run("doctor", "dataset=folder", f"dataset.root={data}").status == 0
    (out,) = Path("outputs/doctor/folder").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", out.name)


def test_findings_are_said_written_and_drawn(run: Run, data: Path) -> None:
    name = '<b>x & "y"<script>'
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        (data / f"{kind}/train/1.{suffix}").rename(data / f"{kind}/train/{name}.{suffix}")
    remap({2: 77}, "train/<b>*")(data)
    PLANTS["exif-unclear"][0](data)
    result = run("doctor", "dataset=folder", f"dataset.root={data}", "output=out")
    assert result.status == 1
    assert result.err.startswith("error: training on ")
    assert result.err.count("\n") == 1
    assert "(unlisted-values), see out; fix=true output=<new folder>" in result.err
    assert result.out.index("error    unlisted-values: ") < result.out.index("warning  exif-unclear: ")
    (error, warning) = json.loads(Path("out/doctor.json").read_text())["findings"]
    assert (error["code"], error["severity"], error["count"]) == ("unlisted-values", "error", 1)
    assert Path(error["offenders"][0]["mask"]).name == f"{name}.png"
    pixels = int((np.asarray(Image.open(error["offenders"][0]["mask"])) == 77).sum())
    assert error["offenders"][0]["detail"] == f"value 77: {pixels:,} pixels"
    assert (warning["code"], warning["offenders"][0]["twin"]) == ("exif-unclear", None)
    shown = page(Path("out/doctor.html"))
    assert f"{name}.png" in shown.text, "escaped, so that it is text again"
    assert not {"script", "b", "link"} & set(shown.tags)
    assert len(shown.sources) == 5, "image, mask and wrong pixels; image and mask"
    assert all(source.startswith("data:image/") for source in shown.sources), "nothing is fetched"


def test_a_fix_that_training_accepts(run: Run, data: Path) -> None:
    paint(data)
    with pytest.raises(InputError, match="has mode RGB"):
        build(compose("dataset=folder", f"dataset.root={data}").dataset).check_first_samples()
    result = run("doctor", "dataset=folder", f"dataset.root={data}", "fix=true", "output=fixed")
    assert result.status == 0, result.err
    assert "fixed has 10 converted masks" in result.out
    assert "examined again:\nnothing is wrong" in result.out
    assert "dataset=folder dataset.root=fixed" in result.out
    assert json.loads(Path("fixed/doctor.json").read_text())["fix"]["converted_masks"] == 10
    datamodule = build(compose("dataset=folder", "dataset.root=fixed").dataset)
    datamodule.check_first_samples()  # as train does before it starts
    assert [len(datamodule.train_data), len(datamodule.val_data)] == [6, 4]


def test_a_fix_that_leaves_errors_fails(run: Run, data: Path) -> None:
    for path in (data / "masks/val").iterdir():
        Image.new("RGB", (64, 48), (1, 2, 3)).save(path)
    result = run("doctor", "dataset=folder", f"dataset.root={data}", "fix=true", "output=fixed")
    assert result.status == 1
    assert "no usable pair in val" in result.err
    assert Path("fixed/doctor.html").is_file(), "the report stays"
    assert not Path("fixed/masks").exists()


def test_nothing_to_fix(run: Run, data: Path) -> None:
    result = run("doctor", "dataset=folder", f"dataset.root={data}", "fix=true", "output=fixed")
    assert result.status == 0
    assert "nothing to mend" in result.out
    assert not Path("fixed/classes.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "dataset is not set; add dataset=<name>"),
        (("dataset=shapes",), "dataset=shapes has no files to examine; add dataset=<name>"),
        (("dataset=camvid", "backbone=r50"), "backbone has no effect here; leave backbone out"),
        (("dataset=camvid", "images=-1"), "images=-1 is no number of images"),
        (("dataset=camvid", "dataset.root=/nowhere"), "/nowhere, does not exist"),
        (("dataset=folder", "dataset.root={data}", "output={data}/masks/report"), "lies inside dataset.root="),
        (("dataset=folder", "dataset.root={data}", "output={data}"), "is not empty, and nothing is overwritten"),
        (("dataset=folder", "dataset.root={data}", "fix=maybe"), "fix=maybe does not fit; true or false belongs there"),
    ],
)
def test_requests_that_cannot_be_met(run: Run, data: Path, arguments: tuple[str, ...], words: str) -> None:
    before = sorted(data.rglob("*"))
    result = run("doctor", *(argument.format(data=data) for argument in arguments))
    assert result.status == 1
    assert words in result.err
    assert result.err.count("\n") == 1
    assert sorted(data.rglob("*")) == before
