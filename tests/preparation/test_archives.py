"""What archives must not do, and how damage is noticed."""

import copy
import gzip
import io
import resource
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from fcn_lightning import InputError
from fcn_lightning.preparation import archives, sources
from fcn_lightning.preparation.archives import digests, list_files, members, plain_name
from fcn_lightning.preparation.progress import in_words
from fcn_lightning.preparation.sources import Part, look_through
from tests.hostile import zip_bomb
from tests.preparation.published import tarred

PART = Part("things.tar", "example.org", "set", r"\w+\.png|names\.txt")


def read_all(path: Path) -> dict[str, bytes]:
    return {member.name: member.read() for member in members(path)}


def write_zip(path: Path, name: str, data: bytes = b"x", kind: int = 0) -> Path:
    info = zipfile.ZipInfo("set/good.png")
    info.filename = name  # as the constructor would mend some names
    info.external_attr = kind << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("set/first.png", b"first")
        archive.writestr(info, data)
    return path


def write_tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info, io.BytesIO())
    return path


@pytest.mark.parametrize("ending", ["zip", "tar", "tgz"])
def test_members_come_with_their_content(tmp_path: Path, ending: str) -> None:
    contents = {"./set/a.png": b"a" * 10, "set/deep/b.png": b"", "other": bytes(range(256)) * 40}
    path = tmp_path / f"x.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir("set")
            for name, data in contents.items():
                archive.writestr(name, data)
        contents["./set/a.png"] = b"a" * 10
    else:
        tarred(path, contents)
    assert {name.removeprefix("./"): data for name, data in read_all(path).items()} == {
        name.removeprefix("./"): data for name, data in contents.items()
    }


@pytest.mark.parametrize(
    "name", ["/set/x.png", "../set/x.png", "set/../../set/x.png", "..\\set\\x.png", "C:\\set\\x.png", "c:/set/x.png"]
)
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_name_that_points_outside_is_refused(tmp_path: Path, write: "type[write_zip]", name: str) -> None:
    path = write(tmp_path / ("x.zip" if write is write_zip else "x.tar"), name)
    with pytest.raises(InputError, match=r"holds the member .* which points outside"):
        look_through(PART, path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = write_tar(tmp_path / "x.tar", "set/x.png", kind, "/etc/passwd")
    with pytest.raises(InputError, match=r"set/x\.png as a link or device"):
        look_through(PART, path)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", "set/x.png", b"/etc/passwd", stat.S_IFLNK | 0o777)
    with pytest.raises(InputError, match=r"set/x\.png as a link or device"):
        look_through(PART, path)


def test_a_member_beyond_any_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tarred(tmp_path / "x.tgz", {"set/x.png": bytes(5000), "set/y.png": b"y"})
    monkeypatch.setattr(sources, "MAX_MEMBER", 5000)
    assert look_through(PART, path).sizes == {"x.png": 5000, "y.png": 1}
    monkeypatch.setattr(sources, "MAX_MEMBER", 4999)
    with pytest.raises(InputError, match=r"set/x.png with 5.0 kB, more than any file"):
        look_through(PART, path)


def test_a_zip_that_understates_a_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/x.png", bytes(100_000))
    data = path.read_bytes()
    size = (100_000).to_bytes(4, "little")
    assert data.count(size) == 2  # before the content, and in the directory
    path.write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(InputError, match="cut off, damaged or not what its name says"):
        read_all(path)


CONTENTS = {"set/a.png": bytes(range(256)) * 8, "set/b.png": b"b" * 700}


@pytest.mark.parametrize(
    ("ending", "keep"),
    [
        ("tar", 512 + 100),  # in the first header after the folder's
        ("tar", 512 + 512 + 1000),  # in the first file
        ("tar", 512 + 512 + 2048),  # between two files
        ("tar", 512 + 512 + 2048 + 512 + 1024),  # after the last file, where zeros are to come
        ("tgz", 100),
        ("tgz", -4),
        ("zip", 300),
        ("zip", -10),
        ("zip", 0),
        ("tar", 0),
    ],
)
def test_what_is_cut_off_is_noticed(tmp_path: Path, ending: str, keep: int) -> None:
    path = tmp_path / f"x.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in CONTENTS.items():
                archive.writestr(name, data)
    else:
        tarred(path, CONTENTS)
    assert read_all(path) == CONTENTS
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=rf"x.{ending} is cut off, damaged or not what its name says .*; get it again"):
        look_through(PART, path)


