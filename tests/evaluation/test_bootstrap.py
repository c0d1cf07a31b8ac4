"""The paired bootstrap against a slow computation, known answers, and the truth of simulated data."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcn_lightning import InputError
from fcn_lightning.evaluation import bootstrap
from fcn_lightning.evaluation.bootstrap import paired_bootstrap
from fcn_lightning.evaluation.image_counts import Counts
from fcn_lightning.evaluation.scores import scores

RNG = np.random.Generator


def confusions(rng: RNG, images: int, share: np.ndarray) -> np.ndarray:
    """Draw the confusion matrices of two networks on the same images, (2, N, K, K)."""
    classes = len(share)
    true = rng.integers(1, 500, (images, classes)) * (rng.random((images, classes)) < share)
    return np.stack([np.stack([rng.multinomial(row, rng.dirichlet(np.ones(classes))) for row in true]) for _ in range(2)])


def counted(tables: np.ndarray) -> Counts:
    table = torch.from_numpy(tables)
    return Counts(torch.arange(len(table)), table.diagonal(dim1=1, dim2=2), table.sum(1), table.sum(2))


def pairs(rng: RNG, images: int, gain: float) -> tuple[Counts, Counts]:
    """Draw counts of three classes in images of unequal size and difficulty; b is better by `gain`."""
    true = rng.gamma(2.0, 2000.0, (images, 3)).astype(np.int64) * (rng.random((images, 3)) < 0.8)
    hard = rng.beta(8, 3, (images, 1))
    drawn = []
    for quality in (1.0, 1.0 + gain):
        accuracy = np.clip(hard * quality + rng.normal(0, 0.08, (images, 3)), 0.01, 0.99)
        intersect = rng.binomial(true, accuracy)
        pred = intersect + rng.binomial(true - intersect, 0.8)
        drawn.append(Counts(*map(torch.from_numpy, (np.arange(images), intersect, pred, true))))
    return drawn[0], drawn[1]


def test_equals_a_slow_computation_with_confusion_matrices() -> None:
    # Class 2 is in few images, so that resamples lack it; class 3 in none, and only b predicts it.
    a, b = confusions(np.random.default_rng(0), 9, np.array([1.0, 0.8, 0.15, 0.0]))
    without = a[:, 2].sum(1) == 0
    for tables, label, images_without in ((a, 2, without), (b, 2, without), (a, 3, slice(None))):
        tables[images_without, :, 0] += tables[images_without, :, label]
        tables[images_without, :, label] = 0
    images, resamples = 9, 300
    result = paired_bootstrap(counted(a), counted(b), resamples=resamples, seed=3)

    drawn = np.random.default_rng(3).integers(0, images, (resamples, images))
    slow = [[scores(torch.from_numpy(tables[chosen].sum(0))) for tables in (a, b)] for chosen in drawn]
    of_all = [scores(torch.from_numpy(tables.sum(0))) for tables in (a, b)]
    miou = np.array([in_b.miou - in_a.miou for in_a, in_b in slow])
    iou = np.array([(in_b.iou - in_a.iou).numpy() for in_a, in_b in slow])
    assert np.isnan(iou[:, 2]).any(), "the case is one in which a class drops out"
    assert not np.isnan(iou[:, 2]).all()

    value = of_all[1].miou - of_all[0].miou
    p_value = (1 + sum(abs(one - value) >= abs(value) for one in miou)) / (1 + resamples)
    assert (result.miou.a, result.miou.b, result.miou.value) == pytest.approx((of_all[0].miou, of_all[1].miou, value))
    assert (result.miou.low, result.miou.high) == pytest.approx(tuple(np.quantile(miou, [0.025, 0.975])))
    assert result.p_value == pytest.approx(p_value)
    assert 0.02 < p_value < 0.98, "the case is one that decides something"
    for number, difference in enumerate(result.iou[:3]):
        expected = np.nanquantile(iou[:, number], [0.025, 0.975])
        assert (difference.low, difference.high) == pytest.approx(tuple(expected))
        assert difference.value == pytest.approx((of_all[1].iou - of_all[0].iou)[number].item())
    assert np.isnan([result.iou[3].a, result.iou[3].value, result.iou[3].low]).all()
    assert result.iou[3].b == 0, "a class that is only predicted counts as 0"


def test_equals_the_theory_of_a_mean() -> None:
    # With one class and unions of 1000 in each image, the difference is the mean of the images' own differences.
    rng = np.random.default_rng(0)
    images = 400
    true = np.full((images, 1), 1000)
    intersects = (rng.integers(500, 700, (images, 1)), rng.integers(504, 704, (images, 1)))
    a, b = (Counts(*map(torch.from_numpy, (np.arange(images), inside, inside, true))) for inside in intersects)
    single = (intersects[1] - intersects[0])[:, 0] / 1000
    error = single.std() / images**0.5
    result = paired_bootstrap(a, b, resamples=20_000)
    assert result.miou.value == pytest.approx(single.mean())
    assert result.miou.low == pytest.approx(single.mean() - 1.96 * error, abs=0.06 * error)
    assert result.miou.high == pytest.approx(single.mean() + 1.96 * error, abs=0.06 * error)
    normal = torch.distributions.Normal(0.0, 1.0)
    assert result.p_value == pytest.approx(2 * (1 - normal.cdf(torch.tensor(abs(single.mean()) / error)).item()), abs=0.01)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    gain, cases = 0.03, 250
    a, b = pairs(np.random.default_rng(9), 100_000, gain)
    truth = paired_bootstrap(a, b, resamples=100).miou.value
    rng = np.random.default_rng(1)
    results = [paired_bootstrap(*pairs(rng, 80, gain), resamples=400, seed=case) for case in range(cases)]
    assert 0.90 < np.mean([result.miou.low <= truth <= result.miou.high for result in results]) < 0.985


def test_equal_networks_are_seldom_called_different() -> None:
    rng, cases = np.random.default_rng(2), 250
    wrong = [paired_bootstrap(*pairs(rng, 80, 0.0), resamples=400, seed=case).p_value < 0.05 for case in range(cases)]
    assert 0.01 < np.mean(wrong) < 0.10


def test_the_same_counts_do_not_differ() -> None:
    a, _ = pairs(np.random.default_rng(0), 20, 0.0)
    result = paired_bootstrap(a, a)
    assert (result.miou.value, result.miou.low, result.miou.high, result.p_value) == (0, 0, 0, 1)


def test_a_gain_in_every_image_has_the_least_p_value() -> None:
    true = torch.full((30, 1), 100)
    a, b = (Counts(torch.arange(30), inside, inside, true) for inside in (true // 2, 3 * true // 5))
    result = paired_bootstrap(a, b, resamples=999)
    assert (result.miou.value, result.miou.low, result.miou.high) == pytest.approx((0.1, 0.1, 0.1))
    assert result.p_value == 1 / 1000


def test_swapping_the_networks_turns_the_sign() -> None:
    a, b = pairs(np.random.default_rng(0), 30, 0.02)
    there, back = paired_bootstrap(a, b), paired_bootstrap(b, a)
    assert (back.miou.value, back.miou.low, back.miou.high) == pytest.approx((-there.miou.value, -there.miou.high, -there.miou.low))
    assert back.p_value == there.p_value


def test_resamples_without_a_labelled_pixel_do_not_count() -> None:
    true = torch.tensor([[100], [100], [0], [0], [0], [0]])
    a, b = (Counts(torch.arange(6), inside, inside, true) for inside in (true // 2, 3 * true // 5))
    result = paired_bootstrap(a, b, resamples=500, seed=1)
    labelled = int((np.random.default_rng(1).integers(0, 6, (500, 6)) < 2).any(1).sum())
    assert labelled < 500, "the case is one in which some resamples have no labels"
    assert (result.miou.low, result.miou.high, result.p_value) == pytest.approx((0.1, 0.1, 1 / (1 + labelled)))


def test_chunks_and_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pairs(np.random.default_rng(0), 50, 0.02)
    assert paired_bootstrap(a, b, seed=1) == paired_bootstrap(a, b, seed=1)
    assert paired_bootstrap(a, b, seed=1).miou.low != paired_bootstrap(a, b, seed=2).miou.low
    whole = paired_bootstrap(a, b).miou
    monkeypatch.setattr(bootstrap, "CELLS", 50 * 7)  # seven resamples at a time, and a rest
    parts = paired_bootstrap(a, b).miou
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=1e-3)


def test_what_cannot_be_compared() -> None:
    a, b = pairs(np.random.default_rng(0), 5, 0.0)
    with pytest.raises(ValueError, match="not of the same masks"):
        paired_bootstrap(a, replace(b, true=b.true + 1))
    with pytest.raises(InputError, match="resamples=99 gives no interval; set resamples=100"):
        paired_bootstrap(a, b, resamples=99)
    one = Counts(a.index[:1], a.intersect[:1], a.pred[:1], a.true[:1])
    with pytest.raises(InputError, match="1 image cannot be resampled"):
        paired_bootstrap(one, one)
    empty = Counts(a.index, *(torch.zeros_like(a.true) for _ in range(3)))
    with pytest.raises(InputError, match="no image has a labelled pixel"):
        paired_bootstrap(empty, empty)
