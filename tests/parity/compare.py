"""Compare this package with files that the reference wrote; docs/parity.md has the figures and says how the files are made.

    python tests/parity/compare.py labels --row <id> --weights w.pth --image i.png --labels l.npy --logits s.npy [--tta ms_flip]
    python tests/parity/compare.py trajectory --file t.pt

Each prints one JSON object.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fcn_lightning import load, zoo
from fcn_lightning.config import build, compose
from fcn_lightning.training.losses import LossWeights
from fcn_lightning.training.task import SegmentationTask
from fcn_lightning.zoo.recipes import card, row_id


def labels(args: argparse.Namespace) -> dict[str, Any]:
    """Label one image with the same weights; pixels that agree, and the largest difference of logits over their range."""
    start = time.perf_counter()
    predictor = load(args.row, weights=args.weights)
    predictor = predictor.using(tta=args.tta, precision="fp32", device="cpu")
    scores = predictor.scores(args.image)[0].numpy()
    theirs, their_scores = np.load(args.labels), np.load(args.logits)
    inference = predictor.card.inference
    return {
        "row": args.row,
        "test": f"{inference.mode}{', ms+flip' if inference.ms_flip else ''}",
        "pixels": int(theirs.size),
        "equal_percent": round(100 * float((scores.argmax(0) == theirs).mean()), 5),
        "classes": len(np.unique(theirs)),
        "logits_difference": float(np.abs(scores - their_scores).max() / np.ptp(their_scores)),
        "seconds": round(time.perf_counter() - start, 1),
    }


def trajectory(args: argparse.Namespace) -> dict[str, Any]:
    """Repeat recorded training steps; the largest relative difference of losses and end parameters."""
    content = torch.load(args.file, weights_only=True)
    config = compose(f"recipe={row_id(content['row'])}")
    model = zoo.build(content["row"]).to(content["batches"][0][0].dtype)
    model.load_state_dict(content["start"])
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    task = SegmentationTask(
        model.train(),
        card(content["row"]),
        schedule=build(config.schedule),
        optimizer=build(config.optimizer),
        loss=LossWeights(config.loss.aux_weight),
    )
    configured: Any = task.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    losses, rates = [], []
    for step, (image, mask) in enumerate(content["batches"]):
        rates.append(optimizer.param_groups[0]["lr"])
        loss = task.training_step({"image": image, "mask": mask}, step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    ends = model.state_dict()
    relative = [((ends[key] - end).abs().max() / end.abs().max().clamp_min(1e-30)).item() for key, end in content["end"].items()]
    return {
        "row": content["row"],
        "dtype": str(content["batches"][0][0].dtype).removeprefix("torch."),
        "steps": len(losses),
        "rates_difference": max(abs(a - b) for a, b in zip(rates, content["lrs"], strict=True)),
        "losses_difference": max(abs(a - b) / abs(b) for a, b in zip(losses, content["losses"], strict=True)),
        "parameters_difference": max(relative),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("labels")
    first.set_defaults(run=labels)
    for name in ("row", "weights", "image", "labels", "logits"):
        first.add_argument(f"--{name}", required=True)
    first.add_argument("--tta", choices=["none", "ms_flip"], default="none")
    second = commands.add_parser("trajectory")
    second.set_defaults(run=trajectory)
    second.add_argument("--file", type=Path, required=True)
    arguments = parser.parse_args()
    print(json.dumps(arguments.run(arguments)))  # noqa: T201
