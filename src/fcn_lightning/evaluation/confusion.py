"""The confusion matrix as a torchmetrics metric: one int64 matrix, summed over the data set and over processes."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric


class ConfusionMatrix(Metric):
    """Counts of pixels by true class (rows) and predicted class (columns).

    torchmetrics' own matrix exhausts memory in deterministic mode and is several times slower; this one
    is a single `bincount`. Read scores off it with `scores.py`.

    Averages over images cannot be had from the sum over the data set, so each image's own mIoU is added up beside it.

    Args:
        num_classes: K.
        ignore_index: mask value that is left out.
    """

    full_state_update = False
    confmat: Tensor
    image_miou_sum: Tensor
    images: Tensor

    def __init__(self, num_classes: int, *, ignore_index: int = 255) -> None:
        """Start from zero."""
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.add_state("confmat", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("image_miou_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, mask: Tensor) -> None:
        """Count one label map, or a batch of them.

        Args:
            pred: predicted classes, 0 to K - 1; (H, W) or the (N,) pixels of one image, or (B, H, W) for B images.
            mask: true classes, same shape, 0 to K - 1 or the ignore index.

        Raises:
            ValueError: a value is out of range.
        """
        classes = self.num_classes
        true = mask.long()
        stray = ((true < 0) | (true >= classes)) & (true != self.ignore_index)
        if stray.any():
            raise ValueError(f"label {int(true[stray][0])} is out of range for {classes} classes (ignored is {self.ignore_index})")
        if pred.shape != mask.shape or bool(((pred < 0) | (pred >= classes)).any()):
            raise ValueError(f"the prediction {tuple(pred.shape)} does not fit the mask {tuple(mask.shape)} and {classes} classes")
        # Ignored pixels go to one extra row that is cut off: cheaper than selecting the others.
        cell = torch.where(true == self.ignore_index, classes, true) * classes + pred.long()
        counts = _count(cell, (classes + 1, classes))[:, :classes]
        self.confmat += counts.sum(0)
        mious = _mean_ious(counts)
        self.image_miou_sum += mious.nansum()
        self.images += (~mious.isnan()).sum()

    def compute(self) -> Tensor:
        """Return the matrix, (K, K) int64."""
        return self.confmat

    def image_miou(self) -> float:
        """Return the mean over images of each image's own mIoU, in [0, 1]; NaN where no image has a labelled pixel.

        Classes in neither the mask nor the prediction of an image are left out of its mIoU, images without labelled
        pixels out of the mean. Over several processes every one of them must call this.
        """
        # After compute() each process has only its own counts back, so the sums are gathered again unless they still are.
        local = not self._is_synced
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=local, should_unsync=local):
            return (self.image_miou_sum / self.images).item()


def _count(cell: Tensor, shape: tuple[int, int]) -> Tensor:
    """Count how often each cell of a table occurs in each image, (B, *shape) int64."""
    images, size = math.prod(cell.shape[:-2]), math.prod(shape)
    first = torch.arange(images, device=cell.device) * size  # every image has a table of its own
    cell = cell.reshape(images, -1) + first[:, None]
    return torch.bincount(cell.flatten(), minlength=images * size).view(images, *shape)


def _mean_ious(counts: Tensor) -> Tensor:
    """Map (B, K, K) to (B,) float64, each image's mIoU; NaN for an image without labelled pixels."""
    table = counts.to(torch.float64)
    intersect = table.diagonal(dim1=1, dim2=2)
    return (intersect / (table.sum(1) + table.sum(2) - intersect)).nanmean(1)
