"""The networks against the reference: parameter names and counts, operations, and values of seven seeded networks."""

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from fcn_lightning import InputError
from fcn_lightning.config import build, compose
from fcn_lightning.models.fcn import FCN, fcn
from fcn_lightning.training.losses import PixelCrossEntropy
from tests.conftest import ROOT

GOLDEN = yaml.safe_load((ROOT / "tests/golden/mmseg.yaml").read_text())
ROWS = GOLDEN["model"]["rows"]
CASES = GOLDEN["deterministic_forward"]["cases"]


def build_fcn(backbone: str, num_classes: int, *overrides: str) -> FCN:
    """Build a network as a user would: "R-50b-D16" means backbone=r50b head=d6."""
    name, head = backbone.lower().replace("r-", "r").split("-")[:2]
    config = compose(f"backbone={name}", f"head={'d6' if head == 'd16' else head}", "model.pretrained=false", *overrides)
    model: FCN = build(config.model, {"num_classes": num_classes})
    return model


@pytest.mark.parametrize("row", ROWS, ids=[f"{r['backbone']}-{r['dataset']}-{r['crop_h']}x{r['crop_w']}" for r in ROWS])
def test_row_has_the_published_parameters_and_operations(row: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = build_fcn(row["backbone"], row["num_classes"]).eval()
        image = torch.empty(1, 3, row["crop_h"], row["crop_w"])
    parts = {"backbone": model.backbone, "decode_head": model.decode_head, "auxiliary_head": model.auxiliary_head}
    for name, part in parts.items():
        assert sum(p.numel() for p in part.parameters()) == row[f"params_{name}"]
    state = model.state_dict()
    lines = sorted(f"{key} {'x'.join(map(str, value.shape))}" for key, value in state.items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == row["state_dict_sha256"]
    assert len(state) == row["state_dict_entries"]

    with FlopCounterMode(display=False) as counter:
        features = model.backbone(image)
    assert counter.get_total_flops() == row["flops_backbone"]
    assert [list(feature.shape) for feature in features] == row["feature_shapes"]
    with FlopCounterMode(display=False) as counter:
        logits = model(image)
    assert counter.get_total_flops() == row["flops_backbone"] + row["flops_decode_head"]
    assert round(counter.get_total_flops() / 1e9, 3) == row["gflops_inference"]
    assert list(logits.shape) == row["logits_shape"]
    with FlopCounterMode(display=False) as counter:
        model.auxiliary_head(features[2])
    assert counter.get_total_flops() == row["flops_auxiliary_head"]


def hashed(size: int, j: int) -> np.ndarray[Any, Any]:
    """Return u(m, j) for m < size, by the rule in the golden file."""
    with np.errstate(over="ignore"):
        z = (np.arange(size, dtype=np.uint32) + np.uint32(1)) * np.uint32(0x9E3779B1)
        z += np.uint32((j + 1) * 0x85EBCA77 % 2**32)
        z ^= z >> np.uint32(15)
        z *= np.uint32(0x2C1B3C6D)
        z ^= z >> np.uint32(12)
        z *= np.uint32(0x297A2D39)
        z ^= z >> np.uint32(15)
    return z / np.float64(2**32)


def fill(model: FCN) -> FCN:
    """Give a network the seeded weights, in double precision."""
    state = model.double().state_dict()
    keys = [key for key in sorted(state) if not key.endswith("num_batches_tracked")]
    for j, key in enumerate(keys):
        shape = state[key].shape
        u = hashed(state[key].numel(), j).reshape(shape)
        if len(shape) == 4:
            value = (2 * u - 1) * np.sqrt(3 / np.prod(shape[1:]))
        elif key.endswith("running_mean"):
            value = 0.1 * (2 * u - 1)
        elif key.endswith(".bias"):
            value = 0.2 * (2 * u - 1)
        else:  # running_var and norm weights
            value = 0.5 + u
        state[key] = torch.from_numpy(value)
    model.load_state_dict(state, strict=True)
    return model.eval()


def test_the_hash_is_the_golden_one() -> None:
    check = GOLDEN["deterministic_forward"]["hash_check"]
    assert hashed(4, 0).tolist() == check["j0"]
    assert hashed(4, 7).tolist() == check["j7"]


@pytest.mark.parametrize("name", CASES)
def test_seeded_network_gives_the_reference_values(name: str) -> None:
    case = CASES[name]
    model = fill(build_fcn(name, 19))
    image = torch.from_numpy(2 * (2 * hashed(3 * 65 * 97, 999) - 1)).reshape(1, 3, 65, 97)
    y, x = np.mgrid[:65, :97]
    mask = torch.from_numpy((y // 7 + x // 5) % 20)[None]
    mask[mask == 19] = 255
    with torch.no_grad():
        features = model.backbone(image)
        logits, aux = model.forward_with_aux(image)
        assert torch.equal(model(image), logits)
    assert [list(feature.shape) for feature in features] == case["feat_shapes"]
    np.testing.assert_allclose([f.mean().item() for f in features], case["feat_mean"], rtol=1e-12)
    np.testing.assert_allclose([f.abs().max().item() for f in features], case["feat_absmax"], rtol=1e-12)
    assert list(logits.shape) == case["logits_shape"]
    np.testing.assert_allclose([logits.mean().item(), logits.std().item()], [case["logits_mean"], case["logits_std"]], rtol=1e-11)
    for place, value in case["logits_sample"].items():
        assert logits[tuple(yaml.safe_load(place))].item() == pytest.approx(value, rel=1e-11)
    np.testing.assert_allclose([aux.mean().item(), aux.std().item()], [case["aux_mean"], case["aux_std"]], rtol=1e-11)
    for align_corners in (False, True):
        want = case[f"align_corners_{align_corners}"]
        loss = PixelCrossEntropy(align_corners=align_corners)
        # The reference adds 1.2e-7 to the denominator and reports accuracy over labelled pixels in float32.
        assert loss(logits, mask)[0].item() == pytest.approx(want["decode_loss_ce"], rel=1e-9)
        assert 0.4 * loss(aux, mask)[0].item() == pytest.approx(want["aux_loss_ce_weighted_0_4"], rel=1e-6)
        valid = (mask != 255).double().mean().item()
        assert loss(logits, mask)[1].item() / valid * 100 == pytest.approx(want["decode_acc_seg"], rel=1e-6)
        first = F.interpolate(logits, (65, 97), mode="bilinear", align_corners=align_corners)
        pred = F.interpolate(first, (130, 194), mode="bilinear", align_corners=align_corners).argmax(1)
        classes, counts = np.unique(pred.numpy(), return_counts=True)
        assert dict(zip(classes.tolist(), counts.tolist(), strict=True)) == want["argmax_hist_two_step_to_130x194"]


def test_unknown_depth_and_stride_are_refused() -> None:
    with pytest.raises(InputError, match="depth=34"):
        fcn(2, depth=34, deep_stem=False)
    with pytest.raises(InputError, match="output_stride=4"):
        fcn(2, depth=18, deep_stem=False, output_stride=4)
