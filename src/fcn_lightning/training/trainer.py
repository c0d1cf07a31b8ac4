"""Lightning's trainer, built for this machine's devices and this process's place among the ranks."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from fcn_lightning import InputError
from fcn_lightning.data.datamodule import available_cores
from fcn_lightning.training.device import accelerator, amp_plugin, training_precision
from fcn_lightning.training.launch import Launch
from fcn_lightning.training.strategy import RankStrategy, devices, environment

NEVER = 10**12  # batches: Lightning's own count does not decide when to validate


@dataclass(frozen=True)
class Hardware:
    """Where and how a command computes: the group `trainer`.

    Args:
        accelerator: "auto", "cpu" or "cuda".
        devices: of this machine that work together, each with a process of its own; "auto": all GPUs, or as many processes as
            torchrun or SLURM started.
        accumulate: parts of a step's batch that each device computes one after the other.
        precision: of training steps: "auto", "32-true", "bf16-mixed" or "16-mixed".
        loss_scale: of 16-mixed; None lets PyTorch adapt it.
        log_interval: steps between log lines.
        timeout: seconds that a process waits for the others in an exchange.
    """

    accelerator: str
    devices: int | str
    accumulate: int
    precision: str
    loss_scale: float | None
    log_interval: int
    timeout: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.accumulate < 1 or self.log_interval < 1 or self.timeout <= 0:
            raise InputError(
                f"trainer.accumulate={self.accumulate} and trainer.log_interval={self.log_interval} must be at least 1, "
                f"trainer.timeout={self.timeout} above 0"
            )

    def resolved_precision(self) -> str:
        """Return the precision, `auto` decided by what this machine is faster with."""
        return training_precision(self.precision, accelerator(self.accelerator))

    def processes(self, here: Launch) -> int:
        """Return the processes on this machine that will work together."""
        return devices(self.devices, accelerator(self.accelerator), here)

    def trainer(
        self,
        here: Launch,
        folder: Path,
        command: Sequence[str],
        *,
        callbacks: list[pl.Callback],
        loggers: list[Logger],
        max_steps: int,
    ) -> pl.Trainer:
        """Build the trainer.

        Args:
            here: place of this process.
            folder: of the run.
            command: of a further rank of this machine.
            callbacks: in the order in which they are called.
            loggers: trackers, on rank 0.
            max_steps: optimiser steps; -1 to validate only.
        """
        chosen, processes = accelerator(self.accelerator), self.processes(here)
        precision = self.resolved_precision()
        amp = amp_plugin(precision, self.loss_scale, chosen)
        together = processes * here.nodes > 1
        if processes > 1 and chosen == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, available_cores() // processes))
        return pl.Trainer(
            accelerator=chosen,
            devices=processes,
            num_nodes=here.nodes,
            strategy=RankStrategy(command, folder, self.timeout) if together else "auto",
            sync_batchnorm=together and chosen != "cpu",  # PyTorch has it for GPUs only
            precision=None if amp else precision,  # type: ignore[arg-type]  # Lightning checks the string
            plugins=[environment(here), *([amp] if amp else [])],
            accumulate_grad_batches=self.accumulate,
            max_steps=max_steps,
            max_epochs=-1,
            val_check_interval=NEVER,
            check_val_every_n_epoch=None,
            logger=loggers,
            callbacks=callbacks,
            default_root_dir=folder,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the streams of samples are rank-aware themselves
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
