"""ImageNet weights: the right files, verified, and clear words where they cannot be had."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from fcn_lightning import InputError
from fcn_lightning.models import pretrained
from fcn_lightning.models.fcn import fcn
from fcn_lightning.models.resnet import DilatedResNet
from tests.hostile import malicious_checkpoint


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("FCN_MIRRORS", raising=False)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


def put_weights(cache: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]) -> Path:
    """Place a file whose name carries its real hash, and make it the R-18 deep-stem file."""
    torch.save(state, cache / "new")
    digest = hashlib.sha256((cache / "new").read_bytes()).hexdigest()[:8]
    path = (cache / "new").rename(cache / f"resnet18_v1c-{digest}.pth")
    monkeypatch.setitem(pretrained.IMAGENET_URLS, (18, True), f"file:///nowhere/{path.name}")
    return path


def test_the_files_are_the_published_ones() -> None:
    names = {key: url.rsplit("/", 1)[1] for key, url in pretrained.IMAGENET_URLS.items()}
    assert names == {
        (18, True): "resnet18_v1c-b5776b93.pth",
        (50, True): "resnet50_v1c-2cccc1ad.pth",
        (101, True): "resnet101_v1c-e67eebb6.pth",
        (18, False): "resnet18-f37072fd.pth",
        (50, False): "resnet50-0676ba61.pth",
        (101, False): "resnet101-63fe2227.pth",
    }


def test_weights_and_statistics_are_loaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = DilatedResNet(18, deep_stem=True, output_stride=8)
    source.stem[1].running_mean += 3
    counters = [key for key in source.state_dict() if key.endswith("num_batches_tracked")]
    state = {key: value for key, value in source.state_dict().items() if key not in counters} | {"fc.weight": torch.zeros(2)}
    put_weights(cache, monkeypatch, state)
    model = fcn(5, depth=18, deep_stem=True, pretrained=True)
    for key, value in source.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[key], value)


def test_weights_come_from_a_mirror(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = DilatedResNet(18, deep_stem=True, output_stride=8)
    path = put_weights(cache, monkeypatch, source.state_dict())
    path.rename(tmp_path / path.name)
    monkeypatch.setenv("FCN_MIRRORS", str(tmp_path))
    model = fcn(5, depth=18, deep_stem=True, pretrained=True)
    assert torch.equal(model.backbone.state_dict()["stem.0.weight"], source.state_dict()["stem.0.weight"])
    assert path.is_file()


def test_a_file_with_another_hash_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put_weights(cache, monkeypatch, {})
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match=r"not the published file.*model\.pretrained=false"):
        fcn(5, depth=18, deep_stem=True, pretrained=True)


def test_a_file_of_another_network_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_weights(cache, monkeypatch, DilatedResNet(18, deep_stem=False, output_stride=8).state_dict())
    with pytest.raises(InputError, match="does not fit a ResNet-18"):
        fcn(5, depth=18, deep_stem=True, pretrained=True)


def test_no_network_names_file_place_and_switch(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pretrained.IMAGENET_URLS, (18, False), "file:///nowhere/resnet18-f37072fd.pth")
    with pytest.raises(InputError) as error:
        fcn(5, depth=18, deep_stem=False, pretrained=True)
    for part in ("resnet18-f37072fd.pth", str(cache / "resnet18-f37072fd.pth"), "FCN_MIRRORS", "model.pretrained=false"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(cache.iterdir()), "nothing half-downloaded stays"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"stem.0.weight": torch.zeros(2)}, "stem.0.weight has the shape \\(2,\\)"),
        ({"stem.0.weight": 1.0}, "holds no weights"),
        ({"state_dict": [1]}, "holds no weights"),
    ],
    ids=["shape", "number", "list"],
)
def test_a_file_of_something_else_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch, state: Any, words: str) -> None:
    put_weights(cache, monkeypatch, state)
    with pytest.raises(InputError, match=words):
        fcn(5, depth=18, deep_stem=True, pretrained=True)


def test_nothing_in_a_file_is_executed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache / "resnet18_v1c.pth"
    witness = malicious_checkpoint(path)
    monkeypatch.setitem(pretrained.IMAGENET_URLS, (18, True), f"file:///nowhere/{path.name}")
    with pytest.raises(InputError, match=r"reading it would run posix\.system"):
        fcn(5, depth=18, deep_stem=True, pretrained=True)
    assert not witness.exists()
