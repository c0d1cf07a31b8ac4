"""The embedded data set: deterministic, and not solvable by colour."""

import numpy as np

from fcn_lightning.data.shapes import LABELS, Shapes, ShapesDataModule
from fcn_lightning.evaluation.scores import scores

BITS = 4  # of each colour channel that the classifier sees: 4096 colours


def colours(dataset: Shapes) -> tuple[np.ndarray, np.ndarray]:
    pairs = [dataset[index] for index in range(len(dataset))]
    quantised = np.stack([image for image, _ in pairs]).astype(int) >> (8 - BITS)
    codes = (quantised[..., 0] << 2 * BITS) + (quantised[..., 1] << BITS) + quantised[..., 2]
    return codes.ravel(), np.stack([mask for _, mask in pairs]).ravel().astype(int)


def test_a_fitted_colour_classifier_stays_below_040() -> None:
    import torch

    classes = len(LABELS.classes)
    codes, masks = colours(Shapes(300, 96, seed=1))
    counts = np.bincount(codes * classes + masks, minlength=8**BITS * classes).reshape(-1, classes)
    areas = counts.sum(0)
    test_codes, test_masks = colours(Shapes(100, 96, seed=2))
    best = 0.0
    for weights in (np.ones(classes), 1 / areas, areas**-0.5):  # most likely class, also with rare classes favoured
        pred = (counts * weights).argmax(1)[test_codes]
        confmat = np.bincount(test_masks * classes + pred, minlength=classes**2).reshape(classes, classes)
        best = max(best, scores(torch.from_numpy(confmat)).miou)
    assert 0.05 < best < 0.40, "colour tells a little, and far from enough"


def test_every_class_occurs_and_colours_are_shared() -> None:
    codes, masks = colours(Shapes(200, 96, seed=1))
    share = np.bincount(masks, minlength=len(LABELS.classes)) / masks.size
    assert len(LABELS.classes) >= 8
    assert (share > 0.02).all()
    histograms = np.stack([np.bincount(codes[masks == label], minlength=8**BITS) for label in range(9)])
    histograms = histograms / histograms.sum(1, keepdims=True)
    overlap = [np.minimum(histograms[a], histograms[b]).sum() for a in range(9) for b in range(a)]
    assert min(overlap) > 0.1, "any two classes have colours in common"


def test_scenes_follow_from_the_seed() -> None:
    first, again, other = Shapes(9, 64, seed=1)[4], Shapes(5, 64, seed=1)[4], Shapes(9, 64, seed=2)[4]
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()


def test_splits_differ() -> None:
    module = ShapesDataModule(base_scale=(96, 96), ratio_range=(1, 1), crop_size=(64, 64), global_batch_size=2, workers=0, seed=0)
    train, val = module.build("train"), module.build("val")
    assert (len(train), len(val)) == (2000, 100)
    assert (train[0][0] != val[0][0]).any()
