"""The share of the time spent waiting for data, against loaders and steps whose times are known."""

import time
from collections.abc import Callable

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from fcn_lightning.training import callbacks, data_wait
from fcn_lightning.training.callbacks import TrainingLog
from fcn_lightning.training.data_wait import DataWait

BATCHES = 12


class Clock:
    """Time that passes where a test says so: exact on any machine, however busy."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


Sleep = Callable[[float], None]


class Samples(Dataset[torch.Tensor]):
    """Samples that take a while to make."""

    def __init__(self, seconds: float, sleep: Sleep) -> None:
        self.seconds = seconds
        self.sleep = sleep

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, index: int) -> torch.Tensor:
        self.sleep(self.seconds)
        return torch.ones(1)


class Task(pl.LightningModule):
    """A step and a validation that take a while."""

    def __init__(self, seconds: float, validation: float, sleep: Sleep) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seconds = seconds
        self.validation = validation
        self.sleep = sleep

    def training_step(self, batch: torch.Tensor, batch_index: int) -> dict[str, torch.Tensor]:
        self.sleep(self.seconds)
        return {"loss": self.layer(batch).mean()}

    def validation_step(self, batch: torch.Tensor, batch_index: int) -> None:
        self.sleep(self.validation)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def entries(data: float, step: float, sleep: Sleep, *, workers: int = 0, others: float = 0.0) -> list[dict[str, float]]:
    """Train with samples and steps of a given length; return what the log hears every four steps.

    Validations and other listeners take time, too.
    """
    heard: list[dict[str, float]] = []
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=BATCHES, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, val_check_interval=3,
        callbacks=[TrainingLog(4, [lambda *_: sleep(others), lambda _, entry: heard.append(entry)])],
    )  # fmt: skip
    train = DataLoader(Samples(data, sleep), num_workers=workers)
    trainer.fit(Task(step, others, sleep), train, DataLoader(Samples(0.0, sleep), num_workers=0, sampler=[0]))
    return heard


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    monkeypatch.setattr(data_wait, "time", clock)
    return clock


@pytest.mark.parametrize(("data", "step", "share"), [(0.05, 0.02, 5 / 7), (0.05, 0.45, 0.1), (0.0, 0.02, 0.0)])
def test_the_share_of_a_loader_of_known_speed(clock: Clock, data: float, step: float, share: float) -> None:
    first, *later = entries(data, step, clock.sleep)
    assert len(later) == 2
    for entry in later:
        assert entry["data_share"] == pytest.approx(share)
        assert entry["data_time"] == pytest.approx(data)
        assert entry["time"] == pytest.approx(data + step)
    assert first["data_time"] == pytest.approx(data * 3 / 4), "loader processes start up in the wait for the first batch"
    assert first["time"] == pytest.approx(data * 3 / 4 + step)


def test_validations_and_listeners_are_no_wait(clock: Clock) -> None:
    first, *later = entries(0.05, 0.15, clock.sleep, others=2.0)
    assert first["time"] == pytest.approx(0.15 + 0.05 * 3 / 4)
    for entry in later:
        assert entry["data_time"] == pytest.approx(0.05)
        assert entry["time"] == pytest.approx(0.2 + 2.0 / 4), "a validation is no part of a step, the listeners' time is"


@pytest.mark.parametrize(("data", "step", "waits"), [(0.15, 0.0, True), (0.0, 0.15, False)])
def test_a_process_of_its_own_makes_samples_during_the_step(data: float, step: float, waits: bool) -> None:
    last = entries(data, step, time.sleep, workers=1)[-1]
    assert (last["data_share"] > 0.5) is waits


class Event:
    """An event of a device that works through a queue, on its own clock in seconds."""

    now = 0.0  # of this process
    busy_until = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.reached = -1.0

    @classmethod
    def work(cls, launch: float, seconds: float) -> None:
        """Queue work, which takes this process a while, and the device longer."""
        cls.busy_until = max(cls.busy_until, cls.now) + seconds
        cls.now += launch

    def record(self, stream: object) -> None:
        self.reached = max(Event.now, Event.busy_until)

    def synchronize(self) -> None:
        Event.now = max(Event.now, self.reached)

    def elapsed_time(self, end: "Event") -> float:
        return 1000 * (end.reached - self.reached)


@pytest.mark.parametrize(("loading", "waits"), [(0.05, 0.0), (0.09, 0.0), (0.25, 0.16)])
def test_a_gpu_that_works_on_meanwhile_does_not_wait(monkeypatch: pytest.MonkeyPatch, loading: float, waits: float) -> None:
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(Event, "now", 0.0)
    monkeypatch.setattr(Event, "busy_until", 0.0)
    wait = DataWait(torch.device("cuda"))
    for _ in range(5):
        wait.end()
        Event.work(launch=0.01, seconds=0.1)
        wait.begin()
        Event.now += loading  # this process waits for the next batch; the device has work meanwhile
    wait.end()
    assert wait.take() == pytest.approx(5 * waits)
    assert wait.take() == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_by_its_own_clock() -> None:
    wait = DataWait(torch.device("cuda"))
    work = torch.ones(4096, 4096, device="cuda")
    for pause in (0.0, 0.2):
        for _ in range(3):
            wait.end()
            for _ in range(10):
                work @ work
            wait.begin()
            if pause:
                torch.cuda.synchronize()
                time.sleep(pause)
        wait.end()
        assert wait.take() == pytest.approx(3 * pause, abs=0.03)
