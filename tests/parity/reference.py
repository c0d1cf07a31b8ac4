"""The reference's side of docs/parity.md: mmsegmentation's own network of a row writes what `compare.py` compares with.

It runs in an environment of its own that shares PyTorch, NumPy and OpenCV with this package's:

    pip install --no-deps mmsegmentation==1.2.2 mmengine==0.10.7 mmcv-lite==2.1.0
    pip install addict yapf termcolor prettytable ftfy regex rich matplotlib scipy packaging

    python tests/parity/reference.py weights --row <id> --out w.pth
    python tests/parity/reference.py labels --row <id> --weights w.pth --image i.png --out l.npy --logits s.npy [--tta ms_flip]
    python tests/parity/reference.py trajectory --row <id> --out t.pt [--double]
"""

import argparse
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F


class Operators(types.ModuleType):
    """mmcv's compiled operators, which its light edition lacks and an FCN does not call."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **options: None


sys.modules["mmcv._ext"] = Operators("mmcv._ext")

import cv2  # noqa: E402
import mmseg  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402
from mmseg.utils import register_all_modules  # noqa: E402

GOLDEN = yaml.safe_load((Path(__file__).resolve().parents[1] / "golden/mmseg_zoo.yaml").read_text())
ROWS = {row["id"]: row for row in GOLDEN["seed_rows"] + GOLDEN["beyond_seed"]}
CONFIGS = Path(mmseg.__file__).parent / ".mim/configs/fcn"
MEAN, STD = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of the published ms+flip figures


def network(name: str) -> nn.Module:
    """Build a row's network from the configuration that mmsegmentation ships, in one process."""
    row = ROWS[name]
    first = row if "config_name_1x" in row else ROWS[f"{name}_20210421"]  # the two replaced rows have none of their own
    config = Config.fromfile(CONFIGS / f"{first['config_name_1x']}.py").model
    if first is not row:
        config.auxiliary_head.num_classes = 19  # as they were trained
    config.pretrained = None
    for part in (config, config.backbone, config.decode_head, config.auxiliary_head):
        if "norm_cfg" in part:
            part.norm_cfg.type = "BN"
    model: nn.Module = MODELS.build(config)
    return model


def weights(args: argparse.Namespace) -> None:
    """Write random weights in the published layout: activations stay in range, and many classes are predicted."""
    torch.manual_seed(args.seed)
    model = network(args.row)
    model.init_weights()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.2)
        norm.momentum = None  # running statistics are plain means from here on
    scene = F.interpolate(torch.randn(4, 3, 9, 12), scale_factor=16, mode="bicubic") + 0.3 * torch.randn(4, 3, 144, 192)
    with torch.no_grad():
        for training in (True, True, False):
            features = model.train(training).extract_feat(scene)
            outputs = [(head, head(features)) for head in (model.decode_head, model.auxiliary_head)]
        for head, logits in outputs:  # every class gets the same spread, so none wins everywhere
            spread = logits.std((0, 2, 3)).clamp_min(1e-6)
            head.conv_seg.bias.copy_((head.conv_seg.bias - logits.mean((0, 2, 3))) / spread)
            head.conv_seg.weight.div_(spread[:, None, None, None])
    torch.save({"meta": {"mmseg_version": mmseg.__version__}, "state_dict": model.state_dict()}, args.out)


@torch.no_grad()
def labels(args: argparse.Namespace) -> None:
    """Write the label map of an image in the row's own test mode, and the logits (ms+flip: mean probabilities) behind it."""
    model = network(args.row).eval()
    model.load_state_dict(torch.load(args.weights, weights_only=True)["state_dict"])
    image = cv2.imread(args.image)
    width, height = ROWS[args.row]["test_scale_wh"]
    if args.tta == "none":
        scores = logits_of(model, fit(image, (width, height)), image.shape[:2])
    else:
        passes = []
        for ratio in RATIOS:
            resized = fit(image, (int(width * ratio), int(height * ratio)))
            passes.append(logits_of(model, resized, image.shape[:2]).softmax(1))
            passes.append(logits_of(model, np.ascontiguousarray(resized[:, ::-1]), image.shape[:2]).softmax(1).flip(3))
        scores = sum(passes[1:], passes[0]) / len(passes)
    np.save(args.out, scores.argmax(1)[0].numpy().astype(np.uint8))
    np.save(args.logits, scores[0].numpy())


