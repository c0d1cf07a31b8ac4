"""A callback that keeps a run folder's pictures up to date: curves, bars, confusion matrix, sample panels."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from fcn_lightning.data.dataset import SegmentationDataset
from fcn_lightning.data.images import write_png
from fcn_lightning.reporting import figures
from fcn_lightning.reporting.loggers import log_images
from fcn_lightning.reporting.panels import panel
from fcn_lightning.training.task import SegmentationTask
from fcn_lightning.zoo.logs import TrainingCurve


class RunPlots(pl.Callback):
    """Draw after each validation.

    Args:
        folder: the run's.
        dataset: of validation, to read the original images from.
        published: log of a published run, drawn under the curves; these are then redrawn after each validation, too.
        panels: how many samples to show, spread evenly over the data set: the same ones every time.
    """

    def __init__(
        self, folder: Path, dataset: SegmentationDataset, published: TrainingCurve | None = None, *, panels: int = 8
    ) -> None:
        """Choose the samples."""
        self.folder = folder
        self.dataset = dataset
        self.published = published
        step = -(-len(dataset) // panels)  # rounded up
        self.shown = set(range(0, len(dataset), step))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor | Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the panel of a chosen sample: each process those of its own images."""
        if batch["index"] in self.shown and isinstance(pl_module, SegmentationTask):
            image, mask = self.dataset[batch["index"]]
            pred = outputs.to(batch["mask"].dtype).cpu().numpy()
            write_png(self._panel(batch["index"]), panel(image, mask, pred, pl_module.card.labels.palette))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write all other pictures; the tracker gets the panels of all processes, which have met by now."""
        if not isinstance(pl_module, SegmentationTask) or pl_module.scores is None or pl_module.confmat is None:
            return
        if not trainer.is_global_zero:
            return
        classes = pl_module.card.labels.classes
        figures.class_bars(pl_module.scores, classes, self.folder / "plots" / "classes.png")
        figures.confusion(pl_module.confmat, classes, self.folder / "plots" / "confusion.png")
        panels = [str(path) for index in sorted(self.shown) if (path := self._panel(index)).is_file()]
        log_images(trainer.loggers, "samples", panels, trainer.global_step)
        if self.published is not None:
            for logger in trainer.loggers:
                logger.save()  # metrics.csv lags behind otherwise
            self._draw_curves()
            log_images(trainer.loggers, "curves", [str(self._curves)], trainer.global_step)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the curves of the whole run."""
        if trainer.is_global_zero:
            self._draw_curves()

    def _panel(self, index: int) -> Path:
        return self.folder / "samples" / f"{index:05d}.png"

    @property
    def _curves(self) -> Path:
        return self.folder / "plots" / "curves.png"

    def _draw_curves(self) -> None:
        figures.curves(self.folder / "metrics.csv", self._curves, self.published)
