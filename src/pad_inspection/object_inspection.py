"""All views of one object: poses that cameras confirm to one another, and joined anomaly maps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from pad_inspection import images
from pad_inspection.comparison import image_score
from pad_inspection.datatypes import (
    AnomalyRegion,
    Frame,
    Inspection,
    PoseEstimate,
    PoseStatus,
    Reason,
    Rigid3,
    Verdict,
)
from pad_inspection.joined_views import PosedMap
from pad_inspection.localization.multi_view import RigPose, agreeing_poses
from pad_inspection.pipeline import Inspector
from pad_inspection.regions import find_regions
from pad_inspection.rendering.pose_refiner import verify_pose


def inspect_object(
    inspector: Inspector, frames: Sequence[Frame], cam_from_rig: Sequence[Rigid3]
) -> list[Inspection]:
    """Inspect all views of one object.

    The pose that most views agree on is tried in every view that was not localised or contradicts
    it. Each view must still verify it in its own picture; one that does not stays undetermined.

    Args:
        inspector: the model.
        frames: the views.
        cam_from_rig: of each view: fixed cameras, or one camera and a turntable; the object does
            not move in the rig's frame.

    Returns:
        An inspection for each frame, in order.

    Raises:
        ValueError: the numbers of frames and poses differ.
    """
    if len(frames) != len(cam_from_rig):
        raise ValueError(f'{len(frames)} frames, but {len(cam_from_rig)} camera poses')
    found = [inspector.inspect(frame) for frame in frames]
    groups = _groups(inspector, found, cam_from_rig)
    if not groups:
        return found
    agreed = groups[0]
    tied = len(groups) > 1 and len(groups[1].views) == len(agreed.views)
    if tied:
        agreed = max(groups, key=lambda group: _explained(inspector, frames, cam_from_rig, group))
    for index, frame in enumerate(frames):
        if index in agreed.views:
            continue
        first = agreed.views[0]
        known = found[first].pose, cam_from_rig[first]
        again = _confirmed(inspector, frame, cam_from_rig[index], agreed, known)
        if again is not None:
            found[index] = again
        elif found[index].pose.status == PoseStatus.LOCALIZED:
            found[index] = _contradicted(found[index], len(agreed.views))
    return found


def join_inspections(inspector: Inspector, inspections: Sequence[Inspection]) -> list[Inspection]:
    """Give the inspections of one object their joined maps and scores.

    Args:
        inspector: the model that inspected them.
        inspections: of the object's views, in any order. Those without a map stay as they are, and
            so do all when there is one map only, or when the options join none.

    Returns:
        An inspection for each, in order, with the regions of the joined map, and what they say of
        the piece together. Verdicts stay those of each view alone.
    """
    compared = [i for i, one in enumerate(inspections) if one.anomaly_map is not None]
    joined = list(inspections)
    if inspector.joiner is None or len(compared) < 2:
        return joined
    begin = time.perf_counter()
    maps = inspector.joiner.join([posed_map(inspections[i]) for i in compared])
    each_ms = (time.perf_counter() - begin) * 1e3 / len(compared)
    scores = [image_score(m, inspector.config.comparison) for m in maps]
    together = piece_ratio(inspector, [inspections[i] for i in compared], scores)
    for index, joined_map, score in zip(compared, maps, scores):
        own = inspections[index]
        joined[index] = dataclasses.replace(
            own,
            joined_map=joined_map,
            joined_score=score,
            piece_score=together,
            piece_views=len(compared),
            regions=_joined_regions(inspector, own, joined_map),
            timings_ms={**own.timings_ms, 'join': each_ms},
        )
    return joined


def piece_ratio(
    inspector: Inspector, inspections: Sequence[Inspection], joined_scores: Sequence[float]
) -> float:
    """What the joined maps say of their piece: Inspection.piece_score.

    Args:
        inspector: the model.
        inspections: of the piece's views.
        joined_scores: image score of the joined map of each.
    """
    limit = inspector.calibration.joined_image_threshold * inspector.config.decision.margin
    judged = [
        score
        for one, score in zip(inspections, joined_scores, strict=True)
        if one.verdict != Verdict.UNDETERMINED
    ]
    return max(judged) / limit if judged and limit > 0 else float('nan')


def _joined_regions(
    inspector: Inspector, own: Inspection, joined_map: np.ndarray
) -> tuple[AnomalyRegion, ...]:
    """Regions of a joined map; the view's own where the model has no threshold for joined maps."""
    threshold = inspector.calibration.joined_pixel_threshold
    if not threshold > 0:
        return own.regions
    _, _, depth = inspector.scene.draw(own.camera, own.pose.cam_from_object, depth=True)
    return find_regions(
        joined_map,
        threshold,
        inspector.config.comparison.min_region_px,
        depth=depth,
        camera=own.camera,
        cam_from_object=own.pose.cam_from_object,
    )


