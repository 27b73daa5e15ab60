"""Which numbers can be those of a calibration: a model that passes everything is refused.

The rules follow from how offline/calibrate.py and offline/recalibrate.py set the thresholds. They
refuse what was damaged or set by hand; a lie that goes through all numbers at once is only told by
a signature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from pad_inspection.config import InspectionConfig
from pad_inspection.datatypes import Camera, Rigid3

if TYPE_CHECKING:
    from pad_inspection.calibration import Calibration
    from pad_inspection.rendering.renderer import SplatScene
    from pad_inspection.surface import SurfacePlaces

LEAST_SHARPNESS = 0.5
"""Edges of half the slope are twice as wide, and hide small defects: no limit is below."""
POSE_LIMIT_SLACK = 0.15
"""Normal views vary more than the few that are seen: limits on poses are relaxed by this."""
LEAST_NORMALS = 3
"""Fewer normal views teach no threshold."""

# field -> type, least and largest value
_NUMBERS: dict[str, tuple[type, float, float]] = {
    'image_threshold': (float, 0.0, math.inf),
    'pixel_threshold': (float, 0.0, math.inf),
    'object_threshold': (float, 0.0, math.inf),
    'surface_threshold': (float, 0.0, math.inf),
    'visible_places': (int, 0, 10_000_000),
    'joined_pixel_threshold': (float, 0.0, math.inf),
    'joined_image_threshold': (float, 0.0, math.inf),
    'score_min': (float, 0.0, math.inf),
    'score_max': (float, 0.0, math.inf),
    'min_inliers': (int, 0, 1_000_000),
    'min_silhouette_iou': (float, 0.0, 1.0),
    'min_agreement': (float, -1.0 - POSE_LIMIT_SLACK, 1.0),
    'sure_agreement': (float, -1.0, 1.0),
    'min_sharpness': (float, LEAST_SHARPNESS, 1.0),
    'num_normals': (int, LEAST_NORMALS, 10_000_000),
    'false_reject_bound': (float, 0.0, 1.0),
    'wanted_false_reject_rate': (float, 1e-4, 0.5),
}
_ABOVE_ZERO = ('image_threshold', 'pixel_threshold', 'object_threshold')
# The score of a view is the mean over a disc of its map, or its highest pixel. A map is smooth, so
# that no pixel is this much above the highest mean.
_PEAK_OVER_SCORE = 10.0
# Limits of joined maps are means of what single and joined maps gave, which are never higher; but
# `pad calibrate` scales them along with those of single views.
_JOINED_SLACK = 2.0
_ROUNDING = 1e-5
# An object's score is never above that of its worst view: a limit for the worst of so many views.
_MOST_VIEWS = 100
# The limit is a quantile of drawn objects.
_DRAWING_SLACK = 1.1
# Enough to see nearly all that the model's views see. They may be drawn a little otherwise than
# when the model was built, on another device.
_CHECKED_VIEWS = 8
_VISIBLE_SLACK = 0.9
# Distances of unit vectors, and of colours in Lab over 100, are below; squared distances of
# features that are no unit vectors have no limit.
_MAX_DISTANCE = 4.0


def threshold_rank(num_normals: int, max_false_reject_rate: float) -> int:
    """Which of so many ascending normal scores, from 1, the image threshold lies right above.

    The lowest one whose expected share of rejected good views is at most what is wanted.
    """
    rank = math.ceil((num_normals + 1) * (1 - max_false_reject_rate) - 1e-9)
    return min(num_normals, rank)


def check_calibration(calibration: Calibration) -> None:
    """Check every number of a calibration.

    - The image threshold is the normal score of ``threshold_rank``, or the next number above it.
    - No map of a normal view has a pixel (``score_max``) above ten times the highest normal score;
      no threshold on pixels, on places of the surface, or on joined maps (twice that) is above
      ``score_max``.
    - The object threshold is at most what the worst of 100 views exceeds with the wanted rate,
      when views scatter about their median as the normal ones do (log-normal).
    - Poses are trusted down to 0.15 below the least agreement of a normal view, and no further.
    - Residuals are those of maps, so none is above ten times the highest normal score.

    Raises:
        ValueError: names the value, what it is and what was wanted.
    """
    for name, (kind, low, high) in _NUMBERS.items():
        value = getattr(calibration, name)
        if not _is_number(value, kind) or not low <= value <= high:
            wanted = 'an integer' if kind is int else 'a number'
            limits = f'{low:g} or more' if math.isinf(high) else f'{low:g} to {high:g}'
            raise ValueError(f'{name} is {value!r}, wanted {wanted} of {limits}')
    for name in _ABOVE_ZERO:
        if not getattr(calibration, name) > 0:
            raise ValueError(f'{name} is {getattr(calibration, name)!r}, wanted a number above 0')
    scores = calibration.normal_scores
    if not all(_is_number(score, float) and score >= 0 for score in scores):
        raise ValueError('normal_scores holds something else than numbers of at least 0')
    if len(scores) != calibration.num_normals or list(scores) != sorted(scores):
        raise ValueError(
            f'normal_scores are {len(scores)} scores, wanted num_normals '
            f'({calibration.num_normals}) in ascending order'
        )
    _check_sources(calibration.sources)
    _check_statistics(calibration.level_statistics)
    least = calibration.sure_agreement - POSE_LIMIT_SLACK
    if not least - _ROUNDING <= calibration.min_agreement <= calibration.sure_agreement:
        raise ValueError(
            f'min_agreement is {calibration.min_agreement}, wanted {least:.4g} (sure_agreement '
            f'less {POSE_LIMIT_SLACK}) to {calibration.sure_agreement}'
        )
    _check_thresholds(calibration)
    residual = calibration.expected_residual
    if residual is not None and not (
        np.isfinite(residual).all() and 0 <= residual.min(initial=0.0) <= residual.max(initial=0.0)
        and residual.max(initial=0.0) <= _PEAK_OVER_SCORE * scores[-1]
    ):  # fmt: skip
        raise ValueError(
            'expected_residual has values that normal views cannot have left: NaN, below 0, or '
            f'above {_PEAK_OVER_SCORE:g} times their highest score ({scores[-1]:.4g})'
        )


def check_for_options(calibration: Calibration, config: InspectionConfig) -> None:
    """Check a calibration against the options that it is said to be made with.

    Raises:
        ValueError: the wanted rates differ, a pose was trusted that these options reject, or a
            distance is larger than that kind can be.
    """
    rate = config.decision.max_false_reject_rate
    if not math.isclose(calibration.wanted_false_reject_rate, rate):
        raise ValueError(
            f'wanted_false_reject_rate is {calibration.wanted_false_reject_rate}, the option '
            f'decision.max_false_reject_rate is {rate}'
        )
    least = config.refinement.min_agreement
    if calibration.sure_agreement < least:
        raise ValueError(
            f'sure_agreement is {calibration.sure_agreement}, wanted at least '
            f'refinement.min_agreement ({least}), which all normal views reach'
        )
    least = math.floor(config.localization.min_inliers * (1 - POSE_LIMIT_SLACK))
    if calibration.min_inliers < least:
        raise ValueError(
            f'min_inliers is {calibration.min_inliers}, wanted at least {least}: normal views '
            f'have localization.min_inliers ({config.localization.min_inliers}) or more'
        )
    statistics = calibration.level_statistics
    for name, *values in zip(statistics['names'], statistics['mean'], statistics['std']):
        unlimited = config.comparison.distance == 'squared_l2' and name.startswith('features_')
        if max(values) > _MAX_DISTANCE and not unlimited:
            raise ValueError(
                f'level_statistics of {name} are {values[0]:.4g} +- {values[1]:.4g}, wanted '
                f'distances of 0 to {_MAX_DISTANCE:g}'
            )


def check_visible_places(
    calibration: Calibration,
    places: SurfacePlaces | None,
    scene: SplatScene,
    views: Sequence[tuple[Camera, Rigid3]],
) -> None:
    """Check how many places of the surface are said to be visible, against a few of the views.

    With too small a number any view would seem to show all of the piece.

    Args:
        calibration: says how many, 0 = not known.
        places: of the model, None where views are not joined there.
        scene: the model.
        views: camera and pose of the model's own views.

    Raises:
        ValueError: these views alone show more places.
    """
    from pad_inspection.surface import visible_places

    number = calibration.visible_places
    if number == 0 or places is None:
        return
    chosen = np.unique(np.linspace(0, len(views) - 1, _CHECKED_VIEWS).astype(int))
    seen = visible_places(places, scene, [views[i] for i in chosen])
    if not _VISIBLE_SLACK * seen <= number <= len(places):
        raise ValueError(
            f'visible_places is {number}, wanted {math.ceil(_VISIBLE_SLACK * seen)} to '
            f'{len(places)}: {len(chosen)} views of the model show {seen}'
        )


def _is_number(value, kind: type) -> bool:
    """Whether a value of a JSON file is a finite number; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        return False
    # an integer of a hundred digits is no float
    return abs(value) < 1e300 and math.isfinite(value)


