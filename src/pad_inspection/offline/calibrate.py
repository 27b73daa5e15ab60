"""Learn thresholds, statistics and pose limits from normal views.

Held-out training views, which the Gaussians were not fitted to, are turned in the image plane, put
on synthetic backgrounds and inspected by the whole pipeline with poses estimated anew. Pictures of
intact pieces on the line (validation/good) join them where the data set has any. What a view is
scored with never comes from the same view: residuals are averaged over the others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pad_inspection import images
from pad_inspection.calibration import Calibration
from pad_inspection.calibration_checks import LEAST_NORMALS, LEAST_SHARPNESS, POSE_LIMIT_SLACK
from pad_inspection.config import BuildConfig, CalibrationConfig
from pad_inspection.datatypes import Frame, Gaussians, Rigid3
from pad_inspection.observation import Observation
from pad_inspection.pipeline import Inspector

if TYPE_CHECKING:
    from pad_inspection.networks.product_networks import ProductNetworks
    from pad_inspection.rendering.renderer import SplatScene

logger = logging.getLogger(__name__)

# A pose that is farther off than this is no sample of a well localised normal view.
GOOD_POSE_PX = 2.0
# The least sharpness that is asked for is never above the second: normal views on synthetic
# backgrounds say nothing of the lens of the line.
SHARPNESS_LIMITS = (LEAST_SHARPNESS, 0.6)
PIXEL_QUANTILE = 0.999


@dataclass(frozen=True)
class NormalFrame:
    """A picture of an intact piece.

    Attributes:
        frame: the picture.
        group: pictures of one group are never used to score one another.
        source: 'synthetic' or 'validation'.
        cam_from_object: true pose, or None.
    """

    frame: Frame
    group: str
    source: str
    cam_from_object: Rigid3 | None


@dataclass(frozen=True)
class _Sample:
    """A normal frame with what the pipeline saw in it."""

    normal: NormalFrame
    seen: Observation
    pose_error_px: float


def synthetic_frames(
    views, scene: SplatScene, config: CalibrationConfig, seed: int
) -> list[NormalFrame]:
    """Held-out views in other light on synthetic backgrounds, every second one on a bare belt.

    A piece on the line lies otherwise under the lamps than in the pictures of the model: without
    other light the limits would be far too narrow.

    Args:
        views: list of dataset.TrainingView.
        scene: the fitted model, for the shape of the surface.
        config: how many, and how much they are turned.
        seed: of everything random.
    """
    from pad_inspection.offline.backgrounds import composite_on_clutter, roll_view
    from pad_inspection.offline.synthetic_scenes import (
        premultiplied,
        put_on_line,
        random_light,
        without_glare,
    )

    frames = []
    for number, view in enumerate(views):
        image, alpha = view.load()
        for repeat in range(config.backgrounds_per_view):
            rng = np.random.default_rng([seed, number, repeat])
            angle = rng.uniform(-config.turns_deg, config.turns_deg)
            turned, turned_alpha, pose = roll_view(
                image, alpha, view.camera, view.cam_from_object, angle
            )
            rendered = scene.render(view.camera, pose)
            color, turned_alpha = without_glare(
                premultiplied(turned, turned_alpha), turned_alpha, rendered
            )
            color = random_light(
                color, turned_alpha, rendered.depth, view.camera, rng, config.light_variation
            )
            if repeat % 2:
                picture = put_on_line(color, turned_alpha, rng)
            else:
                on_white = images.to_uint8(color + (1 - turned_alpha[..., None]))
                picture = composite_on_clutter(on_white, turned_alpha, rng)
            frames.append(
                NormalFrame(Frame(picture, view.camera), f'view {view.name}', 'synthetic', pose)
            )
    return frames


def validation_frames(images) -> list[NormalFrame]:
    """Pictures of intact pieces on the line (list of dataset.TestImage)."""
    return [
        NormalFrame(
            Frame(image.load_image(), image.camera, object_id=image.object_id),
            f'object {image.object_id}',
            'validation',
            image.cam_from_object,
        )
        for image in images
    ]


def calibrate(
    reference,
    gaussians: Gaussians,
    views,
    holdout_names: Sequence[str],
    validation,
    config: BuildConfig,
    *,
    networks: ProductNetworks | None = None,
    make_inspector: Callable[..., Inspector] = Inspector,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> Calibration:
    """Calibrate a model.

    Args:
        reference: localization.reference.ReferenceModel.
        gaussians: fitted splats.
        views: all training views.
        holdout_names: names of the views that the splats were not fitted to.
        validation: pictures of intact pieces on the line, may be empty.
        config: build options.
        networks: what was trained for the product, or None.
        make_inspector: called like ``Inspector``.
        progress: called with a fraction and a text.

    Raises:
        ValueError: fewer than three normal views could be localised, so nothing can be learnt.
    """
    from pad_inspection.geometry import pose_error_px
    from pad_inspection.rendering.photographs import Photographs

    held_out = [view for view in views if view.name in set(holdout_names)]
    unset = Calibration(float('nan'), float('nan'), min_sharpness=SHARPNESS_LIMITS[0])
    # a held-out view must neither be localised by its own features nor compared with itself
    others = reference.without(set(holdout_names))
    photographs = None
    if config.inspection.comparison.num_photographs > 0:
        photographs = Photographs.of_views(v for v in views if v.name not in set(holdout_names))
    inspector = make_inspector(
        others, gaussians, unset, config.inspection, networks=networks, photographs=photographs
    )
    normals = synthetic_frames(held_out, inspector.scene, config.calibration, config.seed)
    normals += validation_frames(validation)
    points = inspector.object_points()
    samples = []
    for number, normal in enumerate(normals):
        seen = inspector.observe(normal.frame)
        error = float('nan')
        if seen.pose.cam_from_object is not None and normal.cam_from_object is not None:
            error = pose_error_px(
                normal.frame.camera, seen.pose.cam_from_object, normal.cam_from_object, points
            )
        samples.append(_Sample(normal, seen, error))
        progress(0.9 * (number + 1) / len(normals), f'{number + 1} of {len(normals)} normal views')
    usable = [s for s in samples if s.seen.anomaly_map is not None and _good_pose(s)]
    logger.info('%d of %d normal views localised', len(usable), len(samples))
    if len(usable) < LEAST_NORMALS:
        reasons = sorted({s.seen.pose.message or str(s.seen.pose.status) for s in samples})
        raise ValueError(
            f'only {len(usable)} of {len(samples)} normal views could be localised, wanted at '
            f'least {LEAST_NORMALS}; reasons: {reasons[:3]}'
        )
    progress(0.92, 'thresholds')
    return _learn(inspector, views, samples, usable, config)


def _good_pose(sample: _Sample) -> bool:
    """Whether a sample was localised where it is (as far as that is known)."""
    return not sample.pose_error_px > GOOD_POSE_PX


def _learn(
    inspector: Inspector,
    views,
    samples: list[_Sample],
    usable: list[_Sample],
    config: BuildConfig,
) -> Calibration:
    """Statistics, then scores with them, then thresholds."""
    from pad_inspection.comparison import Comparator, image_score, level_statistics
    from pad_inspection.offline.metrics import normal_threshold
    from pad_inspection.offline.object_limits import object_threshold
    from pad_inspection.surface import visible_places

    comparison, decision = config.inspection.comparison, config.inspection.decision
    statistics = level_statistics([s.seen.levels for s in usable])
    comparator = Comparator(
        comparison, statistics, inspector.networks.comparison, inspector.device
    )
    residuals = [comparator.residual(s.seen.levels) for s in usable]
    expected_residual, expected_maps = None, [None] * len(usable)
    if comparison.uncertainty_weight > 0:
        expected_residual, expected_maps = _expected_residuals(inspector, usable, residuals)
    maps = [comparator.combine(s.seen.levels, e) for s, e in zip(usable, expected_maps)]
    scores = np.array([image_score(m, comparison) for m in maps])
    chosen = normal_threshold(scores, decision.max_false_reject_rate)
    pixels = np.concatenate([m[np.isfinite(m)] for m in maps])
    limits = _pose_limits(usable)
    surface_threshold, num_visible = 0.0, 0
    if comparison.surface_spacing > 0:
        # not a quantile: light and gloss of a real piece are the same in all of its views, so that
        # their mean at a place is no better known than what one view says
        seen = [replace(s.seen, anomaly_map=m) for s, m in zip(usable, maps)]
        surface_threshold = max(float(np.nan_to_num(inspector.evidence(s)).max()) for s in seen)
        poses = [(view.camera, view.cam_from_object) for view in views]
        num_visible = visible_places(inspector.places, inspector.scene, poses)
    return Calibration(
        image_threshold=float(chosen.threshold),
        pixel_threshold=pixel_threshold(maps),
        object_threshold=object_threshold(
            scores / chosen.threshold, decision, config.calibration.views_per_object
        ),
        surface_threshold=surface_threshold,
        visible_places=num_visible,
        **_joined_limits(inspector, usable, maps, float(chosen.threshold), config),
        score_min=float(np.median(pixels)),
        score_max=float(pixels.max()),
        **limits,
        num_normals=len(scores),
        false_reject_bound=float(chosen.bound),
        wanted_false_reject_rate=decision.max_false_reject_rate,
        level_statistics=statistics,
        normal_scores=tuple(float(s) for s in np.sort(scores)),
        sources=_sources(samples, usable),
        expected_residual=expected_residual,
    )


def _sources(samples: list[_Sample], usable: list[_Sample]) -> dict[str, int]:
    """How many normal views were scored from each source, and how many could not be."""
    counts = {'synthetic': 0, 'validation': 0}
    for sample in usable:
        counts[sample.normal.source] += 1
    return {**counts, 'not_usable': len(samples) - len(usable)}


def _expected_residuals(
    inspector: Inspector, usable: list[_Sample], residuals: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Mean normal residual of each Gaussian, and for each sample the one of the other groups.

    The idea of residuals carried by Gaussians is that of 3DGS-Uncertainty (ECCV 2026); here they
    are averaged by back-projection instead of optimised, and they are those of the compared
    levels instead of those of the colour.

    Returns:
        float32 (N,) from all samples, and the rendered maps float32 (H, W).
    """
    from pad_inspection.rendering.renderer import SplatScene

    rendering = inspector.config.rendering
    sums: dict[str, np.ndarray] = {}
    for sample, residual in zip(usable, residuals):
        seen = sample.seen
        weights, weighted = inspector.scene.backproject(
            seen.camera, seen.pose.cam_from_object, np.nan_to_num(residual, nan=0.0)
        )
        group = sums.setdefault(sample.normal.group, np.zeros((2, len(weights))))
        group += np.stack([weights, weighted])
    total = np.sum(list(sums.values()), axis=0)

    def mean_of(pair: np.ndarray) -> np.ndarray:
        # Gaussians that were hardly seen take the mean of all
        overall = pair[1].sum() / max(pair[0].sum(), 1e-9)
        return ((pair[1] + overall) / (pair[0] + 1.0)).astype(np.float32)

    maps = []
    cache: dict[str, SplatScene] = {}
    for sample in usable:
        group = sample.normal.group
        if group not in cache:
            cache[group] = SplatScene(
                inspector.gaussians,
                device=rendering.device,
                threads=rendering.threads,
                uncertainty=mean_of(total - sums[group]),
            )
        seen = sample.seen
        rendered = cache[group].render(seen.camera, seen.pose.cam_from_object)
        maps.append(rendered.uncertainty)
    return mean_of(total), maps


