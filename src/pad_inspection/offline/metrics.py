"""Measures of detection: image and pixel AUROC, AUPRO, F1, thresholds and their confidence.

Labels and masks are true where there is a defect; a score is higher where a defect is more likely.
A measure that is undefined on the data (one class only) is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NormalThreshold:
    """A threshold learnt from normal scores only.

    Attributes:
        threshold: score >= threshold rejects.
        num_normals: how many scores it comes from.
        rank: it lies right above the rank-th smallest of them.
        expected_rate: expected share of new normals at or above it.
        bound: with the wanted confidence at most this share of new normals is at or above it.
    """

    threshold: float
    num_normals: int
    rank: int
    expected_rate: float
    bound: float


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; ties count half. NaN unless both classes occur.

    Args:
        labels: bool (N,).
        scores: float (N,), finite.
    """
    labels, scores = _pair(labels, scores)
    positives = int(labels.sum())
    negatives = labels.size - positives
    if not positives or not negatives:
        return float('nan')
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    above = ranks[labels].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def pixel_auroc(masks: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> float:
    """AUROC over the pooled pixels of all pictures.

    Args:
        masks: bool (H, W) each.
        maps: float (H, W) each, finite.
    """
    return auroc(_pool(masks), _pool(maps))


def roc_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every distinct score, from (0, 0) to (1, 1).

    Raises:
        ValueError: only one class occurs.
    """
    labels, scores = _pair(labels, scores)
    if labels.all() or not labels.any():
        raise ValueError('a ROC curve needs defective and intact samples, got one kind')
    true_positives, false_positives, _ = _counts(labels, scores)
    fpr = np.concatenate([[0.0], false_positives / false_positives[-1]])
    return fpr, np.concatenate([[0.0], true_positives / true_positives[-1]])


def pro_curve(
    masks: Sequence[np.ndarray], maps: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """False positive rate and per-region overlap at every distinct score, from (0, 0) to (1, 1).

    Regions are the 8-connected components of the masks; each weighs the same. The false positive
    rate is that of all pixels without a defect, pooled.

    Raises:
        ValueError: there is no defect pixel, or nothing else.

    Source: Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021, section 5.
    """
    import cv2

    weights, pooled_scores = [], []
    num_regions = 0
    for mask, scores in zip(masks, maps, strict=True):
        mask = np.asarray(mask, bool)
        count, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        areas = np.bincount(regions.ravel(), minlength=count).astype(np.float64)
        weights.append(np.where(mask, 1 / areas[regions], 0).ravel())
        pooled_scores.append(np.asarray(scores, np.float64).ravel())
        num_regions += count - 1
    weight, score = np.concatenate(weights), np.concatenate(pooled_scores)
    num_negatives = int((weight == 0).sum())
    if not num_regions or not num_negatives:
        raise ValueError('a PRO curve needs defect pixels and others, got one kind')
    order = np.argsort(-score, kind='stable')
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf))
    overlap = np.cumsum(weight[order])[ends] / num_regions
    fpr = np.cumsum(weight[order] == 0)[ends] / num_negatives
    return np.concatenate([[0.0], fpr]), np.concatenate([[0.0], np.minimum(overlap, 1.0)])


def aupro(
    masks: Sequence[np.ndarray], maps: Sequence[np.ndarray], fpr_limit: float = 0.3
) -> float:
    """Area under the PRO curve up to a false positive rate, divided by that rate.

    Args:
        masks: bool (H, W) each.
        maps: float (H, W) each, finite.
        fpr_limit: above 0, at most 1.

    Returns:
        0 to 1, NaN without a defect pixel or without others.

    Raises:
        ValueError: fpr_limit is out of range.
    """
    if not 0 < fpr_limit <= 1:
        raise ValueError(f'fpr_limit is {fpr_limit}, wanted above 0 and at most 1')
    try:
        fpr, overlap = pro_curve(masks, maps)
    except ValueError:
        return float('nan')
    return area_below(fpr, overlap, fpr_limit) / fpr_limit


def area_below(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Area under the line through points (x ascending, y) from x = 0 to ``limit``."""
    inside = x <= limit
    at_limit = np.interp(limit, x, y)
    xs = np.concatenate([x[inside], [limit]])
    ys = np.concatenate([y[inside], [at_limit]])
    return float(np.trapezoid(ys, xs))


def f1_max(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Highest F1 over all thresholds, and that threshold; NaN without a positive.

    The threshold is chosen on the very data it is measured on: an upper bound, not a forecast.
    """
    labels, scores = _pair(labels, scores)
    if not labels.any():
        return float('nan'), float('nan')
    true_positives, false_positives, thresholds = _counts(labels, scores)
    f1 = 2 * true_positives / (true_positives + false_positives + labels.sum())
    best = int(np.argmax(f1))
    return float(f1[best]), float(thresholds[best])


def f1_max_pixel(masks: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> float:
    """Highest F1 over all thresholds of the pooled pixels; NaN without a defect pixel."""
    return f1_max(_pool(masks), _pool(maps))[0]


def f1_at(labels: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    """F1 of score >= threshold; NaN without a positive."""
    labels, scores = _pair(labels, scores)
    if not labels.any():
        return float('nan')
    predicted = scores >= threshold
    return float(2 * (predicted & labels).sum() / (predicted.sum() + labels.sum()))


def error_rates(labels: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[float, float]:
    """False reject rate and miss rate of score >= threshold; NaN where there is no such sample."""
    labels, scores = _pair(labels, scores)
    rejected = scores >= threshold
    rates = []
    for wrong, among in ((rejected, ~labels), (~rejected, labels)):
        rates.append(float(wrong[among].mean()) if among.any() else float('nan'))
    return rates[0], rates[1]


def binomial_interval(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share of which ``hits`` of ``total`` were seen; (0, 1) without any.

    Raises:
        ValueError: hits is not between 0 and total.

    Source: Clopper and Pearson, Biometrika 26 (1934).
    """
    from scipy.stats import beta

    if not 0 <= hits <= total:
        raise ValueError(f'{hits} hits of {total}, wanted 0 to {total}')
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, hits, total - hits + 1) if hits else 0.0
    high = beta.ppf(1 - tail, hits + 1, total - hits) if hits < total else 1.0
    return float(low), float(high)


def normal_threshold(
    scores: Sequence[float] | np.ndarray, max_false_reject_rate: float, confidence: float = 0.95
) -> NormalThreshold:
    """Threshold from the scores of normal samples by an order statistic.

    The lowest threshold whose expected false reject rate is at most the wanted one; with too few
    normals for that, the one right above the highest score. No distribution is assumed.

    Args:
        scores: (N,) of independent normal samples.
        max_false_reject_rate: above 0, below 1.
        confidence: of the bound.

    Raises:
        ValueError: no score, one that is not finite, or a rate out of range.

    Source: the share of a continuous distribution above the r-th smallest of n samples follows
        Beta(n - r + 1, r) (Wilks, Annals of Mathematical Statistics 12, 1941).
    """
    from scipy.stats import beta

    ordered = np.sort(np.asarray(scores, np.float64).ravel())
    if not len(ordered) or not np.isfinite(ordered).all():
        raise ValueError(f'a threshold needs finite normal scores, got {ordered}')
    if not 0 < max_false_reject_rate < 1:
        raise ValueError(f'false reject rate {max_false_reject_rate}, wanted between 0 and 1')
    n = len(ordered)
    rank = min(n, int(np.ceil((n + 1) * (1 - max_false_reject_rate) - 1e-9)))
    return NormalThreshold(
        threshold=float(np.nextafter(ordered[rank - 1], np.inf)),
        num_normals=n,
        rank=rank,
        expected_rate=(n + 1 - rank) / (n + 1),
        bound=float(beta.ppf(confidence, n - rank + 1, rank)),
    )


def _pair(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat bool labels and float scores of the same length."""
    labels, scores = np.asarray(labels, bool).ravel(), np.asarray(scores, np.float64).ravel()
    if labels.shape != scores.shape:
        raise ValueError(f'{labels.size} labels and {scores.size} scores, wanted as many')
    if not np.isfinite(scores).all():
        raise ValueError('scores hold NaN or infinity')
    return labels, scores


def _pool(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All pixels of all pictures."""
    return np.concatenate([np.asarray(a).ravel() for a in arrays]) if len(arrays) else np.empty(0)


def _counts(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and false positives at each distinct score as threshold, and the scores, descending."""
    order = np.argsort(-scores, kind='stable')
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    true_positives = np.cumsum(labels[order])[ends]
    return true_positives, ends + 1 - true_positives, scores[order][ends]