def _check_sources(sources) -> None:
    """Raise unless these are numbers of views by source."""
    counts = list(sources.values()) if isinstance(sources, Mapping) else [None]
    if len(counts) > 20 or not all(_is_number(count, int) and count >= 0 for count in counts):
        raise ValueError('sources are not numbers of views by source')


def _check_statistics(statistics) -> None:
    """Raise unless these are names, means and standard deviations of levels."""
    if not isinstance(statistics, Mapping) or set(statistics) != {'names', 'mean', 'std'}:
        raise ValueError('level_statistics are none, wanted names, mean and std of each level')
    names, mean, std = (statistics[key] for key in ('names', 'mean', 'std'))
    if not all(isinstance(row, list | tuple) for row in (names, mean, std)):
        raise ValueError('level_statistics hold no lists of names, mean and std')
    if not len(names) == len(mean) == len(std) > 0 or len(set(map(str, names))) != len(names):
        raise ValueError('level_statistics are not of the same levels, each once')
    if not all(isinstance(name, str) for name in names):
        raise ValueError('level_statistics: a name of a level is no text')
    if not all(_is_number(value, float) and value >= 0 for value in [*mean, *std]):
        raise ValueError('level_statistics hold something else than numbers of at least 0')


def _check_thresholds(calibration: Calibration) -> None:
    """Compare thresholds with what normal views scored."""
    scores, rate = calibration.normal_scores, calibration.wanted_false_reject_rate
    normal = scores[threshold_rank(len(scores), rate) - 1]
    if not normal <= calibration.image_threshold <= normal * (1 + _ROUNDING) + 1e-9:
        raise ValueError(
            f'image_threshold is {calibration.image_threshold:.6g}, but {len(scores)} normal '
            f'scores and a wanted false reject rate of {rate:g} give {normal:.6g}'
        )
    peak = _PEAK_OVER_SCORE * scores[-1]
    if calibration.score_max > peak + 1e-9:
        raise ValueError(
            f'score_max is {calibration.score_max:.6g}, wanted at most {peak:.6g}: '
            f'{_PEAK_OVER_SCORE:g} times the highest normal score'
        )
    for name, slack in (
        ('pixel_threshold', 1.0),
        ('surface_threshold', 1.0),
        ('joined_pixel_threshold', _JOINED_SLACK),
        ('joined_image_threshold', _JOINED_SLACK),
    ):
        value, most = getattr(calibration, name), slack * max(calibration.score_max, 1e-6)
        if value > most * (1 + _ROUNDING):
            raise ValueError(
                f'{name} is {value:.6g}, wanted at most {most:.6g}: no normal view has more'
            )
    most = _most_object_threshold(scores, calibration.image_threshold, rate)
    if calibration.object_threshold > most:
        raise ValueError(
            f'object_threshold is {calibration.object_threshold:.6g}, wanted at most {most:.4g}: '
            f'what normal views tell of {_MOST_VIEWS} views of an object'
        )


def _most_object_threshold(
    scores: tuple[float, ...], image_threshold: float, rate: float
) -> float:
    """What the worst of many views of a good object exceeds with a rate, over the threshold."""
    logs = np.log(np.maximum(np.array(scores) / image_threshold, 1e-6))
    middle = float(np.median(logs))
    above = logs[logs > middle] - middle
    spread = math.sqrt(float((above**2).mean())) if len(above) else 0.0
    deviations = NormalDist().inv_cdf((1 - rate) ** (1 / _MOST_VIEWS))
    return _DRAWING_SLACK * math.exp(middle + spread * deviations)
