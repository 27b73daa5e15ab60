"""One number for how far a pose can be trusted, from all that speaks for it."""

from __future__ import annotations

import math

from pad_inspection.calibration import Calibration
from pad_inspection.datatypes import PoseEstimate

# So many times the least inliers of a normal view are as good as any more.
_AMPLE_INLIERS = 2.0


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
