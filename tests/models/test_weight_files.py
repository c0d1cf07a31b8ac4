"""Weight files: the cache, downloads that resume, mirrors, hashes, and clear words where a file cannot be had."""

import hashlib
import http.client
import io
import re
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request

import pytest
import torch

from fcn_lightning.models import weight_files
from fcn_lightning.models.weight_files import cached, check_hash, name_hash
from tests.models.file_server import CONTENT, DIGEST, NAME, OTHER, Server, closed_port
from tests.zoo.published import refusal


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Server]]:
    monkeypatch.setenv("no_proxy", "*")
    servers = [Server(), Server()]
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(serve: list[Server]) -> Server:
    return serve[0]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv("FCN_MIRRORS", raising=False)
    return tmp_path / "hub/checkpoints"


def begin(cache: Path, content: bytes) -> None:
    cache.mkdir(parents=True)
    (cache / f"{NAME}.part").write_bytes(content)


def is_complete(path: Path, cache: Path) -> bool:
    return path == cache / NAME and path.read_bytes() == CONTENT and list(cache.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("fcn_r50-d8_512x1024_40k_cityscapes_20200604_192608-efe53f0d.pth", "efe53f0d"),
        ("resnet50-0676ba61.pth", "0676ba61"),
        (f"net-{DIGEST}.pth", DIGEST),
        ("net-20991332.pth", "20991332"),  # there is no such month
        ("net-20201225.pth", None),
        ("fcn_r18-d8_512x1024_80k_cityscapes-20201225_021327.pth", None),
        ("net-0676ba6.pth", None),
        ("net-0676BA61.pth", None),
        (f"net-{DIGEST}0.pth", None),
        ("net-0676ba61", None),
    ],
)
def test_the_hash_in_a_name(name: str, digits: str | None) -> None:
    assert name_hash(name) == digits


@pytest.mark.parametrize("name", [NAME, f"net-{DIGEST}.pth", f"net-{DIGEST[:20]}.pth", "net.pth", "net-20201225.pth"])
def test_a_right_file_passes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CONTENT)
    assert check_hash(tmp_path / name) == DIGEST


@pytest.mark.parametrize("length", [8, 64])
def test_a_wrong_file_is_named_with_both_hashes(tmp_path: Path, length: int) -> None:
    path = tmp_path / f"net-{DIGEST[:length]}.pth"
    path.write_bytes(OTHER)
    found = hashlib.sha256(OTHER).hexdigest()[:length]
    assert refusal(check_hash, path) == (
        f"{path} is not the published file that its name says: its SHA-256 starts with {found}, not {DIGEST[:length]}; "
        "delete it and fetch it again"
    )


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    advice = "give checkpoint=<run folder>/checkpoints/best.ckpt, or weights=<file or id of a published row>"
    assert refusal(check_hash, tmp_path / "no.ckpt") == f"{tmp_path}/no.ckpt does not exist; {advice}"
    assert refusal(check_hash, tmp_path) == f"{tmp_path} is a folder; {advice}"


