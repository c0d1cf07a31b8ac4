"""`Card`, what a checkpoint says about its model, and `Predictor`, a model that takes images."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcn_lightning import InputError
from fcn_lightning.data.batches import normalized
from fcn_lightning.data.dataset import Labels
from fcn_lightning.data.images import UInt8, read_image
from fcn_lightning.data.steps import MEAN, STD
from fcn_lightning.data.transforms import MS_RATIOS, ImagePreparation
from fcn_lightning.evaluation.inference import Inference, predict_scores
from fcn_lightning.models.fcn import FCN, fcn

MAX_SIDE = 1 << 16  # pixels of a test image's side; a checkpoint that says more would fill the memory


@dataclass(frozen=True)
class Card:
    """Everything that prediction needs beside the weights, as plain numbers and strings.

    Args:
        model: arguments of `fcn(...)`, without `num_classes`.
        dataset: name of the data set it was trained on.
        labels: classes, palette and file values.
        base_scale: (width, height) that a test image is resized to fit.
        inference: the test mode.
    """

    model: dict[str, Any]
    dataset: str
    labels: Labels
    base_scale: tuple[int, int]
    inference: Inference

    def build(self) -> FCN:
        """Build the network with random weights, to be filled from a checkpoint."""
        return fcn(len(self.labels.classes), **self.model, pretrained=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and dicts, which load without executing anything."""
        plain: dict[str, Any] = _plain(asdict(self)) | {"mean": list(MEAN), "std": list(STD)}
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Card":
        """Restore a card.

        Raises:
            KeyError, TypeError, ValueError, InputError: it is not one.
        """
        if (tuple(plain["mean"]), tuple(plain["std"])) != (MEAN, STD):
            raise ValueError(f"it was trained with another normalisation: mean {plain['mean']}, std {plain['std']}")
        labels, (width, height) = plain["labels"], plain["base_scale"]
        if not all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in (width, height)):
            raise ValueError(f"base_scale is {width}x{height}, and each side has to be between 1 and {MAX_SIDE} pixels")
        return cls(
            model=dict(plain["model"]),
            dataset=str(plain["dataset"]),
            labels=Labels(
                classes=tuple(labels["classes"]),
                palette=tuple(tuple(color) for color in labels["palette"]),
                values=tuple(labels["values"]),
                ignored=tuple(labels["ignored"]),
                aliases=tuple((value, number) for value, number in labels.get("aliases", ())),
            ),
            base_scale=(width, height),
            inference=Inference(**plain["inference"]),
        )


class Predictor:
    """A trained network that turns images into label maps.

    Args:
        model: with trained weights.
        card: of the checkpoint.
        device: where to compute, as in `torch.device`.
    """

    def __init__(self, model: FCN, card: Card, *, device: str = "cpu") -> None:
        """Move the model there and set it to evaluation."""
        self.device = torch.device(device)
        self.model = model.eval().to(self.device)
        self.card = card
        self._prepare = ImagePreparation(card.base_scale, MS_RATIOS if card.inference.ms_flip else (1.0,))

    def using(self, *, tta: str, precision: str, device: str) -> "Predictor":
        """Return the same network with other test-time settings."""
        inference = replace(self.card.inference, tta=tta, precision=precision)
        return Predictor(self.model, replace(self.card, inference=inference), device=device)

    def predict(self, image: str | Path | UInt8) -> UInt8:
        """Label one image.

        Args:
            image: a file, or (H, W, 3) RGB uint8.

        Returns:
            (H, W) uint8 classes, at the image's own size.

        Raises:
            InputError: the file is missing or no image, or the array has another shape or type.
        """
        label_map: UInt8 = self.scores(image).argmax(1)[0].to(torch.uint8).cpu().numpy()
        return label_map

    @torch.inference_mode()
    def scores(self, image: str | Path | UInt8) -> Tensor:
        """Score every pixel of one image.

        Args:
            image: a file, or (H, W, 3) RGB uint8.

        Returns:
            (1, K, H, W) float32: logits, or for ms+flip mean probabilities.

        Raises:
            InputError: as of `predict`.
        """
        if isinstance(image, str | Path):
            image = read_image(Path(image))
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            given = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise InputError(f"a {given} cannot be labelled; give a file, or an array (height, width, 3) of RGB uint8")
        images = [normalized(torch.from_numpy(scaled)[None].to(self.device)) for scaled in self._prepare(image)]
        return predict_scores(self.model, images, (image.shape[0], image.shape[1]), self.card.inference)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
