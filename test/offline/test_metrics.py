import math

import numpy as np
import pytest

from pad_inspection.offline import metrics


def _random_data(seed, count=6, size=40, levels=None):
    rng = np.random.default_rng(seed)
    masks, maps = [], []
    for index in range(count):
        mask = np.zeros((size, size), bool)
        for _ in range(index % 3):
            y, x = rng.integers(0, size - 8, 2)
            mask[y : y + rng.integers(2, 8), x : x + rng.integers(2, 8)] = True
        scores = rng.random((size, size)) + 0.7 * mask
        if levels:
            scores = np.round(scores * levels) / levels
        masks.append(mask)
        maps.append(scores.astype(np.float32))
    return masks, maps


def test_auroc_by_hand():
    # pairs (positive, negative): .9>.5 .9>.1 .5=.5 .5>.1 -> 3.5 of 4
    assert metrics.auroc([1, 0, 1, 0], [0.9, 0.5, 0.5, 0.1]) == pytest.approx(3.5 / 4)
    assert metrics.auroc([1, 1], [0.1, 0.2]) != metrics.auroc([1, 1], [0.1, 0.2])  # NaN


def test_auroc_refuses_bad_scores():
    with pytest.raises(ValueError, match='NaN or infinity'):
        metrics.auroc([0, 1], [0.0, np.inf])
    with pytest.raises(ValueError, match='2 labels and 3 scores'):
        metrics.auroc([0, 1], [0.0, 1.0, 2.0])


@pytest.mark.parametrize('levels', [None, 7])
def test_auroc_and_roc_curve_against_scikit_learn(levels):
    sklearn_metrics = pytest.importorskip('sklearn.metrics')
    masks, maps = _random_data(1, levels=levels)
    labels, scores = np.ravel(masks), np.ravel(maps)
    expected = sklearn_metrics.roc_auc_score(labels, scores)
    assert metrics.pixel_auroc(masks, maps) == pytest.approx(expected, abs=1e-9)
    fpr, tpr = metrics.roc_curve(labels, scores)
    assert np.trapezoid(tpr, fpr) == pytest.approx(expected, abs=1e-9)


def test_f1_max_against_scikit_learn():
    sklearn_metrics = pytest.importorskip('sklearn.metrics')
    masks, maps = _random_data(2)
    labels, scores = np.ravel(masks), np.ravel(maps)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(labels, scores)
    expected = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert metrics.f1_max_pixel(masks, maps) == pytest.approx(expected, abs=1e-9)
    best, threshold = metrics.f1_max(labels, scores)
    assert metrics.f1_at(labels, scores, threshold) == pytest.approx(best)
    curve = metrics.pixel_curve(masks, maps)
    assert curve.f1_max() == pytest.approx(best)
    for level in (-1.0, 0.3, threshold, 2.0):
        assert curve.f1_at(level) == pytest.approx(metrics.f1_at(labels, scores, level))


def test_f1_by_hand():
    # at 0.6: two hits, one false alarm, one miss -> 2*2 / (3 + 3)
    labels, scores = [1, 1, 0, 1, 0], [0.9, 0.6, 0.7, 0.2, 0.1]
    assert metrics.f1_at(labels, scores, 0.6) == pytest.approx(2 / 3)
    # at 0.2: three hits, one false alarm -> 6/7 is the best
    assert metrics.f1_max(labels, scores) == (pytest.approx(6 / 7), pytest.approx(0.2))


def test_aupro_by_hand():
    # two regions of one and two pixels; ten other pixels
    mask = np.zeros((1, 13), bool)
    mask[0, 0] = mask[0, 2:4] = True
    scores = np.zeros((1, 13))
    scores[0, 0] = 4.0  # overlap 1/2 at FPR 0
    scores[0, 5] = 3.0  # FPR .1
    scores[0, 2] = 2.0  # overlap 3/4
    # the rest at once: (1, 1)
    fpr, overlap = metrics.pixel_curve([mask], [scores]).pro()
    np.testing.assert_allclose(fpr, [0, 0, 0.1, 0.1, 1])
    np.testing.assert_allclose(overlap, [0, 0.5, 0.5, 0.75, 1])
    at_limit = 0.75 + 0.25 * 0.2 / 0.9
    expected = (0.5 * 0.1 + 0.2 * (0.75 + at_limit) / 2) / 0.3
    assert metrics.aupro([mask], [scores]) == pytest.approx(expected)