@pytest.mark.parametrize("ending", ["tar", "zip"])
def test_damage_in_the_middle_is_noticed(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("set/b.png", CONTENTS["set/b.png"])
        path.write_bytes(path.read_bytes().replace(b"bbbb", b"bcbb", 1))
    else:
        tarred(path, CONTENTS)
        data = bytearray(path.read_bytes())
        data[512 + 512 + 2048 : 512 + 512 + 2048 + 20] = b"?" * 20  # the header of the second file
        path.write_bytes(data)
    with pytest.raises(InputError, match="cut off, damaged or not what its name says"):
        read_all(path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", "set/x.png")
    data = path.read_bytes()
    where = data.index(b"PK\x01\x02") + 8  # the flags of the first entry in the directory
    head = data.index(b"PK\x03\x04") + 6
    data = bytearray(data)
    data[where] |= 1
    data[head] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"encrypted.*get it again"):
        read_all(path)


def test_no_archive_at_all(tmp_path: Path) -> None:
    for name in ("x.zip", "x.tar", "x.tgz"):
        (tmp_path / name).write_text("<html>404</html>")
        with pytest.raises(InputError, match=f"{name} is cut off, damaged or not"):
            read_all(tmp_path / name)


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"abc")
    sha256, sha1 = digests(tmp_path / "x.tar", "sha256", "sha1")
    assert sha256.startswith("ba7816bf8f01cfea414140de5dae2223")  # FIPS 180-2, appendix B.1
    assert sha1 == "a9993e364706816aba3e25717850c26c9cd0d89d"  # FIPS 180-2, appendix A.1


def test_folders_are_searched_once(tmp_path: Path) -> None:
    for name in ("a/x", "b/deep/y"):
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / name).write_text("")
    (tmp_path / "s/b/loop").symlink_to(tmp_path / "s")
    (tmp_path / "far").mkdir()
    (tmp_path / "far/f").write_text("")
    (tmp_path / "s/linked").symlink_to(tmp_path / "far")
    (tmp_path / "s/gone").symlink_to(tmp_path / "nothing")
    names = [path.relative_to(tmp_path / "s").as_posix() for path in list_files(tmp_path / "s")]
    assert names == ["a/x", "b/deep/y", "linked/f"]


def test_names_without_endings() -> None:
    assert {plain_name(name) for name in ("Benchmark.tgz", "benchmark.tar.gz", "benchmark.tar", "benchmark.zip")} == {"benchmark"}
    assert archives.is_archive(Path("VOCtrainval_11-May-2012.TAR"))
    assert not archives.is_archive(Path("trainval_merged.json"))


def refused_as_a_bomb(path: Path, limit: str) -> bool:
    with pytest.raises(InputError) as error:
        look_through(PART, path)
    return f"and unpacks to more than {limit}, as no published archive does; do not use this archive" in str(error.value)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is always allowed, a gigabyte, takes too long to pack in a test."""
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1 << 20)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", ["set/x.png", "other/x"])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = zip_bomb(tmp_path / "x.zip", name, size=1 << 26)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    limit = in_words(100 * path.stat().st_size)
    assert path.stat().st_size > 1 << 15
    assert refused_as_a_bomb(path, limit)


@pytest.mark.usefixtures("strict")
def test_a_zip_whose_members_share_their_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("set/0.png", bytes(1 << 20))
        for number in range(1, 200):
            info = copy.copy(archive.getinfo("set/0.png"))
            info.filename = f"set/{number}.png"
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
    assert refused_as_a_bomb(path, in_words(100 * path.stat().st_size))


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("name", ["set/x.png", "other/x"])
def test_a_compressed_tar_is_unpacked_no_further_than_an_honest_one(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / "x.tar.gz"  # the content counts
    with tarfile.open(path, f"w:{kind}") as archive:
        info = tarfile.TarInfo(name)
        info.size = 1 << 25
        archive.addfile(info, io.BytesIO(bytes(info.size)))
        archive.addfile(tarfile.TarInfo("set/y.png"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refused_as_a_bomb(path, in_words(max(1 << 20, 100 * path.stat().st_size)))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 1 << 25


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME], ids=["pax", "gnu"])
def test_a_name_of_a_hundred_megabytes_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "x.tgz"
    info = tarfile.TarInfo("name")
    info.type, info.size = kind, 100 << 20
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(100):
            file.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="a name in it is longer than any file"):
        look_through(PART, path)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 50 << 20


@pytest.mark.parametrize("ending", ["zip", "tgz"])
def test_more_files_than_in_any_data_set_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    path, contents = tmp_path / f"x.{ending}", {f"set/{number}.png": b"x" for number in range(20)}
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in contents.items():
                archive.writestr(name, data)
    else:
        tarred(path, contents)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 20)
    assert len(look_through(PART, path).sizes) == 20
    monkeypatch.setattr(archives, "MAX_MEMBERS", 19)
    with pytest.raises(InputError, match="holds more than 19 files, as no published archive does"):
        look_through(PART, path)
