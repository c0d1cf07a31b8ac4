"""Pairing, the label table, and the endless stream of samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fcn_lightning import InputError
from fcn_lightning.data.dataset import UNLISTED, Labels, SegmentationDataset, TrainSamples, ValSamples
from fcn_lightning.data.pairing import pair_files
from fcn_lightning.data.sampler import PositionSampler, ShardSampler
from fcn_lightning.data.shapes import Shapes
from fcn_lightning.data.transforms import ImagePreparation, train_transform

LABELS = Labels(("a", "b"), ((0, 0, 0), (1, 1, 1)), (7, 33), (0, 255))


def test_the_table_maps_file_values() -> None:
    assert LABELS.table[[7, 33, 0, 255, 1]].tolist() == [0, 1, 255, 255, UNLISTED]


def test_reduce_zero_label_is_a_table(golden: dict[str, dict[str, list[int]]]) -> None:
    names = tuple(map(str, range(150)))
    table = Labels(names, ((0, 0, 0),) * 150, tuple(range(1, 151)), (0, 255)).table
    case = golden["reduce_zero_label"]
    known = [(value, want) for value, want in zip(case["inp"], case["out"], strict=True) if value != 254]  # no class has 254
    assert [int(table[value]) for value, _ in known] == [want for _, want in known]


@pytest.mark.parametrize("number", [1, 254])
def test_too_few_or_too_many_classes(number: int) -> None:
    with pytest.raises(InputError, match=f"{number} classes"):
        Labels(("x",) * number, ((0, 0, 0),) * number, tuple(range(number)))


def test_lists_of_different_length() -> None:
    with pytest.raises(InputError, match="wrong length: 2 classes, 1 colours, 2 values"):
        Labels(("a", "b"), ((0, 0, 0),), (0, 1))


def save(path: Path, pixels: list[list[int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels, np.uint8)).save(path)


def test_pairs_by_relative_name(tmp_path: Path) -> None:
    for name in ("x/2", "x/10", "1"):
        save(tmp_path / f"images/{name}.png", [[0]])
        save(tmp_path / f"masks/{name}.png", [[7]])
    pairs = pair_files(tmp_path / "images", tmp_path / "masks")
    assert [pair.mask.relative_to(tmp_path / "masks").as_posix() for pair in pairs] == ["1.png", "x/10.png", "x/2.png"]
    image, mask = SegmentationDataset(pairs, LABELS)[0]
    assert image.shape == (1, 1, 3)
    assert mask.tolist() == [[0]]


def test_pairs_of_which_a_file_is_absent(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        save(tmp_path / f"images/{name}.png", [[0]])
        save(tmp_path / f"masks/{name}.png", [[7]])
    whole = SegmentationDataset(pair_files(tmp_path / "images", tmp_path / "masks"), LABELS)
    assert whole.missing() == []
    assert whole.present() is whole
    (tmp_path / "images/a.png").unlink()
    (tmp_path / "masks/c.png").unlink()
    assert whole.missing() == [whole.pairs[0], whole.pairs[2]]
    part = whole.present()
    assert (part.pairs, part.labels) == ([whole.pairs[1]], LABELS)
    scenes = Shapes(3, 48, 0)
    assert scenes.missing() == []
    assert scenes.present() is scenes


def stream(workers: int, positions: range, seed: int = 3) -> list[torch.Tensor]:
    samples = TrainSamples(Shapes(5, 48, 0), train_transform((48, 48), (0.5, 2.0), (32, 32)), crop_size=(32, 32), seed=seed)
    loader = DataLoader(samples, sampler=positions, batch_size=2, num_workers=workers)
    return [torch.cat([batch["image"].flatten(), batch["index"].float()]) for batch in loader]


def test_same_samples_for_any_number_of_workers_and_from_any_position() -> None:
    alone = stream(0, range(12))
    for workers in (1, 3):
        assert all(torch.equal(a, b) for a, b in zip(alone, stream(workers, range(12)), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(alone[4:], stream(0, range(8, 12)), strict=True))
    assert not torch.equal(alone[0], stream(0, range(2), seed=4)[0])


def test_each_pass_sees_every_image_once_in_another_order_and_augmented_anew() -> None:
    samples = TrainSamples(Shapes(5, 48, 0), train_transform((48, 48), (0.5, 2.0), (32, 32)), crop_size=(32, 32), seed=0)
    passes = [[samples.image_index(epoch * 5 + offset) for offset in range(5)] for epoch in range(3)]
    assert all(sorted(order) == list(range(5)) for order in passes)
    assert passes[0] != passes[1] or passes[1] != passes[2]
    again = next(position for position in range(5, 10) if samples.image_index(position) == samples.image_index(0))
    assert not torch.equal(samples[0]["image"], samples[again]["image"])


def test_ranks_share_each_step() -> None:
    whole = list(PositionSampler(global_batch_size=4, max_steps=3))
    parts = [list(PositionSampler(global_batch_size=4, max_steps=3, rank=rank, world_size=2)) for rank in range(2)]
    assert whole == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    resumed = PositionSampler(global_batch_size=4, max_steps=3, start_step=2)
    assert (list(resumed), len(resumed)) == (whole[2:], 1)
    with pytest.raises(InputError, match="devices times accumulate can be 1, 2, 4"):
        PositionSampler(global_batch_size=4, max_steps=1, world_size=3)


def test_accumulation_stands_in_for_devices() -> None:
    whole = list(PositionSampler(global_batch_size=8, max_steps=2, world_size=1))
    for world_size, accumulate in ((1, 4), (2, 2), (4, 1), (2, 1)):
        seen: list[list[int]] = [[], []]
        for rank in range(world_size):
            sampler = PositionSampler(global_batch_size=8, max_steps=2, rank=rank, world_size=world_size, accumulate=accumulate)
            for number, batch in enumerate(sampler):
                assert len(batch) == 8 // world_size // accumulate
                seen[number // accumulate] += batch
        assert [sorted(step) for step in seen] == whole


def test_each_validation_image_has_one_reader() -> None:
    for world_size in (1, 2, 4, 7):
        read = [index for rank in range(world_size) for index in ShardSampler(7, rank=rank, world_size=world_size)]
        assert sorted(read) == list(range(7))
    with pytest.raises(InputError, match=r"set trainer\.devices=7"):
        ShardSampler(7, rank=0, world_size=8)


def test_test_samples_keep_the_masks_size() -> None:
    sample = ValSamples(Shapes(2, 48, 0), ImagePreparation((96, 96), (0.5, 1.0)))[1]
    assert [tuple(image.shape) for image in sample["images"]] == [(48, 48, 3), (96, 96, 3)]
    assert sample["mask"].shape == (48, 48)
    assert sample["index"] == 1
