"""What is shown where there is no terminal."""

import io
import logging
import sys

import pytest

from fcn_lightning.preparation import progress
from fcn_lightning.preparation.progress import Progress, in_words


def test_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    clock = iter([0, 0, 10, 31, 40, 62])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    with caplog.at_level(logging.INFO), Progress("writing", 8, "file") as shown:
        for _ in range(4):
            shown.update(2)
    assert caplog.messages == ["writing: 50 %", "writing: 100 %"]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress("checking x.zip", 4_000_000, "B") as shown:
        shown.update(1_000_000)
    assert "checking x.zip" in screen.getvalue()
    assert "4.00M" in screen.getvalue()


def test_sizes_in_words() -> None:
    assert [in_words(size) for size in (0, 999, 1_500_000, 11_600_000_000)] == ["0.0 kB", "1.0 kB", "1.5 MB", "11.6 GB"]
