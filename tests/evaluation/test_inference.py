"""Windows, modes and averaging against the reference's golden values and independent computations."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn_lightning import InputError
from fcn_lightning.evaluation.inference import Inference, log_scores, predict_scores, slide_logits, slide_windows
from fcn_lightning.models.fcn import fcn


class Net(nn.Module):
    """A network with stride 4 whose logits depend on where things are."""

    def __init__(self, align_corners: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 7, stride=4, padding=3)
        self.align_corners = align_corners

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image)


def test_windows(golden: dict[str, Any]) -> None:
    for case in golden["slide_windows"]:
        crop, stride = (case["crop"],) * 2, (case["stride"],) * 2
        boxes = slide_windows((case["h"], case["w"]), crop, stride)
        assert [list(box) for box in boxes] == case["windows_y1x1y2x2"]
        count = np.zeros((case["h"], case["w"]), int)
        for y1, x1, y2, x2 in boxes:
            count[y1:y2, x1:x2] += 1
        values, pixels = np.unique(count, return_counts=True)
        assert dict(zip(values.tolist(), pixels.tolist(), strict=True)) == case["coverage_histogram"]


@pytest.mark.parametrize("align_corners", [False, True])
def test_whole_interpolates_twice(align_corners: bool) -> None:
    model, image = Net(align_corners), torch.randn(1, 3, 37, 53)
    scores = predict_scores(model, [image], (74, 99), Inference())
    first = F.interpolate(model(image), (37, 53), mode="bilinear", align_corners=align_corners)
    assert torch.equal(scores, F.interpolate(first, (74, 99), mode="bilinear", align_corners=align_corners))
    once = F.interpolate(model(image), (74, 99), mode="bilinear", align_corners=align_corners)
    assert not torch.allclose(scores, once)


def test_slide_averages_logits_of_its_windows() -> None:
    model, image = Net(), torch.randn(1, 3, 40, 60)
    averaged = slide_logits(model, image, (32, 32), (24, 24))
    total, count = torch.zeros(1, 5, 40, 60), torch.zeros(40, 60)
    for y, x in ((0, 0), (0, 24), (0, 28), (8, 0), (8, 24), (8, 28)):
        window = F.interpolate(model(image[:, :, y : y + 32, x : x + 32]), (32, 32), mode="bilinear")
        total[:, :, y : y + 32, x : x + 32] += window
        count[y : y + 32, x : x + 32] += 1
    torch.testing.assert_close(averaged, total / count)


def test_slide_with_one_window_is_whole() -> None:
    model, image = Net(), torch.randn(1, 3, 30, 45)
    slide = Inference(mode="slide", crop_size=(48, 48), stride=(32, 32))
    assert torch.equal(predict_scores(model, [image], (60, 90), slide), predict_scores(model, [image], (60, 90), Inference()))


def test_padded_windows_see_zeros_to_the_right_and_below() -> None:
    model, image = Net(), torch.randn(1, 3, 20, 60)
    how = Inference(mode="slide", crop_size=(32, 32), stride=(28, 28), pad_windows=True)
    total, count = torch.zeros(1, 5, 20, 60), torch.zeros(20, 60)
    for x in (0, 28):
        window = torch.zeros(1, 3, 32, 32)
        window[:, :, :20] = image[:, :, :, x : x + 32]
        logits = F.interpolate(model(window), (32, 32), mode="bilinear")
        total[:, :, :, x : x + 32] += logits[:, :, :20]
        count[:, x : x + 32] += 1
    padded = predict_scores(model, [image], (20, 60), how)
    torch.testing.assert_close(padded, total / count)
    assert not torch.allclose(padded, predict_scores(model, [image], (20, 60), replace(how, pad_windows=False)))


def test_padding_changes_nothing_where_no_window_is_too_large() -> None:
    model, image = Net(), torch.randn(1, 3, 40, 60)
    how = Inference(mode="slide", crop_size=(32, 32), stride=(24, 24))
    padded = predict_scores(model, [image], (40, 60), replace(how, pad_windows=True))
    assert torch.equal(padded, predict_scores(model, [image], (40, 60), how))


def test_ms_flip_averages_probabilities_over_scales_and_mirrorings() -> None:
    model = Net()
    images = [torch.randn(1, 3, 20, 28), torch.randn(1, 3, 30, 42)]
    scores = predict_scores(model, images, (40, 56), Inference(tta="ms_flip"))
    parts = []
    for image in images:
        for flip in (False, True):
            logits = model(image.flip(-1) if flip else image)
            logits = F.interpolate(F.interpolate(logits, image.shape[-2:], mode="bilinear"), (40, 56), mode="bilinear")
            parts.append((logits.flip(-1) if flip else logits).softmax(1))
    torch.testing.assert_close(scores, torch.stack(parts).mean(0))
    torch.testing.assert_close(scores.sum(1), torch.ones(1, 40, 56))
    torch.testing.assert_close(log_scores(scores, Inference(tta="ms_flip")).softmax(1), scores)


def test_probabilities_are_averaged_not_logits(golden: dict[str, Any]) -> None:
    case = golden["tta_average"]
    passes = iter([logits for logits in case["logits"] for _ in range(2)])

    class Recorded(nn.Module):
        align_corners = False

        def forward(self, image: Tensor) -> Tensor:
            return torch.tensor(next(passes)).view(1, 2, 1, 1)

    scores = predict_scores(Recorded(), [torch.zeros(1, 3, 1, 1)] * 3, (1, 1), Inference(tta="ms_flip"))
    np.testing.assert_allclose(scores.flatten().numpy(), case["mean_probability"], rtol=1e-6)
    assert scores.argmax(1).item() == case["argmax_probability"] != case["argmax_logit"]


def test_fp32_is_fp32_inside_an_autocast_region() -> None:
    model, image = fcn(4, depth=18, deep_stem=False).eval(), torch.randn(1, 3, 33, 33)
    with torch.no_grad():
        plain = predict_scores(model, [image], (33, 33), Inference())
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(predict_scores(model, [image], (33, 33), Inference()), plain)
        half = predict_scores(model, [image], (33, 33), Inference(precision="bf16"))
    assert half.dtype == torch.float32
    assert not torch.equal(half, plain)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "tile"}, "inference.mode=tile"),
        ({"tta": "flip"}, "tta=flip"),
        ({"precision": "fp8"}, "inference.precision=fp8"),
        ({"mode": "slide"}, "set all three"),
        ({"crop_size": (5, 5)}, "set all three"),
        ({"mode": "slide", "crop_size": (5, 5), "stride": (6, 5)}, "must be between"),
        ({"mode": "slide", "crop_size": (5, 5), "stride": (0, 5)}, "must be between"),
    ],
)
def test_bad_settings_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Inference(**arguments)
