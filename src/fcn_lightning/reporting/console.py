"""Text for people: the table after a validation, the progress line, what to change where training waits for data."""

import logging
import math
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from tqdm import tqdm

from fcn_lightning.data.datamodule import SegmentationDataModule, available_cores, default_workers
from fcn_lightning.evaluation.dialects import Dialect
from fcn_lightning.evaluation.scores import Scores
from fcn_lightning.training.task import SegmentationTask

log = logging.getLogger(__name__)

LINE_EVERY = 30  # seconds between lines of an evaluation
WAITING = 0.1  # share of the time from which on waiting for data is worth a remark

# Lightning's remarks on what this package decides for it; its other warnings stay.
QUIET_WARNINGS = (
    "Experiment logs directory .* exists and is not empty",  # a run folder holds the configuration before the log
    "The number of training batches .* is smaller than the logging interval",  # TrainingLog has an interval of its own
    ".*does not have many workers",  # the cores at hand decide
    ".*LeafSpec.* is deprecated",  # inside Lightning
    "It is recommended to use .*sync_dist=True",  # the scores are those of all processes already
    "torch.distributed.nn.functional.all_gather is deprecated",  # inside Lightning
)


def quiet_lightning() -> None:
    """Silence Lightning's banners and the warnings above."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in QUIET_WARNINGS:
        warnings.filterwarnings("ignore", message)


def score_table(result: Scores, classes: tuple[str, ...]) -> str:
    """Lay out per-class IoU and accuracy in percent, then the summary; a class that never occurs shows a dash."""
    width = max(len("class"), *(len(name) for name in classes))
    lines = [f"{'class':<{width}}     IoU     Acc"]
    for name, iou, acc in zip(classes, result.iou.tolist(), result.acc.tolist(), strict=True):
        lines.append(f"{name:<{width}}  {_percent(iou)}  {_percent(acc)}")
    mean = f"{'mean':<{width}}  {_percent(result.miou)}  {_percent(result.macc)}"
    lines.append(f"{mean}   all pixels {_percent(result.aacc).strip()}")
    return "\n".join(lines)


def dialect_table(dialects: Sequence[Dialect]) -> str:
    """Lay out what others would call the same predictions: name, mIoU in percent, reason; NaN as their scripts print it."""
    width = max(len("counted as in"), *(len(dialect.name) for dialect in dialects))
    lines = [f"{'counted as in':<{width}}    mIoU  why"]
    lines += [f"{dialect.name:<{width}}  {100 * dialect.miou:6.2f}  {dialect.reason}" for dialect in dialects]
    return "\n".join(lines)


def _percent(fraction: float) -> str:
    return "     -" if math.isnan(fraction) else f"{100 * fraction:6.2f}"


class ScoreTable(Callback):
    """Show the table after each validation."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the table."""
        if isinstance(pl_module, SegmentationTask) and pl_module.scores is not None:
            title = f"validation at step {trainer.global_step}" if trainer.state.fn == TrainerFn.FITTING else "validation"
            log.info("%s\n%s", title, score_table(pl_module.scores, pl_module.card.labels.classes))


class Progress(Callback):
    """One progress bar on a terminal, plain lines elsewhere: a callback, and a listener of `TrainingLog`.

    Args:
        max_steps: of the whole run.
    """

    def __init__(self, max_steps: int) -> None:
        """Show nothing yet."""
        self.bar: tqdm | None = None
        self.max_steps = max_steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the bar, below what was printed before."""
        if sys.stderr.isatty():
            self.bar = tqdm(total=self.max_steps, initial=trainer.global_step, unit="step", dynamic_ncols=True)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update(trainer.global_step - self.bar.n)

    def __call__(self, step: int, entry: dict[str, float]) -> None:
        """Show where training stands.

        Args:
            step: steps done.
            entry: of the training log.
        """
        text = f"loss {entry['loss']:.3f}  lr {entry['lr']:.5f}  {entry['time']:.2f} s/step  data {100 * entry['data_share']:.0f} %"
        if self.bar is not None:
            self.bar.set_postfix_str(text)
        else:
            log.info("step %d/%d  %s  ETA %s", step, self.max_steps, text, _clock((self.max_steps - step) * entry["time"]))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar's line."""
        if self.bar is not None:
            self.bar.close()


class DataAdvice:
    """Say once what to change where training waits for data: a listener of `TrainingLog`.

    The first entry is passed over, because the loader processes start up in it.

    Args:
        advice: what can be changed.
    """

    def __init__(self, advice: str) -> None:
        """Nothing has been heard yet."""
        self.advice = advice
        self._heard = False
        self._said = False

    def __call__(self, step: int, entry: dict[str, float]) -> None:
        """Look at the share of an entry.

        Args:
            step: steps done.
            entry: of the training log.
        """
        if self._heard and not self._said and entry["data_share"] > WAITING:
            log.info("%.0f %% of the time is spent waiting for data: %s", 100 * entry["data_share"], self.advice)
            self._said = True
        self._heard = True


def data_advice(datamodule: SegmentationDataModule) -> str:
    """Say what makes the data come faster, of what is not done yet."""
    cores, workers = available_cores(), datamodule.workers
    more = min(2 * workers or default_workers(), cores)
    ways = [f"dataset.workers={more} (now {workers})"] if more > workers else []
    if datamodule.root and datamodule.cache == "none":  # drawn images are not decoded
        ways.append("dataset.cache=ram or disk, so that each file is decoded once")
    if ways:
        return f"set {', or '.join(ways)}"
    return f"all {cores} cores load data already; take a machine with more of them, or store the images smaller"


def loader_line(workers: int, rate: float) -> str:
    """Say how fast samples come.

    Args:
        workers: loader processes; 0 where the training process makes the samples between its steps.
        rate: samples per second that one process makes.
    """
    total = max(workers, 1) * rate
    speed = f"about {total:.{0 if total >= 10 else 1}f} crops/s"
    if not workers:
        return f"no process of its own, {speed} between the steps"
    return f"{workers} process{'es' if workers > 1 else ''}, {speed}"


class EvaluationProgress(Callback):
    """Show how far an evaluation is: a bar on a terminal, a line now and then elsewhere.

    Args:
        images: to be evaluated, by this process.
    """

    def __init__(self, images: int) -> None:
        """Show nothing yet."""
        self.images = images
        self.bar: tqdm | None = None
        self._start = self._last = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and the bar."""
        self._start = self._last = time.perf_counter()
        if sys.stderr.isatty():
            self.bar = tqdm(total=self.images, unit="image", dynamic_ncols=True)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Move the bar, or write a line if the last one is some time ago."""
        done, now = batch_idx + 1, time.perf_counter()
        if self.bar is not None:
            self.bar.update()
        elif now - self._last >= LINE_EVERY:
            each = (now - self._start) / done
            log.info("%d of %d images  %.2f s/image  ETA %s", done, self.images, each, _clock((self.images - done) * each))
            self._last = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar's line."""
        if self.bar is not None:
            self.bar.close()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