def pixel_threshold(maps: Sequence[np.ndarray]) -> float:
    """Map score that hardly any pixel of normal maps (H, W), NaN = not compared, exceeds."""
    pixels = np.concatenate([m[np.isfinite(m)] for m in maps])
    return float(max(np.quantile(pixels, PIXEL_QUANTILE), 1e-6))


def _joined_limits(
    inspector: Inspector,
    usable: list[_Sample],
    maps: list[np.ndarray],
    image_threshold: float,
    config: BuildConfig,
) -> dict[str, float]:
    """Thresholds of joined maps, none where maps are not joined.

    Views of a real piece are in the same light. Were they all alike, their thresholds would be
    those of a single view; were they independent, those of drawn pieces. The geometric middle is
    taken.
    """
    from pad_inspection.comparison import image_score
    from pad_inspection.joined_views import PosedMap
    from pad_inspection.offline.object_limits import drawn_pieces

    if inspector.joiner is None:
        return {}
    comparison, decision = config.inspection.comparison, config.inspection.decision
    views = [PosedMap(s.seen.camera, s.seen.pose.cam_from_object, m) for s, m in zip(usable, maps)]
    groups = [s.normal.group for s in usable]
    joined, scores = [], []
    for chosen in drawn_pieces(groups, config.calibration.views_per_object):
        of_piece = inspector.joiner.join([views[i] for i in chosen])
        scores.append(max(image_score(m, comparison) for m in of_piece))
        joined += of_piece
    drawn = float(np.quantile(scores, 1 - decision.max_false_reject_rate))
    return {
        'joined_pixel_threshold': math.sqrt(pixel_threshold(joined) * pixel_threshold(maps)),
        'joined_image_threshold': math.sqrt(drawn * image_threshold),
    }


def _pose_limits(usable: list[_Sample]) -> dict[str, float | int]:
    """Limits on poses from the good ones: relaxed, but for what makes a pose sure."""
    least = min(s.seen.agreement for s in usable)
    ious = [s.seen.silhouette_iou for s in usable if math.isfinite(s.seen.silhouette_iou)]
    sharp = [s.seen.sharpness for s in usable if math.isfinite(s.seen.sharpness)]
    keep = 1 - POSE_LIMIT_SLACK
    return {
        'min_inliers': math.floor(min(s.seen.pose.num_inliers for s in usable) * keep),
        'min_silhouette_iou': float(min(ious, default=0.0) * keep),
        'min_agreement': float(least - POSE_LIMIT_SLACK),
        'sure_agreement': float(least),
        'min_sharpness': float(np.clip(min(sharp, default=0.0) * keep, *SHARPNESS_LIMITS)),
    }