def posed_map(inspection: Inspection) -> PosedMap:
    """The map of an inspection with its place."""
    return PosedMap(inspection.camera, inspection.pose.cam_from_object, inspection.anomaly_map)


def inspect_from_others(
    inspector: Inspector,
    frame: Frame,
    cam_from_rig: Rigid3,
    others: Sequence[tuple[PoseEstimate, Rigid3]],
) -> Inspection | None:
    """Inspect a view that was not localised from where other views saw the object then.

    Args:
        inspector: the model.
        frame: the view.
        cam_from_rig: its camera.
        others: pose of each other view at the same moment, and its camera in the rig.

    Returns:
        None when the others do not agree on a pose, or the picture does not confirm it.
    """
    rig = [camera for _, camera in others]
    groups = _agreeing(inspector, dict(enumerate(pose for pose, _ in others)), rig)
    if not groups or (len(groups) > 1 and len(groups[1].views) == len(groups[0].views)):
        return None
    return _confirmed(inspector, frame, cam_from_rig, groups[0], others[groups[0].views[0]])


def _confirmed(
    inspector: Inspector,
    frame: Frame,
    cam_from_rig: Rigid3,
    agreed: RigPose,
    known: tuple[PoseEstimate, Rigid3],
) -> Inspection | None:
    """Inspection from a pose in the rig; None when the view does not end at that pose.

    Args:
        inspector: the model.
        frame: the view.
        cam_from_rig: its camera.
        agreed: the pose.
        known: one of the views that agree on it, and its camera.
    """
    again = inspector.inspect(frame, agreed.cam_from_object(cam_from_rig))
    together = _agreeing(inspector, {0: again.pose, 1: known[0]}, [cam_from_rig, known[1]])
    return again if len(together) == 1 and len(together[0].views) == 2 else None


def _groups(
    inspector: Inspector, found: Sequence[Inspection], cam_from_rig: Sequence[Rigid3]
) -> list[RigPose]:
    """Poses in the rig that the localised views stand for, best supported first."""
    return _agreeing(inspector, {i: one.pose for i, one in enumerate(found)}, cam_from_rig)


def _agreeing(
    inspector: Inspector, poses: dict[int, PoseEstimate], cam_from_rig: Sequence[Rigid3]
) -> list[RigPose]:
    """As agreeing_poses, of those estimates that are localised."""
    located = {i: p for i, p in poses.items() if p.status == PoseStatus.LOCALIZED}
    return agreeing_poses(
        {i: p.cam_from_object for i, p in located.items()},
        cam_from_rig,
        inspector.scene.center,
        {i: float(np.nan_to_num(p.confidence)) for i, p in located.items()},
    )


def _explained(
    inspector: Inspector,
    frames: Sequence[Frame],
    cam_from_rig: Sequence[Rigid3],
    group: RigPose,
) -> float:
    """How well a pose in the rig explains all pictures together: sum of the agreements."""
    total = 0.0
    for frame, pose in zip(frames, cam_from_rig):
        picture, camera = images.undistort(frame.image, frame.camera)
        proposal = group.cam_from_object(pose)
        total += verify_pose(inspector.scene, picture, None, camera, proposal)[0]
    return total


def _contradicted(inspection: Inspection, num_views: int) -> Inspection:
    """An inspection whose pose the other views contradict: not localised."""
    message = (
        f'the pose of this view contradicts that of {num_views} other view(s), which its picture '
        'does not confirm'
    )
    return dataclasses.replace(
        inspection,
        verdict=Verdict.UNDETERMINED,
        reason=Reason.NOT_LOCALIZED,
        message=message,
        pose=PoseEstimate(PoseStatus.POSE_REJECTED, message=message),
        score=float('nan'),
        anomaly_map=None,
        surface=None,
        reference=None,
        rendered_alpha=None,
        regions=(),
    )
