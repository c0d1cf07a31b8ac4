"""The certificate of a reproduction: published against measured, and everything that the number rests on."""

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fcn_lightning import __version__
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.evaluation.predictor import Card
from fcn_lightning.evaluation.scores import Scores
from fcn_lightning.reporting.record import by_class, device_name, list_hash, package_versions, write_json
from fcn_lightning.zoo.recipes import Row
from fcn_lightning.zoo.weights import Weights

TOLERANCE = 0.05  # points of mIoU; the published figures have two decimals, devices and decoders differ in single pixels


@dataclass(frozen=True)
class Certificate:
    """What was published, what was measured, and how.

    Args:
        row: the published row.
        figure: the published mIoU in percent, of this test.
        weights: that were evaluated.
        card: of the row, with this test's mode.
        datamodule: of the data set.
        left_out: pairs of the validation split of which a file is absent.
        scores: measured.
    """

    row: Row
    figure: float
    weights: Weights
    card: Card
    datamodule: SegmentationDataModule
    left_out: int
    scores: Scores

    @property
    def difference(self) -> float:
        """Measured less published mIoU, in points."""
        return 100 * self.scores.miou - self.figure

    @property
    def matches(self) -> bool:
        """Whether the number lies within the tolerance."""
        return abs(self.difference) <= TOLERANCE + 1e-9  # the subtraction of decimals is not exact

    @property
    def verified(self) -> bool:
        """Whether the weights are the published file of this row."""
        return self.weights.verified and self.weights.row == self.row.id

    @property
    def images(self) -> int:
        """Images that were evaluated."""
        return len(self.datamodule.val_data)

    @property
    def expected_images(self) -> int:
        """Images of the published validation split."""
        return self.datamodule.published_counts["val"]

    @property
    def objections(self) -> list[str]:
        """Why this is no reproduction, in words; empty where it is one."""
        found = []
        if not self.weights.verified:
            found.append(f"the weights are not the published file of this row ({self.weights.note})")
        elif not self.verified:
            found.append(f"the weights are the published file of another row, {self.weights.row}")
        if self.images != self.expected_images:
            found.append(f"{self.images} images were evaluated, the published split has {self.expected_images}")
        if self.left_out:
            found.append(f"{self.left_out} image or mask files are absent")
        if not self.matches:
            found.append(f"measured mIoU {100 * self.scores.miou:.2f}, published {self.figure:.2f}, tolerance {TOLERANCE}")
        return found

    @property
    def windows(self) -> str | None:
        """How windows beyond a small image were treated, where that decides: the ms+flip test of sliding windows."""
        how = self.card.inference
        if how.mode != "slide" or not how.ms_flip:
            return None
        return (
            "filled with zeros, as in release 0.5 (June 2020)"
            if how.pad_windows
            else "as small as the image, as from release 0.7 on"
        )

    def write(self, path: Path, device: torch.device) -> None:
        """Write the certificate as JSON; scores are percentages."""
        classes = self.card.labels.classes
        content = {
            "row": self.row.id,
            "config_name": self.row.config_name,
            "certified": not self.objections,
            "objections": self.objections,
            "published": {"mIoU": self.figure, "date": self.row.date, "checkpoint": self.row.checkpoint},
            "measured": {"mIoU": _points(self.scores.miou), "mAcc": _points(self.scores.macc), "aAcc": _points(self.scores.aacc)},
            "difference": round(self.difference, 4),
            "tolerance": TOLERANCE,
            "IoU": _in_points(by_class(self.scores.iou, classes)),
            "Acc": _in_points(by_class(self.scores.acc, classes)),
            "weights": {
                "file": self.weights.path.name,
                "sha256": self.weights.sha256,
                "published_prefix": self.row.sha256_prefix,
                "verified": self.verified,
                "note": self.weights.note,
            },
            "data": self._data(),
            "settings": asdict(self.card.inference)
            | {
                "base_scale": self.card.base_scale,
                "align_corners": self.card.model["align_corners"],
                "tf32": torch.backends.cudnn.allow_tf32,
                "ms_flip_windows": self.windows,
            },
            "device": device_name(device),
            "versions": {"python": platform.python_version(), "fcn_lightning": __version__} | package_versions(),
            "command": sys.argv[1:],
        }
        write_json(path, content)

    def _data(self) -> dict[str, Any]:
        """Describe the files; names are relative to the data's folder, so that the hash is the same everywhere."""
        dataset, root = self.datamodule.val_data, self.datamodule.folder()
        names = [f"{pair.image.relative_to(root)} {pair.mask.relative_to(root)}" for pair in dataset.pairs]
        return {
            "dataset": self.datamodule.name,
            "images": self.images,
            "expected_images": self.expected_images,
            "left_out": self.left_out,
            "file_list_sha256": list_hash(names),
        }


def comparison_table(certificate: Certificate) -> str:
    """Lay out published against measured, in percent; the scores per class stand above it already."""
    how, measured = certificate.card.inference, 100 * certificate.scores.miou
    test = (
        f"{how.mode}, tta {how.tta}, base scale {certificate.card.base_scale[0]}x{certificate.card.base_scale[1]}, {how.precision}"
    )
    lines = [
        f"row        {certificate.row.id}",
        f"weights    {certificate.weights.path.name}, {certificate.weights.note}",
        f"data       {certificate.images} of {certificate.expected_images} images",
        f"test       {test}" + (f", windows {certificate.windows}" if certificate.windows else ""),
        "           published  measured  difference  tolerance",
        f"mIoU       {certificate.figure:9.2f}  {measured:8.2f}  {certificate.difference:+10.2f}  {TOLERANCE:9.2f}",
        "reproduced" if not certificate.objections else "not reproduced",
    ]
    return "\n".join(lines)


def _points(fraction: float) -> float:
    return round(100 * fraction, 4)


def _in_points(fractions: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else _points(value) for name, value in fractions.items()}
