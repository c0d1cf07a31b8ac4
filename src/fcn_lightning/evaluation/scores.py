"""IoU and accuracies from a confusion matrix: pure functions on counts."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scores:
    """What is reported of a data set, as fractions in [0, 1].

    Args:
        iou: (K,) float64; NaN for a class in no mask and no prediction.
        acc: (K,) float64; NaN for a class in no mask.
        miou: mean of `iou` without NaN.
        macc: mean of `acc` without NaN.
        aacc: share of labelled pixels that are right.
    """

    iou: Tensor
    acc: Tensor
    miou: float
    macc: float
    aacc: float

    def __str__(self) -> str:
        """Return the line that runs end with."""
        return f"mIoU {self.miou:.3f} mAcc {self.macc:.3f} aAcc {self.aacc:.3f}"


def scores(confmat: Tensor) -> Scores:
    """Compute scores from counts that were summed over the whole data set first.

    Args:
        confmat: (K, K) int64, rows true classes, columns predictions.

    Source: open-mmlab/mmsegmentation, `mean_iou` of release 0.11.
    """
    counts = confmat.to(torch.float64)  # exact: a data set has far fewer than 2**53 pixels
    intersect = counts.diagonal()
    true_area, pred_area = counts.sum(1), counts.sum(0)
    iou = intersect / (true_area + pred_area - intersect)  # 0 / 0 gives the NaN of an absent class
    acc = intersect / true_area
    aacc = intersect.sum() / true_area.sum()
    return Scores(iou, acc, iou.nanmean().item(), acc.nanmean().item(), aacc.item())