def test_aupro_of_visible_regions_leaves_slivers_out():
    mask = np.zeros((20, 20), bool)
    mask[2:6, 2:6] = mask[12, 12] = True
    scores = np.where(mask, 1.0, 0.0)
    scores[12, 12] = 0.0  # nobody finds the single pixel
    curve = metrics.pixel_curve([mask], [scores])
    assert curve.aupro(visible=True) == pytest.approx(1.0)
    assert curve.aupro() < 0.7
    assert math.isnan(metrics.pixel_curve([mask & (scores == 0)], [scores]).aupro(visible=True))


def test_aupro_joins_diagonal_neighbours():
    mask = np.eye(4, dtype=bool)
    scores = np.where(mask, 1.0, 0.0)
    scores[3, 3] = -1.0
    _, overlap = metrics.pixel_curve([mask], [scores]).pro()
    assert overlap[1] == pytest.approx(0.75)  # one region of four pixels


@pytest.mark.parametrize(('seed', 'levels'), [(3, None), (4, 5)])
def test_aupro_against_mvtec_reference(seed, levels):
    reference = pytest.importorskip('pyaupro._reference')
    masks, maps = _random_data(seed, levels=levels)
    fpr, overlap = reference.compute_pro(maps, [m.astype(int) for m in masks])
    expected = metrics.area_below(np.asarray(fpr), np.asarray(overlap), 0.3) / 0.3
    assert metrics.aupro(masks, maps) == pytest.approx(float(expected), abs=1e-6)


def test_undefined_measures_are_nan():
    empty, scores = [np.zeros((4, 4), bool)], [np.random.default_rng(0).random((4, 4))]
    for value in (
        metrics.pixel_auroc(empty, scores),
        metrics.aupro(empty, scores),
        metrics.f1_max_pixel(empty, scores),
    ):
        assert np.isnan(value)
    with pytest.raises(ValueError, match='with and without a defect, got 0 and 16'):
        metrics.pixel_curve(empty, scores).pro()
    with pytest.raises(ValueError, match='16 mask pixels and 9 scores'):
        metrics.pixel_curve(empty, [np.zeros((3, 3))])
    with pytest.raises(ValueError, match='fpr_limit'):
        metrics.aupro(empty, scores, fpr_limit=0.0)


def test_perfect_and_constant_maps():
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:5] = True
    assert metrics.aupro([mask], [mask.astype(float)]) == pytest.approx(1.0)
    # the curve of a constant map is the diagonal
    assert metrics.aupro([mask], [np.zeros((8, 8))]) == pytest.approx(0.15)


def test_error_rates():
    labels, scores = [0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.9, 0.8, 0.1]
    assert metrics.error_rates(labels, scores, 0.5) == (pytest.approx(0.25), pytest.approx(0.5))
    only_good = metrics.error_rates([0, 0], [0.1, 0.9], 0.9)
    assert only_good[0] == pytest.approx(0.5) and np.isnan(only_good[1])


def test_binomial_interval_textbook_values():
    # exact intervals: 0 of 20 -> (0, 1 - .025^(1/20)); 5 of 20 -> (.0866, .4910)
    assert metrics.binomial_interval(0, 20) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    np.testing.assert_allclose(metrics.binomial_interval(5, 20), (0.08657, 0.49105), atol=1e-5)
    assert metrics.binomial_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match='wanted 0 to 3'):
        metrics.binomial_interval(4, 3)


def test_normal_threshold_ranks_and_bounds():
    scores = np.arange(1, 60) / 10  # 59 normals: the rule that guarantees 5% at 95%
    limit = metrics.normal_threshold(scores, 0.01)
    assert limit.rank == 59 and 5.9 < limit.threshold < 5.9 + 1e-9
    assert limit.bound == pytest.approx(1 - 0.05 ** (1 / 59)) and limit.bound < 0.05
    wider = metrics.normal_threshold(scores, 0.05)
    assert wider.rank == 57 and wider.expected_rate == pytest.approx(0.05)
    assert wider.bound > limit.bound
    with pytest.raises(ValueError, match='finite normal scores'):
        metrics.normal_threshold([], 0.05)


def test_normal_threshold_keeps_its_promise():
    rng = np.random.default_rng(5)
    rates, kept = [], 0
    for _ in range(300):
        limit = metrics.normal_threshold(rng.normal(size=40), 0.1)
        rate = float((rng.normal(size=2000) >= limit.threshold).mean())
        rates.append(rate)
        kept += rate <= limit.bound
    assert np.mean(rates) == pytest.approx(limit.expected_rate, abs=0.01)
    assert kept / 300 > 0.92
