"""Cross-entropy and accuracy as the published runs counted them: over all pixels, ignored ones included."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn_lightning.models.upsample import upsample


@dataclass(frozen=True)
class LossWeights:
    """What the parts of the training loss count.

    Args:
        aux_weight: of the auxiliary head's loss; the decode head's counts 1.
        class_weight: of each class's pixels, in both; None for 1.
    """

    aux_weight: float
    class_weight: Sequence[float] | None = None


class PixelCrossEntropy(nn.Module):
    """Cross-entropy of low-resolution logits against a full-size mask, averaged over all pixels.

    Ignored pixels (and padding) add nothing to the sum but count in the number it is divided by, unlike
    PyTorch's mean; a crop with only ignored pixels gives 0, not NaN.

    Args:
        align_corners: of the resizing of the logits.
        class_weight: factor of each class's pixels in the sum; None for 1. The number it is divided by stays.
        ignore_index: mask value that is left out of the sum.

    Source: open-mmlab/mmsegmentation, `CrossEntropyLoss` and `accuracy` of release 0.11.
    """

    class_weight: Tensor | None

    def __init__(self, *, align_corners: bool, class_weight: Sequence[float] | None = None, ignore_index: int = 255) -> None:
        """Keep the settings; there are no parameters."""
        super().__init__()
        weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer("class_weight", weight, persistent=False)
        self.align_corners = align_corners
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the training accuracy.

        Args:
            logits: (B, K, h, w).
            mask: (B, H, W) int64, 0 to K - 1 or the ignore index.

        Returns:
            The loss, and `acc_seg`: right pixels over ALL pixels, in [0, 1], without gradient.
        """
        full = upsample(logits, (mask.shape[-2], mask.shape[-1]), align_corners=self.align_corners)  # (B, K, H, W)
        if full.dtype.itemsize < 4:  # same size, so not resized: half precision cannot carry the sum
            full = full.float()
        weight = None if self.class_weight is None else self.class_weight.to(full.dtype)
        if full.is_cuda and torch.are_deterministic_algorithms_enabled():
            total = repeatable_cross_entropy(full, mask, weight, ignore_index=self.ignore_index)
        else:
            total = F.cross_entropy(full, mask, weight, ignore_index=self.ignore_index, reduction="sum")
        loss = total / mask.numel()
        with torch.no_grad():
            acc_seg = (full.argmax(1) == mask).sum() / mask.numel()
        return loss, acc_seg


def repeatable_cross_entropy(logits: Tensor, mask: Tensor, weight: Tensor | None, *, ignore_index: int) -> Tensor:
    """Return the cross-entropy summed over all pixels, with the same bits each time on a GPU too.

    PyTorch's kernel for the sum adds up in an order that changes, and refuses to run where that is not allowed; its kernel
    for single pixels adds nothing up, and `sum` has a fixed order. It takes memory for one number per pixel more.

    Args:
        logits: (B, K, H, W).
        mask: (B, H, W) int64, 0 to K - 1 or the ignore index.
        weight: (K,), or None for 1.
        ignore_index: mask value that adds nothing.

    Source: pytorch/pytorch, aten/src/ATen/native/cuda/NLLLoss2d.cu.
    """
    return F.cross_entropy(logits, mask, weight, ignore_index=ignore_index, reduction="none").sum()
