"""The confusion matrix as a torchmetrics metric: one int64 matrix, summed over the data set and over processes."""

import torch
from torch import Tensor
from torchmetrics import Metric


class ConfusionMatrix(Metric):
    """Counts of pixels by true class (rows) and predicted class (columns).

    torchmetrics' own matrix exhausts memory in deterministic mode and is several times slower; this one
    is a single `bincount`. Read scores off it with `scores.py`.

    Args:
        num_classes: K.
        ignore_index: mask value that is left out.
    """

    full_state_update = False
    confmat: Tensor

    def __init__(self, num_classes: int, *, ignore_index: int = 255) -> None:
        """Start from zero."""
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.add_state("confmat", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, mask: Tensor) -> None:
        """Count one label map, or a batch of them.

        Args:
            pred: predicted classes, 0 to K - 1; of any shape.
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
        self.confmat += torch.bincount(cell.flatten(), minlength=(classes + 1) * classes).view(-1, classes)[:classes]

    def compute(self) -> Tensor:
        """Return the matrix, (K, K) int64."""
        return self.confmat