def test_a_file_in_the_cache_is_not_fetched(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(CONTENT)
    assert is_complete(cached(server.url), cache)
    assert server.asked == []


def test_a_wrong_file_in_the_cache_is_refused(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(OTHER)
    assert "is not the published file that its name says" in refusal(cached, server.url)
    assert server.asked == []


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_fetches_once(server: Server, cache: Path, size: int | None) -> None:
    for _ in range(2):
        assert is_complete(cached(server.url, size=size), cache)
    assert server.asked == [None]


def test_continues_with_the_rest(server: Server, cache: Path) -> None:
    begin(cache, CONTENT[:1000])
    assert is_complete(cached(server.url), cache)
    assert server.asked == ["bytes=1000-"]
    assert server.sent == [len(CONTENT) - 1000]


def test_a_server_that_sends_all_again(server: Server, cache: Path) -> None:
    server.ranges = False
    begin(cache, CONTENT[:1000])
    assert is_complete(cached(server.url), cache)
    assert server.sent == [len(CONTENT)]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_is_the_whole_file(server: Server, cache: Path, size: int | None) -> None:
    begin(cache, CONTENT)
    assert is_complete(cached(server.url, size=size), cache)
    assert server.asked == [f"bytes={len(CONTENT)}-"]
    assert server.sent == []


def test_a_part_of_another_file_is_thrown_away(server: Server, cache: Path) -> None:
    for part in (OTHER[:1000], OTHER, b""):  # shorter, longer, empty
        begin(cache, part)
        assert is_complete(cached(server.url), cache)
        (cache / NAME).unlink()
        cache.rmdir()
    assert server.asked == ["bytes=1000-", None, f"bytes={len(OTHER)}-", None, None]


def test_a_broken_connection_keeps_the_part(server: Server, cache: Path) -> None:
    server.stop_after = 3000
    assert f"broke off at 3000 of {len(CONTENT)} bytes; the next try continues there" in refusal(cached, server.url)
    assert [path.name for path in cache.iterdir()] == [f"{NAME}.part"]
    server.stop_after = None
    assert is_complete(cached(server.url), cache)
    assert server.asked == [None, "bytes=3000-"]
    assert server.sent == [3000, len(CONTENT) - 3000]


@pytest.mark.parametrize(
    "answer",
    [
        b"this is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nbroken",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"",
    ],
    ids=["garbage", "chunked", "length", "hang up"],
)
def test_a_server_out_of_order_is_passed_over(
    serve: list[Server], cache: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    serve[0].answer = answer
    monkeypatch.setenv("FCN_MIRRORS", serve[0].folder)
    assert is_complete(cached(serve[1].url), cache)
    assert len(serve[0].asked) == 1


def test_a_wrong_content_is_refused(server: Server, cache: Path) -> None:
    server.content = OTHER
    text = refusal(cached, server.url)
    assert f"its SHA-256 starts with {hashlib.sha256(OTHER).hexdigest()[:8]}, not {DIGEST[:8]}" in text
    assert list(cache.iterdir()) == []


def test_after_a_wrong_content_the_next_address_is_asked(serve: list[Server], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve[0].content = OTHER
    monkeypatch.setenv("FCN_MIRRORS", serve[0].folder)
    assert is_complete(cached(serve[1].url), cache)
    assert serve[1].asked == [None]


def test_a_wrong_beginning_from_one_address_does_not_spoil_the_next(
    serve: list[Server], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve[0].content, serve[0].stop_after = OTHER, 3000
    monkeypatch.setenv("FCN_MIRRORS", serve[0].folder)
    assert is_complete(cached(serve[1].url), cache)
    assert serve[1].asked == ["bytes=3000-", None]


@pytest.mark.parametrize("by_address", [False, True])
def test_a_folder_as_mirror_is_asked_first(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_address: bool
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / NAME).write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FCN_MIRRORS", mirror.as_uri() if by_address else "mirror")
    assert is_complete(cached(server.url), cache)
    assert server.asked == []
    assert (mirror / NAME).read_bytes() == CONTENT


def test_mirrors_are_asked_in_their_order(
    serve: list[Server], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FCN_MIRRORS", f"{tmp_path}/nowhere {serve[0].folder}/empty {serve[0].folder}/sub/folder/")
    assert is_complete(cached(serve[1].url), cache)
    assert (serve[0].asked, serve[1].asked) == ([None, None], [])


def test_a_folder_as_mirror_with_a_part_begun_elsewhere(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    begin(cache, CONTENT[:1000])
    monkeypatch.setenv("FCN_MIRRORS", str(tmp_path))
    assert is_complete(cached(f"file:///nowhere/{NAME}"), cache)


def test_nothing_reachable_names_addresses_place_and_variable(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = f"{server.folder}/empty"
    url = f"http://127.0.0.1:{closed_port()}/{NAME}"
    monkeypatch.setenv("FCN_MIRRORS", f"{tmp_path} {empty}")
    text = refusal(cached, url)
    pattern = (
        rf"the weights {re.escape(NAME)} could not be fetched from {(tmp_path / NAME).as_uri()} \(.*No such file.*\), "
        rf"nor from {empty}/{re.escape(NAME)} \(HTTP Error 404: Not Found\), nor from {url} \(.*refused.*\); "
        rf"put the file at {cache / NAME}, or name a folder or address that has it in the variable FCN_MIRRORS"
    )
    assert re.fullmatch(pattern, text), text
    assert list(cache.iterdir()) == []


def test_shorter_than_its_known_size(server: Server, cache: Path) -> None:
    server.content = CONTENT[:4000]
    text = refusal(cached, server.url, size=len(CONTENT))
    assert f"broke off at 4000 of {len(CONTENT)} bytes" in text
    assert [path.name for path in cache.iterdir()] == [f"{NAME}.part"]
    server.content = CONTENT
    assert is_complete(cached(server.url, size=len(CONTENT)), cache)
    assert server.asked == [None, "bytes=4000-"]


def test_a_server_that_sends_more_than_the_file_has_is_stopped(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = CONTENT * 50
    monkeypatch.setattr(weight_files, "CHUNK", 1000)
    assert f"it sends more than {len(CONTENT):,} bytes" in refusal(cached, server.url, size=len(CONTENT))
    assert list(cache.iterdir()) == []
    monkeypatch.setattr(weight_files, "MAX_BYTES", len(CONTENT) - 1)
    server.content = CONTENT
    assert f"it sends more than {len(CONTENT) - 1:,} bytes" in refusal(cached, server.url), (
        "a size that nobody knows has a limit too"
    )
    monkeypatch.setattr(weight_files, "MAX_BYTES", len(CONTENT))
    assert is_complete(cached(server.url), cache)


def test_a_redirect_is_followed(serve: list[Server], cache: Path) -> None:
    serve[0].answer = f"HTTP/1.1 302 Found\r\nLocation: {serve[1].url}\r\nContent-Length: 0\r\n\r\n".encode()
    assert is_complete(cached(serve[0].url), cache)
    assert serve[1].asked == [None]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "data:,x"])
def test_a_redirect_to_a_file_is_not_followed(server: Server, cache: Path, target: str) -> None:
    server.answer = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
    assert "302" in refusal(cached, server.url)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("target", ["http://example.org/net.pth", "HTTP://example.org/net.pth", "ftp://example.org/net.pth"])
def test_a_redirect_does_not_leave_the_encrypted_connection(target: str) -> None:
    redirects, headers = weight_files._SecureRedirects(), http.client.HTTPMessage()
    secure, plain = Request("https://example.org/a"), Request("http://example.org/a")
    with pytest.raises(urllib.error.HTTPError, match=f"it redirects to {target}, which is not encrypted"):
        redirects.redirect_request(secure, io.BytesIO(), 302, "Found", headers, target)
    for start, end in ((secure, "https://example.org/b"), (plain, target), (plain, "https://example.org/b")):
        request = redirects.redirect_request(start, io.BytesIO(), 302, "Found", headers, end)
        assert request is not None
        assert request.full_url == end
