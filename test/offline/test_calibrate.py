import numpy as np
import pytest

from pad_inspection.datatypes import Camera, Frame, PoseEstimate, PoseStatus
from pad_inspection.geometry import identity
from pad_inspection.observation import Observation
from pad_inspection.offline.calibrate import (
    POSE_LIMIT_SLACK,
    SHARPNESS_LIMITS,
    NormalFrame,
    _pose_limits,
    _Sample,
)

PICTURE = np.zeros((8, 8, 3), np.uint8)
CAMERA = Camera(8, 8, np.array([[8.0, 0, 4], [0, 8, 4], [0, 0, 1]]))


def sample(inliers=100, agreement=0.9, iou=0.95, sharpness=1.0):
    """A normal view as the pipeline saw it."""
    pose = PoseEstimate(
        PoseStatus.LOCALIZED, identity(), np.zeros((inliers, 2)), np.zeros((inliers, 3)),
        np.ones(inliers, bool),
    )  # fmt: skip
    seen = Observation(
        pose, PICTURE, CAMERA, silhouette_iou=iou, agreement=agreement, sharpness=sharpness
    )
    return _Sample(NormalFrame(Frame(PICTURE, CAMERA), 'a', 'synthetic', None), seen, 0.0)


def test_limits_on_poses_are_below_the_worst_normal_view():
    limits = _pose_limits([sample(120, 0.8, 0.9, 0.9), sample(100, 0.9, 0.8, 0.66)])
    keep = 1 - POSE_LIMIT_SLACK
    assert limits['min_inliers'] == int(100 * keep)
    assert limits['min_silhouette_iou'] == pytest.approx(0.8 * keep)
    assert limits['min_agreement'] == pytest.approx(0.8 - POSE_LIMIT_SLACK)
    assert limits['sure_agreement'] == pytest.approx(0.8)
    assert limits['min_sharpness'] == pytest.approx(0.66 * keep)


@pytest.mark.parametrize(('sharpness', 'wanted'), [(0.3, 0), (1.3, 1), (float('nan'), 0)])
def test_the_limit_on_sharpness_stays_between_its_bounds(sharpness, wanted):
    limits = _pose_limits([sample(sharpness=sharpness), sample(sharpness=sharpness)])
    assert limits['min_sharpness'] == SHARPNESS_LIMITS[wanted]


def test_a_view_without_a_sharpness_does_not_count():
    limits = _pose_limits([sample(sharpness=float('nan')), sample(sharpness=0.7)])
    assert limits['min_sharpness'] == pytest.approx(0.7 * (1 - POSE_LIMIT_SLACK))
