import numpy as np
import pytest

from pad_inspection.calibration import Calibration
from pad_inspection.datatypes import PoseEstimate, PoseStatus
from pad_inspection.geometry import identity
from pad_inspection.pose_confidence import pose_confidence

LIMITS = Calibration(
    1.0, 1.0, min_inliers=80, min_silhouette_iou=0.6, min_agreement=0.5, sure_agreement=0.7
)


def pose(inliers, rms_px):
    return PoseEstimate(
        PoseStatus.LOCALIZED, identity(), np.zeros((inliers, 2)), np.zeros((inliers, 3)),
        np.ones(inliers, bool), rms_px,
    )  # fmt: skip


def confidence(estimate, agreement, iou):
    return pose_confidence(estimate, agreement, iou, LIMITS, 4.0)


def test_at_the_limits_there_is_none_and_as_normal_views_are_it_is_full():
    assert confidence(pose(80, 4.0), 0.5, 0.6) == pytest.approx(0)
    assert confidence(pose(160, 0.0), 0.7, 1.0) == pytest.approx(1)
    # render half way; IoU 0.8, 120 inliers and 2 px are half way as well
    assert confidence(pose(120, 2.0), 0.6, 0.8) == pytest.approx(0.5)


@pytest.mark.parametrize('weaker', ['inliers', 'error', 'agreement', 'iou'])
def test_each_witness_counts(weaker):
    values = {'inliers': 150, 'error': 1.0, 'agreement': 0.68, 'iou': 0.9}
    strong = confidence(pose(values['inliers'], values['error']), values['agreement'], 0.9)
    values[weaker] = {'inliers': 90, 'error': 3.0, 'agreement': 0.55, 'iou': 0.65}[weaker]
    weak = confidence(pose(values['inliers'], values['error']), values['agreement'], values['iou'])
    assert weak < strong


def test_what_is_not_known_is_left_out():
    # a pose from another camera, no segmentation: the render alone
    handed_over = PoseEstimate(PoseStatus.LOCALIZED, identity())
    assert confidence(handed_over, 0.65, float('nan')) == pytest.approx(0.75)
    assert confidence(handed_over, 0.65, 0.6) == pytest.approx(0.375)


def test_a_model_without_limits_gives_a_number():
    unset = Calibration(float('nan'), float('nan'))
    assert 0 <= pose_confidence(pose(100, 1.0), 0.8, 0.9, unset, 4.0) <= 1
