"""Cameras of photographs from the photographs alone, or a reason why not.

    features -> pairs that look alike -> incremental mapping -> silhouettes agree? -> metres

A wrong map can fit its matches to a pixel: where parts repeat, different sides of the object are
laid on top of each other. What tells is the outline: from all cameras together the silhouettes
leave a shape, and with a wrong camera that shape no longer fills its own silhouette. Photographs
that disagree are taken out and the rest is mapped again; when too few are left, there is no
result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pad_inspection import images
from pad_inspection.config import LocalizationConfig
from pad_inspection.dataset import TrainingView
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import camera_center, directions_around
from pad_inspection.localization.features import create_extractor
from pad_inspection.localization.incremental import IncrementalModel, map_incrementally
from pad_inspection.localization.matching import create_matcher, mutual_neighbors
from pad_inspection.localization.threads import torch_threads
from pad_inspection.offline.build_model import ModelTooPoorError, ViewFeatures, extract_view
from pad_inspection.offline.photographs.options import PhotographsConfig
from pad_inspection.offline.photographs.pairs import make_thumbnail, match_pairs
from pad_inspection.offline.photographs.scale import KnownScale, metres_per_unit
from pad_inspection.offline.silhouettes import Silhouette, agreed_hull, contains, covered

logger = logging.getLogger(__name__)

_ROUNDS = 3
_OBJECT_ALPHA = 0.5
# Directions that a camera within this angle sees count as covered.
_SEEN_DEG = 30.0
_NUM_DIRECTIONS = 1000


@dataclass(frozen=True)
class EstimatedCameras:
    """Cameras of photographs.

    Attributes:
        camera: intrinsics, with distortion when it was estimated.
        poses: cam_from_object by photograph's name, m; the origin is the middle of the object.
        report: photographs, registered, left_out (name -> why), num_points, mean_track_length,
            mean_reprojection_error_px, covered (least and median share of a silhouette that the
            common shape fills), seen_directions (share of all directions), focal_px.
    """

    camera: Camera
    poses: dict[str, Rigid3]
    report: dict


@dataclass(frozen=True)
class _Judged:
    """What the silhouettes say about a model."""

    hull: np.ndarray  # (N, 3), model units; empty = they do not agree at all
    covered: dict[int, float]  # share of the silhouette by photograph
    faults: dict[int, str]


def estimate_cameras(
    views: list[TrainingView],
    known: KnownScale,
    config: PhotographsConfig,
    localization: LocalizationConfig,
    work_dir: Path,
    *,
    fixed_intrinsics: bool,
    seed: int = 0,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
    device: str = 'cpu',
) -> EstimatedCameras:
    """Cameras of views whose poses are not known.

    Args:
        views: pictures without background, all with the same camera; their poses are ignored.
        known: a length.
        config: options.
        localization: local features and matcher.
        work_dir: for temporary files of mapping.
        fixed_intrinsics: the cameras' intrinsics are known; else the focal length and one
            coefficient of the lens are estimated, from the given ones.
        seed: of everything random.
        progress: called with the share that is done and a text.
        device: torch device of the networks.

    Raises:
        ModelTooPoorError: too few photographs fit together, or what they give contradicts their
            silhouettes; the message says which and what to do.
        ValueError: the known length refers to a photograph without a camera.
    """
    with torch_threads(1):
        extractor = create_extractor(localization, device)
        photos, thumbnails, masks = [], [], []
        for number, view in enumerate(views):
            progress(0.4 * number / len(views), f'features of photograph {number + 1}')
            image, alpha = view.load()
            photos.append(extract_view(view, extractor, localization.crop_px))
            thumbnails.append(make_thumbnail(image, alpha))
            masks.append(alpha > _OBJECT_ALPHA)
        verified = match_pairs(
            photos,
            thumbnails,
            mutual_neighbors(localization),
            create_matcher(localization, device),
            config,
            seed=seed,
            progress=lambda f, text: progress(0.4 + 0.3 * f, text),
        )
    left_out: dict[int, str] = {}
    for round_ in range(_ROUNDS):
        progress(0.7 + 0.1 * round_, f'mapping, round {round_ + 1}')
        model = _best_model(photos, verified, work_dir, fixed_intrinsics, seed)
        judged = _judge(model, masks, config)
        _check(model, judged, photos, left_out, config)
        if not judged.faults:
            break
        left_out |= judged.faults
        verified = {p: v for p, v in verified.items() if not set(p) & set(left_out)}
    for index in set(range(len(views))) - set(model.poses) - set(left_out):
        left_out[index] = 'too few matches with the other photographs'
    kept = {i: pose for i, pose in model.poses.items() if i not in left_out}
    names = {i: views[i].name for i in kept}
    unit = metres_per_unit(
        known, model.camera, {names[i]: p for i, p in kept.items()}, model.points, judged.hull
    )
    middle = (judged.hull.min(axis=0) + judged.hull.max(axis=0)) / 2
    poses = {
        names[i]: Rigid3(p.rotation, unit * (p.rotation @ middle + p.translation))
        for i, p in kept.items()
    }
    report = {
        'photographs': len(views),
        'registered': len(poses),
        'left_out': {views[i].name: why for i, why in sorted(left_out.items())},
        'num_points': len(model.points),
        'mean_track_length': len(model.observations) / max(len(model.points), 1),
        'mean_reprojection_error_px': float(model.errors_px.mean()),
        'covered': {
            'least': min(judged.covered.values()),
            'median': float(np.median(list(judged.covered.values()))),
        },
        'seen_directions': seen_directions(list(poses.values())),
        'focal_px': float(model.camera.K[0, 0]),
    }
    return EstimatedCameras(model.camera, poses, report)


def seen_directions(poses: list[Rigid3]) -> float:
    """Share of all directions around the origin that a camera sees within 30 degrees."""
    directions = directions_around(_NUM_DIRECTIONS)
    rays = np.stack([camera_center(pose) for pose in poses])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    return float(((directions @ rays.T).max(axis=1) > np.cos(np.radians(_SEEN_DEG))).mean())


def _best_model(
    photos: list[ViewFeatures], verified: dict, work_dir: Path, fixed: bool, seed: int
) -> IncrementalModel:
    """The largest model; raises when there is none."""
    models = map_incrementally(
        [photo.file_name for photo in photos],
        [photo.keypoints for photo in photos],
        photos[0].camera,
        verified,
        work_dir,
        refine_intrinsics=not fixed,
        seed=seed,
    )
    if not models:
        raise ModelTooPoorError(
            f'no two of the {len(photos)} photographs could be joined ({len(verified)} pairs '
            'match): take them closer to each other (10 to 15 degrees), sharp and well lit'
        )
    return models[0]


def _judge(model: IncrementalModel, masks: list[np.ndarray], config: PhotographsConfig) -> _Judged:
    """Compare the silhouettes with the shape that they leave together."""
    silhouettes = {}
    for index, pose in model.poses.items():
        mask, camera = images.undistort(masks[index].astype(np.uint8), model.camera)
        silhouettes[index] = Silhouette(camera, pose, mask > 0)
    hull = agreed_hull(list(silhouettes.values()), min(8, len(silhouettes)), config.min_covered)
    if not len(hull):
        return _Judged(hull, {}, {})
    shares, faults = {}, {}
    for index, silhouette in silhouettes.items():
        shares[index] = covered(silhouette, hull)
        outside = 1 - float(contains(silhouette, hull).mean())
        if shares[index] < config.min_covered or outside > config.max_outside:
            faults[index] = (
                f'the common shape fills {shares[index]:.0%} of its silhouette and lies outside '
                f'of it by {outside:.0%}'
            )
    return _Judged(hull, shares, faults)


def _check(
    model: IncrementalModel,
    judged: _Judged,
    photos: list[ViewFeatures],
    left_out: dict[int, str],
    config: PhotographsConfig,
) -> None:
    """Raise a ModelTooPoorError when too little is left of a model."""
    hint = (
        'take the photographs in order with small steps (10 to 15 degrees) and give '
        'sequence_window, use the features aliked with lightglue, or put the product on a marker '
        'board (--board)'
    )
    good = len(model.poses) - len(judged.faults)
    wanted = max(config.min_photos, int(np.ceil(config.min_registered * len(photos))))
    if not len(judged.hull):
        raise ModelTooPoorError(
            f'{len(model.poses)} of {len(photos)} photographs were joined, but no object fits '
            f'their silhouettes: different sides were taken for the same one; {hint}'
        )
    if good < wanted:
        worst = [photos[i].name for i in sorted({**judged.faults, **left_out})][:5]
        raise ModelTooPoorError(
            f'{good} of {len(photos)} photographs fit together, wanted {wanted}; '
            f'{len(model.poses)} could be joined, {len(judged.faults)} of them contradict the '
            f'silhouettes of the others ({", ".join(worst)} ...); {hint}'
        )
    error = float(model.errors_px.mean()) if len(model.errors_px) else float('inf')
    if error > config.max_reprojection_px:
        raise ModelTooPoorError(
            f'mean reprojection error {error:.2f} px, wanted {config.max_reprojection_px:g}: the '
            'focal length is wrong, the photographs are blurred, or the lens distorts'
        )
