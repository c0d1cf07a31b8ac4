"""One folder, one run at a time."""

import signal
import time
from pathlib import Path

from tests.faults.outcomes import assert_ends, status, words
from tests.processes import MINUTE, Command, assert_none_left, write_data


def test_two_runs_started_into_it_at_the_same_moment(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    both = [Command("train", *words(data, "schedule.max_steps=2"), cwd=tmp_path) for _ in range(2)]
    deadline = time.monotonic() + 2 * MINUTE
    while all(command.process.poll() is None for command in both) and time.monotonic() < deadline:
        time.sleep(0.05)
    loser, winner = sorted(both, key=lambda command: command.process.poll() is None)
    assert loser.wait(1) == 1, loser.text
    winner.send(signal.SIGSTOP)  # so that it is there as long as the next one asks
    try:
        third = Command("train", *words(data, "schedule.max_steps=2"), cwd=tmp_path)
        assert third.wait() == 1
    finally:
        winner.send(signal.SIGCONT)
    assert winner.wait() == 0, winner.text
    for refused in (loser, third):
        said = [line for line in refused.text.splitlines() if line]
        assert len(said) == 1, refused.text
        assert said[0].startswith("error: run is in use by ")
        assert said[0].endswith("wait for it, or choose another hydra.run.dir")
    assert_none_left(tmp_path)
    assert (status(tmp_path)["state"], status(tmp_path)["step"]) == ("finished", 2)
    late = Command("train", *words(data, "schedule.max_steps=2"), cwd=tmp_path)
    assert_ends(late, 1, "run belongs to another run, which is never overwritten")
