"""Which of several poses explains an image, whether it is to be trusted, and how far.

Three witnesses speak: how well render and image agree, how well the silhouettes overlap, how many
matches agree. A vehicle that looks alike from two sides, light from elsewhere, an added part or a
poor segmentation deceives each of them by itself.
"""

from __future__ import annotations

import math

import numpy as np

from pad_inspection import images
from pad_inspection.calibration import Calibration
from pad_inspection.config import InspectionConfig
from pad_inspection.datatypes import PoseEstimate
from pad_inspection.observation import RefinedPose
from pad_inspection.regions import SILHOUETTE_ALPHA

# So many times the least inliers of a normal view are as good as any more.
_AMPLE_INLIERS = 2.0


# A hypothesis whose evidence is so much below that of the best one is not worth refining.
RIVAL_EVIDENCE = 0.1
# Weight of the logarithm of the inliers beside agreement and silhouette IoU; normal views in other
# light choose alike from 0 to 0.1.
_INLIER_EVIDENCE = 0.1
# So many times the inliers that are asked for make them a witness.
_SURE_INLIERS = 2.0
# Matches within this share of the silhouette's longer side cover a place of it. On 290 normal
# views of six classes they cover 0.89 to 0.99 (medians); those of one half alone cover more than
# the second number in at most 3 of them, and what hides the other half shows as an anomaly then.
_COVER_SHARE, _COVERED = 0.08, 0.75
# What agreement may then lack: it is lowered by light and by added parts, not below this.
_COVERED_SLACK = 0.15
# Where the silhouettes differ, something may hide the object: with any half of it hidden, render
# and image of the line's validation pictures agree by 0.82 at most.
_UNHIDDEN_AGREEMENT = 0.83


def evidence(pose: PoseEstimate, agreement: float, silhouette_iou: float) -> float:
    """How well a pose explains an image, to choose between poses of one image.

    Args:
        pose: with its correspondences.
        agreement: of render and image, -1 to 1.
        silhouette_iou: 0 to 1, NaN without a segmentation (then for all poses).
    """
    iou = silhouette_iou if math.isfinite(silhouette_iou) else 0.0
    return agreement + iou + _INLIER_EVIDENCE * math.log(max(pose.num_inliers, 1))


def match_coverage(alpha: np.ndarray, pixels: np.ndarray) -> float:
    """Share of a silhouette that lies near matches, 0 to 1.

    Args:
        alpha: float32 (H, W), rendered opacity.
        pixels: float (N, 2), of the matches that agree with the pose.
    """
    silhouette = alpha > SILHOUETTE_ALPHA
    box = images.mask_bbox(silhouette)
    if box is None or not len(pixels):
        return 0.0
    height, width = silhouette.shape
    x, y = np.floor(pixels).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    hit = np.zeros(silhouette.shape, bool)
    hit[y[inside], x[inside]] = True
    radius = max(1, round(_COVER_SHARE * max(box[2] - box[0], box[3] - box[1])))
    return float((images.dilate(hit, radius) & silhouette).sum() / silhouette.sum())


def pose_fault(
    refined: RefinedPose,
    config: InspectionConfig,
    calibration: Calibration,
    coverage: float = 0.0,
) -> str:
    """Why a refined pose is not to be trusted; '' when it is.

    One of three witnesses may fail: light from elsewhere, a segmentation that misses a white
    object on a bright belt, or few features. Many matches all over the piece count as two: then
    hardly anything can hide half of it.

    Args:
        refined: with a pose.
        config: least values of a pose.
        calibration: limits learnt from normal views.
        coverage: ``match_coverage`` of the pose; 0 = not known.
    """
    limits, pose = config.refinement, refined.pose
    agreement, iou = refined.agreement, refined.silhouette_iou
    if len(pose.points2d) and pose.num_inliers < calibration.min_inliers:
        return f'{pose.num_inliers} matches agree with the pose, wanted {calibration.min_inliers}'
    least_agreement = max(limits.min_agreement, calibration.min_agreement)
    least_iou = max(limits.min_silhouette_iou, calibration.min_silhouette_iou)
    faults, witnesses = [], 1
    lowest = least_agreement - _COVERED_SLACK
    if math.isfinite(iou):
        witnesses += 1
        if iou < least_iou:
            faults.append(f'the silhouettes overlap by {iou:.2f}, wanted {least_iou:.2f}')
            least_agreement = max(least_agreement, _UNHIDDEN_AGREEMENT)
    if not agreement >= least_agreement:
        faults.append(f'render and image agree by {agreement:.2f}, wanted {least_agreement:.2f}')
    if len(pose.points2d):
        witnesses += 1
        many = _SURE_INLIERS * max(calibration.min_inliers, config.localization.min_inliers)
        if pose.num_inliers < many:
            faults.append(f'{pose.num_inliers} matches agree, wanted {many:.0f}')
        elif coverage >= _COVERED and agreement >= lowest:
            witnesses += 1
    if len(faults) <= max(0, witnesses - 2):
        faults = []
    if refined.sharpness < calibration.min_sharpness:
        faults.append(
            f'the image is blurred: its edges have {refined.sharpness:.0%} of the slope that they '
            f'should have, wanted {calibration.min_sharpness:.0%}'
        )
    return ', '.join(faults)


def pose_confidence(
    pose: PoseEstimate,
    agreement: float,
    silhouette_iou: float,
    calibration: Calibration,
    ransac_threshold_px: float,
) -> float:
    """Confidence of a verified pose, 0 to 1.

    Each witness counts from 0 at the limit below which calibration refuses a pose to 1 where
    normal views are; the render's agreement weighs as much as the others together, since only it
    looks at the whole object. Witnesses that are not there (no segmentation, a pose that came
    from another camera) are left out.

    Args:
        pose: with its correspondences.
        agreement: of render and image, -1 to 1.
        silhouette_iou: 0 to 1, NaN without a segmentation.
        calibration: limits learnt from normal views.
        ransac_threshold_px: reprojection error of an inlier at most.
    """
    others = []
    if math.isfinite(silhouette_iou):
        others.append(_share(silhouette_iou, calibration.min_silhouette_iou, 1.0))
    if len(pose.points2d):
        least = max(calibration.min_inliers, 1)
        others.append(_share(pose.num_inliers, least, _AMPLE_INLIERS * least))
        others.append(_share(-pose.reprojection_error_px, -ransac_threshold_px, 0.0))
    render = _share(agreement, calibration.min_agreement, calibration.sure_agreement)
    if not others:
        return render
    return 0.5 * render + 0.5 * sum(others) / len(others)


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, 0 to 1."""
    if high <= low:
        return float(value >= high)
    return min(max((value - low) / (high - low), 0.0), 1.0)
