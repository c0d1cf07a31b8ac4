"""Which checkpoints a run has, under which names, and going on from one of them."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from fcn_lightning.models import safe_weights
from fcn_lightning.training import checkpoint
from fcn_lightning.training.callbacks import Validation, is_step_end
from fcn_lightning.training.guards import FiniteGuard
from fcn_lightning.training.task import SegmentationTask

SPARE = 2  # newest files that stay: if the last one is damaged, there is the one before


class CheckpointKeeper(pl.Callback):
    """Keep the weights that were validated, and now and then those in between.

    A file is named by its step, and by its mIoU if it was validated; `last.ckpt` and `best.ckpt` are second names of two of
    them. Best is judged by the validation of exactly those weights; `best.safetensors` holds them for other tools. The newest
    two and the best stay.

    All ranks have one, since they look at the weights together; rank 0 writes.

    Args:
        folder: where the files go.
        guard: looks at the weights before they are saved.
        row: id of the published row that the run follows, for the card; None without one.
        interval: steps between saves, beside those at validations; 0 for none.
        keep_validated: the checkpoint of each validation stays.
    """

    def __init__(
        self,
        folder: Path,
        guard: FiniteGuard,
        row: str | None = None,
        *,
        interval: int,
        keep_validated: bool,
    ) -> None:
        """Nothing has been saved yet."""
        self.folder = folder
        self.guard = guard
        self.row = row
        self.interval = interval
        self.keep_validated = keep_validated
        self.best: dict[str, float] | None = None
        self.validated_step = 0
        self._saved_step = -1  # by this run; files of later steps may be left from before it was continued

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save between validations."""
        if self.interval and is_step_end(trainer, batch_idx) and trainer.global_step % self.interval == 0:
            self.guard.check(trainer)
            self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the weights that were just validated; they were looked at before."""
        if not isinstance(pl_module, SegmentationTask) or pl_module.scores is None or trainer.state.fn != TrainerFn.FITTING:
            return
        step, miou = trainer.global_step, pl_module.scores.miou
        self.validated_step = step
        is_best = self.best is None or miou > self.best["mIoU"]
        if is_best:
            self.best = {"step": step, "mIoU": miou}
        if not trainer.is_global_zero:
            return
        if is_best:
            self._write_weights(pl_module, step)  # before the checkpoint, after which this validation is not done again
        path = self._save(trainer, self.folder / f"step_{step:06d}_mIoU_{miou:.4f}.ckpt")
        if is_best:
            checkpoint.link(path, self.folder / "best.ckpt")
        self._drop()

    def save(self, trainer: pl.Trainer) -> None:
        """Save the weights as they are after the steps done, unless this step's are saved already; on rank 0.

        The guard has to have looked at them.
        """
        if not trainer.is_global_zero:
            return
        if self._saved_step != trainer.global_step:
            self._save(trainer, self.folder / f"step_{trainer.global_step:06d}.ckpt")
            self._drop()

    def resume(self, trainer: pl.Trainer, run: dict[str, Any]) -> None:
        """Go on from what a checkpoint says, with its best one under that name: a kill may have come in between."""
        self.best = run["best"]
        self.validated_step = int(run["validated_step"])
        self._saved_step = trainer.global_step
        self.guard.load_state_dict(run["guard"])
        if self.best and trainer.is_global_zero:
            for path in checkpoint.by_step(self.folder):
                if checkpoint.step_of(path) == self.best["step"] and "_mIoU_" in path.name:
                    checkpoint.link(path, self.folder / "best.ckpt")

    def _save(self, trainer: pl.Trainer, path: Path) -> Path:
        run = {"best": self.best, "validated_step": self.validated_step, "guard": self.guard.state_dict()}
        checkpoint.write(checkpoint.snapshot(trainer, run), path)
        checkpoint.link(path, self.folder / "last.ckpt")
        self._saved_step = trainer.global_step
        return path

    def _write_weights(self, task: SegmentationTask, step: int) -> None:
        """Write the best weights for others: as safetensors, with the card and the figures of their validation."""
        path, scores = self.folder / f"best{safe_weights.SUFFIX}", task.scores
        figures = {"step": step, "mIoU": scores.miou, "mAcc": scores.macc, "aAcc": scores.aacc} if scores else {}
        card = task.card.to_dict() | {"row": self.row, "figures": figures}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            safe_weights.write(path, {checkpoint.PREFIX + name: tensor for name, tensor in task.model.state_dict().items()}, card)
        except OSError as error:
            raise checkpoint.not_written(path, error) from error

    def _drop(self) -> None:
        """Remove what neither is among the newest nor the best; a step that was also saved before its validation, too."""
        files = checkpoint.by_step(self.folder)
        best = int(self.best["step"]) if self.best else -1
        newest = sorted({checkpoint.step_of(path) for path in files})[-SPARE:]
        for path in files:
            step, validated = checkpoint.step_of(path), "_mIoU_" in path.name
            superseded = not validated and any(checkpoint.step_of(other) == step and "_mIoU_" in other.name for other in files)
            stays = step in newest or (validated and (step == best or self.keep_validated))
            if superseded or not stays:
                path.unlink()


class Resumption(pl.Callback):
    """Go on where a checkpoint was saved; rank 0 says which one, and all ranks read it.

    Args:
        validation: runs at once where the checkpoint's step was due to be validated, and was not.
        keeper: learns which validation was the best.
        path: the checkpoint, on rank 0; None to start anew, and on other ranks.
        content: of it, read already.
    """

    def __init__(
        self, validation: Validation, keeper: CheckpointKeeper, path: Path | None = None, content: dict[str, Any] | None = None
    ) -> None:
        """Keep what rank 0 found."""
        self.validation = validation
        self.keeper = keeper
        self.path = path
        self.content = content

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore, after the optimiser was made and before the first batch is asked for."""
        path = trainer.strategy.broadcast(str(self.path) if self.path else "")
        if not path:
            return
        content = self.content or checkpoint.read(Path(path))
        self.content = None  # as large as the network and its optimiser
        checkpoint.restore(trainer, content)
        self.keeper.resume(trainer, content[checkpoint.RUN])
        step = trainer.global_step
        finished = step == self.validation.schedule.max_steps  # all but the report may be done: that needs the scores
        if self.validation.is_due(step) and (finished or self.keeper.validated_step < step):
            self.validation.run(trainer)
