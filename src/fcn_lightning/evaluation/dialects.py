"""What other projects would call the same predictions: their mIoU, from this project's counts."""

from dataclasses import dataclass

from torch import Tensor

from fcn_lightning.evaluation.scores import scores

REASONS = {
    "mmsegmentation": "the reference and this project's mIoU: counts summed over the data set, absent classes left out",
    "torchvision": "same counts, plain mean: an absent class gives NaN; its resized labels and padded batches are not redone",
    "PaddleSeg": "same counts; an absent class is 0 in the mean",
    "Ultralytics": "same counts; mean over classes in the masks (before PR 24806 as PaddleSeg); its network size is not redone",
    "torchmetrics macro Jaccard": "same counts; absent classes left out (before 1.0 an absent class was 0)",
    "micro Jaccard": "one IoU over the pixels of all classes together; large classes decide",
    "per-image mean": "each image's own mIoU first, without the classes absent from it, then the mean over images",
}


@dataclass(frozen=True)
class Dialect:
    """One way of counting.

    Args:
        name: of the project or the average, as in the field.
        miou: fraction in [0, 1], or NaN where that project prints NaN.
        reason: one line: how it counts, and what cannot be redone from finished label maps.
    """

    name: str
    miou: float
    reason: str


def dialects(confmat: Tensor, image_miou: float) -> tuple[Dialect, ...]:
    """Translate one evaluation.

    Args:
        confmat: (K, K) int64, rows true classes, columns predictions, summed over the data set.
        image_miou: mean over images of each image's own mIoU, from `Counts.image_miou`.

    Returns:
        One per way of counting, the reference first. An absent class is one in no mask and no prediction.

    Source: mmsegmentation 1.x `IoUMetric`; pytorch/vision `references/segmentation/utils.py`; PaddleSeg 2.8
    `utils/metrics.py`; ultralytics 8.4.190 `SemanticMetrics`; torchmetrics 1.9 `MulticlassJaccardIndex`.
    """
    result = scores(confmat)
    absent_is_zero = result.iou.nan_to_num(0)
    labelled = confmat.sum(1) > 0
    right, pixels = confmat.diagonal().sum().item(), confmat.sum().item()
    values = {
        "mmsegmentation": result.miou,
        "torchvision": result.iou.mean().item(),
        "PaddleSeg": absent_is_zero.mean().item(),
        "Ultralytics": result.iou[labelled].mean().nan_to_num(0).item(),
        "torchmetrics macro Jaccard": result.miou,
        "micro Jaccard": right / (2 * pixels - right) if pixels else 0.0,
        "per-image mean": image_miou,
    }
    return tuple(Dialect(name, miou, REASONS[name]) for name, miou in values.items())