def fit(image: np.ndarray, scale: tuple[int, int]) -> np.ndarray:
    """Resize to fit a scale in either orientation, keeping the aspect ratio."""
    height, width = image.shape[:2]
    factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    return cv2.resize(image, (int(width * factor + 0.5), int(height * factor + 0.5)), interpolation=cv2.INTER_LINEAR)


def logits_of(model: nn.Module, image: np.ndarray, size: tuple[int, ...]) -> Tensor:
    """Score a BGR image with the model's own inference, and resize to the original size."""
    shape = image.shape[:2]
    batch = torch.from_numpy(((image[..., ::-1].astype(np.float32) - MEAN) / STD).transpose(2, 0, 1).copy())[None]
    meta = {"ori_shape": tuple(size), "img_shape": shape, "pad_shape": shape, "padding_size": [0, 0, 0, 0]}
    return F.interpolate(model.inference(batch, [meta]), size=tuple(size), mode="bilinear", align_corners=model.align_corners)


def trajectory(args: argparse.Namespace) -> None:
    """Write twenty steps of training without dropout: start, batches, losses, learning rates, end."""
    row, dtype = ROWS[args.row], torch.float64 if args.double else torch.float32
    torch.manual_seed(args.seed)
    model = network(args.row)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    model.train().to(dtype)
    record: dict[str, Any] = {"row": args.row, "start": {key: value.clone() for key, value in model.state_dict().items()}}
    record |= {"batches": [], "losses": [], "lrs": []}
    optimizer = torch.optim.SGD(model.parameters(), lr=row["base_lr"], momentum=0.9, weight_decay=row["weight_decay"])
    for step in range(args.steps):
        rate = (row["base_lr"] - 1e-4) * (1 - step / row["iterations"]) ** 0.9 + 1e-4
        optimizer.param_groups[0]["lr"] = rate
        blocks = torch.randint(0, row["num_classes"], (args.batch, 1, 7, 7)).float()
        mask = F.interpolate(blocks, size=(args.size, args.size), mode="nearest")[:, 0].long()
        mask[:, :, : args.size // 9] = 255  # so that ignored pixels count
        image = torch.randn(args.batch, 3, args.size, args.size).to(dtype)
        features = model.backbone(image)
        losses = [share * loss_of(head, features, mask) for head, share in ((model.decode_head, 1.0), (model.auxiliary_head, 0.4))]
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        record["batches"].append((image, mask))
        record["losses"].append(sum(losses).item())
        record["lrs"].append(rate)
    torch.save(record | {"end": model.state_dict()}, args.out)


def loss_of(head: nn.Module, features: list[Tensor], mask: Tensor) -> Tensor:
    """Average the element-wise cross-entropy over all pixels, as the reference does."""
    logits = F.interpolate(head(features), size=mask.shape[1:], mode="bilinear", align_corners=head.align_corners)
    return F.cross_entropy(logits, mask, ignore_index=255, reduction="none").mean()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["weights", "labels", "trajectory"])
    parser.add_argument("--row", required=True, choices=sorted(ROWS), metavar="ID")
    parser.add_argument("--out", required=True)
    parser.add_argument("--tta", choices=["none", "ms_flip"], default="none")
    parser.add_argument("--double", action="store_true")
    for option in ("weights", "image", "logits"):
        parser.add_argument(f"--{option}")
    for option, default in (("seed", 3), ("steps", 20), ("batch", 2), ("size", 97)):
        parser.add_argument(f"--{option}", type=int, default=default)
    arguments = parser.parse_args()
    register_all_modules()
    MMLogger.get_instance("mmengine", log_level="WARNING")
    cv2.setNumThreads(0)
    {"weights": weights, "labels": labels, "trajectory": trajectory}[arguments.what](arguments)
