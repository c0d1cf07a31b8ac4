"""Files in the layouts of published weights, and a row whose published file is one that a test has written."""

import hashlib
import re
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from fcn_lightning import InputError, zoo
from fcn_lightning.zoo import recipes
from tests.conftest import ROOT

ROW = "fcn_r18-d8_512x1024_80k_cityscapes"  # the smallest network
CONFIG_NAME = "fcn_r18-d8_4xb2-80k_cityscapes-512x1024"

State = OrderedDict[str, Tensor]


def random_state(model: nn.Module, seed: int = 0) -> State:
    """Random numbers for all of a network's tensors: windows of one storage, so that files are a fifth as large."""
    own = model.state_dict()
    numbers = torch.randn(max(value.numel() for value in own.values()) + len(own), generator=torch.Generator().manual_seed(seed))
    state: State = OrderedDict()
    for index, (key, value) in enumerate(own.items()):
        counter = key.endswith("num_batches_tracked")
        state[key] = torch.tensor(index + 1) if counter else numbers[index : index + value.numel()].view(value.shape)
    return state


def working_state(name: str = ROW) -> State:
    """Weights of a row's network that is not trained but predicts several classes."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = zoo.build(name)
        nn.init.normal_(model.decode_head.conv_seg.weight)
        nn.init.normal_(model.decode_head.conv_seg.bias)
    return OrderedDict(model.state_dict())


def names_of_classes() -> list[str]:
    """The classes of the row, as open-mmlab/mmsegmentation lists them."""
    golden = yaml.safe_load((ROOT / "tests/golden/mmseg_classes.yaml").read_text())
    return [entry["name"] for entry in golden["cityscapes"]["classes"]]


def content(state: State) -> dict[str, Any]:
    """What release 0.x wrote around the tensors; the classes' names are in an order that is not the row's."""
    names = names_of_classes()
    meta = {
        "CLASSES": tuple(reversed(names)),
        "PALETTE": [[index, 0, 255 - index] for index in range(len(names))],
        "mmseg_version": "0.5.0+8ac2bef",
        "mmcv_version": "0.5.4",
        "config": "norm_cfg = dict(type='SyncBN', requires_grad=True)\nmodel = dict(type='EncoderDecoder')\n",
        "env_info": "sys.platform: linux\nPython: 3.7.7",
        "iter": 80000,
        "epoch": 215,
        "seed": None,
        "exp_name": f"{ROW}.py",
        "time": "Fri Dec 25 02:13:27 2020",
        "hook_msgs": {},
    }
    return {"meta": meta, "state_dict": state}


def named_by_hash(path: Path, stem: str) -> Path:
    """Rename a file to `<stem>-<first eight digits of its SHA-256>.pth`."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(path.with_name(f"{stem}-{digest[:8]}.pth"))


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key


def refusal(call: Callable[..., object], *arguments: object, **options: object) -> str:
    """Return the one sentence that something is refused with."""
    with pytest.raises(InputError) as error:
        call(*arguments, **options)
    text = str(error.value)
    assert text
    assert not re.search(r"\n|\. |\x1b", text), text
    return text


def forget_rows() -> None:
    """Empty what the recipes' module remembers."""
    for remembered in (recipes.rows, recipes.row, recipes._ids_of_config_names):
        remembered.cache_clear()


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = ROW, **figures: object) -> Path:
    """Publish a row anew: weights of this test under their published name and hash, and what else a test wants to be published.

    Args:
        folder: for the file, and for the recipes as they are now.
        monkeypatch: takes it back; `forget_rows` has to follow.
        name: of the row.
        figures: of the row, such as miou.

    Returns:
        Path of the weights.
    """
    if not folder.is_dir():
        shutil.copytree(ROOT / "conf/recipe", folder / "conf/recipe")
    recipe = folder / "conf/recipe" / f"{name}.yaml"
    facts = yaml.safe_load(recipe.read_text())
    torch.save(content(working_state(name)), folder / "new")
    path = named_by_hash(folder / "new", Path(facts["row"]["checkpoint"]).stem.rsplit("-", 1)[0])
    facts["row"] |= {"checkpoint": f"https://example.org/{path.name}", "sha256_prefix": path.stem.rsplit("-", 1)[1]} | figures
    recipe.write_text(yaml.safe_dump(facts))
    monkeypatch.setattr(recipes, "CONF_DIR", folder / "conf")
    forget_rows()
    return path


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A row's id and the path of its published weights: a file of this test, whose name and hash the recipe has been given."""
    path = publish(tmp_path / "published", monkeypatch)
    yield ROW, path
    forget_rows()  # once the folder is the package's own again, which is before the next look
    path.unlink(missing_ok=True)
