"""From samples to batches to what a network reads. Pixels stay uint8 until they are on the device: a quarter of the bytes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from fcn_lightning.data.steps import MEAN, STD


def collate_train(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack training samples; their sizes stay numbers, so that a GPU need not be asked for them."""
    batch: dict[str, Any] = default_collate([{key: sample[key] for key in ("image", "mask", "index")} for sample in samples])
    return {**batch, "sizes": [sample["size"] for sample in samples]}


def collate_val(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make a batch of one sample; a mask has the size of its image, so several could not be stacked."""
    (sample,) = samples
    return {**sample, "images": [image[None] for image in sample["images"]]}


def train_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """Turn a collated batch, on its device, into {"image": (B, 3, h, w) float32, "mask": (B, h, w) int64, "index": (B,)}."""
    image = normalized(batch["image"])
    for number, (height, width) in enumerate(batch["sizes"]):
        # Padding comes after normalisation in the reference: the border has the mean colour.
        image[number, :, height:] = 0
        image[number, :, :, width:] = 0
    return {"image": image, "mask": batch["mask"].long(), "index": batch["index"]}


def val_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """Turn a collated sample, on its device, into {"images": one (1, 3, h, w) float32 per scale, "mask", "index"}."""
    return {**batch, "images": [normalized(image) for image in batch["images"]]}


def normalized(images: Tensor) -> Tensor:
    """Subtract the mean and divide by the standard deviation, in float32 as the reference does.

    Args:
        images: (B, h, w, 3) RGB uint8.

    Returns:
        (B, 3, h, w) float32, contiguous.

    Source: open-mmlab/mmsegmentation, `SegDataPreProcessor` of release 1.2.
    """
    mean, std = (torch.tensor(values, dtype=torch.float32, device=images.device).view(3, 1, 1) for values in (MEAN, STD))
    # Channels first while the values are bytes: the strided copy is the slow part.
    return images.permute(0, 3, 1, 2).contiguous().float().sub_(mean).div_(std)
