"""Counts of every single image by class: what a bootstrap over images resamples."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


@dataclass(frozen=True)
class Counts:
    """Pixels of N images by class, in the order of the images' indices; ignored pixels are in none of them.

    Args:
        index: (N,) int64, each image's index in its data set, ascending.
        intersect: (N, K) int64, pixels that are of the class and predicted as it.
        pred: (N, K) int64, pixels that are predicted as the class.
        true: (N, K) int64, pixels that are of the class.
    """

    index: Tensor
    intersect: Tensor
    pred: Tensor
    true: Tensor

    def image_miou(self) -> float:
        """Return the mean over images of each image's own mIoU, in [0, 1]; NaN where no image has a labelled pixel.

        Classes in neither the mask nor the prediction of an image are left out of its mIoU, images without labelled
        pixels out of the mean.
        """
        union = self.pred + self.true - self.intersect
        return (self.intersect.double() / union).nanmean(1).nanmean().item()


class ImageCounts(Metric):
    """Keeps three numbers per image and class, and the image's index.

    `ConfusionMatrix` has the sum over the data set, from which single images cannot be had back. Read `counts()`.

    Args:
        num_classes: K.
        ignore_index: mask value that is left out.
    """

    full_state_update = False
    rows: list[Tensor]

    def __init__(self, num_classes: int, *, ignore_index: int = 255) -> None:
        """Start without images."""
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        # A process without images must hand over rows of this width and type too, or the others wait for it in vain.
        self.rows = [torch.zeros(0, 1 + 3 * self.num_classes, dtype=torch.int64, device=self.device)]

    def update(self, pred: Tensor, mask: Tensor, index: int) -> None:
        """Count one image.

        Args:
            pred: predicted classes, 0 to K - 1; (H, W).
            mask: true classes, (H, W), 0 to K - 1 or the ignore index. Ranges are not checked: `ConfusionMatrix` does.
            index: of the image in the data set.
        """
        classes = self.num_classes
        # Ignored pixels go to one extra row that is cut off: cheaper than selecting the others.
        cell = torch.where(mask == self.ignore_index, classes, mask.long()) * classes + pred
        table = torch.bincount(cell.flatten(), minlength=(classes + 1) * classes).view(-1, classes)[:classes]
        number = torch.tensor([index], device=table.device)
        self.rows.append(torch.cat([number, table.diagonal(), table.sum(0), table.sum(1)])[None])

    def compute(self) -> Tensor:
        """Return the images of all processes, (N, 1 + 3 K) int64 by ascending index: index, intersect, predicted, true.

        A plain table, because torchmetrics reshapes what is returned here; `counts` names its parts.

        Raises:
            ValueError: an image was counted twice.
        """
        rows = dim_zero_cat(self.rows)
        rows = rows[rows[:, 0].argsort()]
        again = rows[1:, 0] == rows[:-1, 0]
        if again.any():
            raise ValueError(f"image {int(rows[1:, 0][again][0])} was counted twice")
        return rows

    def counts(self) -> Counts:
        """Return the images of all processes, on the CPU; the same in each process, and every one of them must call this."""
        rows = self.compute().cpu()
        intersect, pred, true = rows[:, 1:].view(len(rows), 3, self.num_classes).unbind(1)
        return Counts(rows[:, 0], intersect, pred, true)
