"""A process of several dies, or meets a broken file: all end in time, rank 0 says which one and why, and the run goes on later."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from fcn_lightning.training import checkpoint
from tests.faults.outcomes import assert_ends, assert_same_in_the_end, rank_of, status, words
from tests.hostile import truncated
from tests.processes import MINUTE, Command, assert_none_left

# Rank -> the position of an image in its share that no earlier step of the two reads, and steps later than loaders read ahead.
SHARES = {0: (10 - 1) * 4, 1: (16 - 1) * 4 + 2}


def test_killed_in_training(tmp_path: Path, data: Path) -> None:
    command = Command("train", *words(data, "trainer.devices=2", "dataset.workers=1"), cwd=tmp_path)
    command.prints("step 2/")
    os.kill(rank_of(tmp_path, 1), signal.SIGKILL)
    assert_ends(command, 1, "rank 1 of 2", "was killed by SIGKILL", "out of memory")
    assert status(tmp_path)["state"] == "failed"
    assert "SIGKILL" in status(tmp_path)["error"]
    assert checkpoint.newest(tmp_path / "run/checkpoints") is not None


@pytest.mark.faults
def test_killed_in_validation_and_rank_0_killed(tmp_path: Path, data: Path, reference_of_two: Path) -> None:
    in_validation = Command("train", *words(data, "trainer.devices=2", "dataset.workers=1"), cwd=tmp_path)
    in_validation.until(lambda: list((tmp_path / "run/samples").glob("0*.png")))
    os.kill(rank_of(tmp_path, 1), signal.SIGKILL)
    assert_ends(in_validation, 1, "rank 1 of 2", "was killed by SIGKILL")
    assert "validation at step" not in in_validation.text, "the kill came too late"

    rank_0 = Command("train", "resume=run", cwd=tmp_path)
    rank_0.prints("step 9/")
    rank_0.send(signal.SIGKILL)
    assert rank_0.wait() == -signal.SIGKILL
    assert_none_left(tmp_path, MINUTE)
    assert_same_in_the_end(tmp_path, reference_of_two)


@pytest.mark.faults
def test_a_broken_image_in_the_share_of_each(tmp_path: Path, data: Path, reference_of_two: Path) -> None:
    names = sorted((data / "images/train").iterdir())
    for rank, words_of_rank in enumerate(([], ["rank 1 of 2 ended with exit status 1"])):
        epoch, offset = divmod(SHARES[rank], len(names))
        broken = names[np.random.default_rng([0, epoch, 1]).permutation(len(names))[offset]]
        kept = Path(shutil.copy(broken, tmp_path))
        begin = words(data, "trainer.devices=2", "dataset.workers=1") if rank == 0 else ["resume=run"]
        command = Command("train", *begin, cwd=tmp_path)
        command.prints("s/step")
        truncated(kept, broken)
        assert_ends(command, 1, *words_of_rank, f"image {broken} is truncated", "replace or remove it")
        assert status(tmp_path)["state"] == "failed"
        shutil.copy(kept, broken)
    assert_same_in_the_end(tmp_path, reference_of_two)
