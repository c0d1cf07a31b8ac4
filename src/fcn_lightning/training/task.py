"""`SegmentationTask`: the LightningModule. It connects network, loss, schedule, inference and metric, and owns none of them."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, distributed
from torchmetrics import MeanMetric

from fcn_lightning.evaluation.confusion import ConfusionMatrix
from fcn_lightning.evaluation.dialects import Dialect, dialects
from fcn_lightning.evaluation.image_counts import Counts, ImageCounts
from fcn_lightning.evaluation.inference import log_scores, predict_scores
from fcn_lightning.evaluation.predictor import Card
from fcn_lightning.evaluation.scores import Scores, scores
from fcn_lightning.models.fcn import FCN
from fcn_lightning.training.checkpoint import CARD
from fcn_lightning.training.losses import LossWeights, PixelCrossEntropy
from fcn_lightning.training.optimizers import SGD, AdamW
from fcn_lightning.training.schedules import PolySchedule, poly_lr


class SegmentationTask(pl.LightningModule):
    """Train and validate an FCN.

    Logs `val/*` after each validation; `training_step` returns what the training log averages.

    Args:
        model: the network.
        card: what its checkpoints say about it; also the test mode of validation.
        schedule: steps and learning rate.
        optimizer: builds the optimiser.
        loss: weights of the loss.
    """

    def __init__(self, model: FCN, card: Card, *, schedule: PolySchedule, optimizer: SGD | AdamW, loss: LossWeights) -> None:
        """Connect the parts."""
        super().__init__()
        self.model = model
        self.card = card
        self.schedule = schedule
        self.optimizer = optimizer
        self.aux_weight = loss.aux_weight
        self.loss = PixelCrossEntropy(align_corners=model.align_corners, class_weight=loss.class_weight)
        self.unweighted_loss = PixelCrossEntropy(align_corners=model.align_corners)  # of validation: the same for any weights
        self.confusion = ConfusionMatrix(len(card.labels.classes))
        self.image_counts = ImageCounts(len(card.labels.classes))
        self.val_loss = MeanMetric()
        self.scores: Scores | None = None
        self.confmat: Tensor | None = None
        self.counts: Counts | None = None
        self.dialects: tuple[Dialect, ...] | None = None

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        """Return the loss to minimise, and its parts.

        Args:
            batch: image (B, 3, h, w) float32, mask (B, h, w) int64.
            batch_index: not used; the stream of samples is endless.

        Returns:
            loss, loss_decode, loss_aux (weighted, so the two sum up), acc_seg and acc_seg_aux in [0, 1].
        """
        logits, aux_logits = self.model.forward_with_aux(batch["image"])
        loss_decode, acc_seg = self.loss(logits, batch["mask"])
        loss_aux, acc_seg_aux = self.loss(aux_logits, batch["mask"])
        loss_aux = self.aux_weight * loss_aux
        return {
            "loss": loss_decode + loss_aux,
            "loss_decode": loss_decode.detach(),
            "loss_aux": loss_aux.detach(),
            "acc_seg": acc_seg,
            "acc_seg_aux": acc_seg_aux,
        }

    def on_validation_start(self) -> None:
        """Give all processes the BatchNorm statistics of rank 0, which are saved: each has its own after a training step."""
        if self.trainer.world_size > 1:
            for buffer in self.model.buffers():
                distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: dict[str, Any], batch_index: int) -> Tensor:
        """Label one image and count it.

        Args:
            batch: images (one (1, 3, h, w) per scale), mask (H, W) at the original size.
            batch_index: not used.

        Returns:
            The label map, (H, W).
        """
        mask: Tensor = batch["mask"].long()
        scored = predict_scores(self.model, batch["images"], (mask.shape[0], mask.shape[1]), self.card.inference)
        pred = scored.argmax(1)[0]
        self.confusion.update(pred, mask)
        self.image_counts.update(pred, mask, batch["index"])
        loss, _ = self.unweighted_loss(log_scores(scored, self.card.inference), mask[None])
        self.val_loss.update(loss)
        return pred

    def on_validation_epoch_end(self) -> None:
        """Compute and log the scores; processes exchange their sums here only, once per validation."""
        self.confmat = self.confusion.compute().cpu()
        self.scores = result = scores(self.confmat)
        self.counts = self.image_counts.counts()
        self.dialects = dialects(self.confmat, self.counts.image_miou())
        metrics = val_metrics(result, self.card.labels.classes) | {"val/loss": self.val_loss.compute().item()}
        self.log_dict(metrics, logger=False, rank_zero_only=True)  # for callbacks
        # To the loggers directly: at the optimiser step, unrounded.
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, step=self.trainer.global_step)
        self.confusion.reset()
        self.image_counts.reset()
        self.val_loss.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser with one parameter group, norms and biases included, and the poly schedule per step."""
        optimizer = self.optimizer.build(self.parameters())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": poly_lr(optimizer, self.schedule), "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what prediction needs."""
        checkpoint[CARD] = self.card.to_dict()


def val_metrics(result: Scores, classes: tuple[str, ...]) -> dict[str, float]:
    """Name the scores as they are logged; fractions in [0, 1]."""
    metrics = {"val/mIoU": result.miou, "val/mAcc": result.macc, "val/aAcc": result.aacc}
    for name, iou, acc in zip(classes, result.iou.tolist(), result.acc.tolist(), strict=True):
        metrics |= {f"val/IoU/{name}": iou, f"val/Acc/{name}": acc}
    return metrics
