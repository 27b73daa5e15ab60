"""Measures of detection: image and pixel AUROC, AUPRO, F1, thresholds and their confidence.

Labels and masks are true where there is a defect; a score is higher where a defect is more likely.
A measure that is undefined on the data (one class only) is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pad_inspection.calibration_checks import threshold_rank

# Smaller regions of a mask cannot be seen by anybody.
LEAST_REGION_PX = 8


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


def area_below(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Area under the line through points (x ascending, y) from x = 0 to ``limit``."""
    inside = x <= limit
    at_limit = np.interp(limit, x, y)
    xs = np.concatenate([x[inside], [limit]])
    ys = np.concatenate([y[inside], [at_limit]])
    return float(np.trapezoid(ys, xs))


@dataclass(frozen=True)
class PixelCurve:
    """Counts over the pooled pixels of all pictures at every distinct score, from the highest.

    One sort serves all measures of the maps.

    Attributes:
        thresholds: (K,) distinct scores, descending.
        true_positives, false_positives: float64 (K,), pixels at and above each score.
        overlap: float64 (K,), mean share of the defect regions (8-connected components of the
            masks, each of the same weight) at and above each score; zeros without a region.
        visible_overlap: the same over the regions of LEAST_REGION_PX and more.
        positives, negatives: number of pixels with and without a defect.
    """

    thresholds: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    overlap: np.ndarray
    visible_overlap: np.ndarray
    positives: int
    negatives: int

    @property
    def defined(self) -> bool:
        """Whether there are pixels of both kinds."""
        return self.positives > 0 and self.negatives > 0

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates, from (0, 0) to (1, 1).

        Raises:
            ValueError: there are pixels of one kind only.
        """
        self._need_both('a ROC curve')
        return (
            np.concatenate([[0.0], self.false_positives / self.negatives]),
            np.concatenate([[0.0], self.true_positives / self.positives]),
        )

    def pro(self, *, visible: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """False positive rate of all pixels and mean overlap of the regions, from 0 to 1.

        Args:
            visible: leave the regions out that are smaller than LEAST_REGION_PX. Exact masks hold
                slivers of a pixel or two, where a defect shows between other parts.

        Raises:
            ValueError: there are pixels of one kind only.

        Source: Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021, section 5.
        """
        self._need_both('a PRO curve')
        overlap = self.visible_overlap if visible else self.overlap
        return (
            np.concatenate([[0.0], self.false_positives / self.negatives]),
            np.concatenate([[0.0], np.minimum(overlap, 1.0)]),
        )

    def auroc(self) -> float:
        """Area under the ROC curve; ties count half; NaN where it is not defined."""
        return float(np.trapezoid(*self.roc()[::-1])) if self.defined else float('nan')

    def aupro(self, fpr_limit: float = 0.3, *, visible: bool = False) -> float:
        """Area under the PRO curve up to a false positive rate, divided by that rate.

        Args:
            fpr_limit: above 0, at most 1.
            visible: see pro.

        Returns:
            0 to 1, NaN where it is not defined.

        Raises:
            ValueError: fpr_limit is out of range.
        """
        if not 0 < fpr_limit <= 1:
            raise ValueError(f'fpr_limit is {fpr_limit}, wanted above 0 and at most 1')
        curve = self.pro(visible=visible) if self.defined else None
        if curve is None or (visible and not self.visible_overlap[-1]):
            return float('nan')
        return area_below(*curve, fpr_limit) / fpr_limit

    def f1(self) -> np.ndarray:
        """F1 (K,) at each threshold; NaN without a defect pixel."""
        with np.errstate(invalid='ignore'):
            claimed = self.true_positives + self.false_positives + self.positives
            return np.where(self.positives > 0, 2 * self.true_positives / claimed, np.nan)

    def f1_max(self) -> float:
        """Highest F1; its threshold is chosen on these very pictures."""
        return float(self.f1().max())

    def f1_at(self, threshold: float) -> float:
        """F1 of score >= threshold; NaN without a defect pixel."""
        if not self.positives:
            return float('nan')
        above = int(np.searchsorted(-self.thresholds, -threshold, side='right'))
        return float(self.f1()[above - 1]) if above else 0.0

    def _need_both(self, what: str) -> None:
        """Raise a ValueError where one kind of pixels is missing."""
        if not self.defined:
            raise ValueError(
                f'{what} needs pixels with and without a defect, got {self.positives} and '
                f'{self.negatives}'
            )


def pixel_curve(masks: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> PixelCurve:
    """Sort the pixels of all pictures by their score.

    Args:
        masks: bool (H, W) each.
        maps: float (H, W) each, finite.

    Raises:
        ValueError: a mask and a map of different sizes, or a score that is not finite.
    """
    import cv2

    weights, large, num_regions, num_large = [], [], 0, 0
    for mask in masks:
        count, regions = cv2.connectedComponents(np.asarray(mask, np.uint8), connectivity=8)
        areas = np.maximum(np.bincount(regions.ravel(), minlength=count), 1)
        weights.append(np.where(regions > 0, 1 / areas[regions], 0).ravel())
        large.append((areas[regions] >= LEAST_REGION_PX).ravel())
        num_regions += count - 1
        num_large += int((areas[1:] >= LEAST_REGION_PX).sum())
    score = _pool(maps)
    weight = np.concatenate(weights) if weights else np.empty(0)
    if weight.shape != score.shape:
        raise ValueError(f'{weight.size} mask pixels and {score.size} scores, wanted as many')
    if not np.isfinite(score).all():
        raise ValueError('scores hold NaN or infinity')
    order = np.argsort(-score)
    score, weight = score[order], weight[order]
    visible = np.where(np.concatenate(large)[order], weight, 0) if large else weight
    ends = np.flatnonzero(np.diff(score, append=-np.inf))
    true_positives = np.cumsum(weight > 0, dtype=np.float64)[ends]
    positives = int((weight > 0).sum())
    return PixelCurve(
        thresholds=score[ends],
        true_positives=true_positives,
        false_positives=ends + 1 - true_positives,
        overlap=np.cumsum(weight)[ends] / max(num_regions, 1),
        visible_overlap=np.cumsum(visible)[ends] / max(num_large, 1),
        positives=positives,
        negatives=len(weight) - positives,
    )


def pixel_auroc(masks: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> float:
    """AUROC over the pooled pixels of all pictures; see ``pixel_curve``."""
    return pixel_curve(masks, maps).auroc()


def aupro(
    masks: Sequence[np.ndarray], maps: Sequence[np.ndarray], fpr_limit: float = 0.3
) -> float:
    """Area under the PRO curve; see ``PixelCurve.aupro``."""
    return pixel_curve(masks, maps).aupro(fpr_limit)


def f1_max_pixel(masks: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> float:
    """Highest F1 over all thresholds of the pooled pixels; NaN without a defect pixel."""
    return pixel_curve(masks, maps).f1_max()


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
    rank = threshold_rank(n, max_false_reject_rate)
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
