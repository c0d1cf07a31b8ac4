"""The packed list of pairs."""

import os
from pathlib import Path

import pytest

from fcn_lightning.data.pairs import Pair, Pairs

PAIRS = [Pair(Path(f"images/{name}.jpg"), Path(f"masks/{name}.png")) for name in ("a", "ü b", "c/d")]


def test_it_is_the_sequence_it_was_made_of() -> None:
    packed = Pairs(PAIRS)
    assert list(packed) == PAIRS
    assert packed == PAIRS
    assert packed != PAIRS[:2]
    assert (packed[-1], len(packed), packed[1:]) == (PAIRS[2], 3, PAIRS[1:])
    assert repr(PAIRS[0]) in repr(packed)
    assert list(Pairs([])) == []
    with pytest.raises(IndexError):
        packed[3]


def test_names_that_are_not_utf8_survive() -> None:
    odd = Path(os.fsdecode(b"\xff.png"))
    assert Pairs([Pair(odd, odd)])[0].image == odd
