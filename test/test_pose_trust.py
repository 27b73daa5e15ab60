import numpy as np
import pytest

from pad_inspection.calibration import Calibration
from pad_inspection.config import InspectionConfig
from pad_inspection.datatypes import PoseEstimate, PoseStatus
from pad_inspection.geometry import identity
from pad_inspection.observation import RefinedPose
from pad_inspection.pose_trust import evidence, match_coverage, pose_confidence, pose_fault

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


def fault(inliers, agreement, iou, sharpness=1.0, coverage=0.0):
    refined = RefinedPose(pose(inliers, 1.0), agreement, iou, sharpness)
    return pose_fault(refined, InspectionConfig(), LIMITS, coverage)


def test_many_matches_all_over_the_piece_count_as_two_witnesses():
    assert 'overlap' in fault(200, 0.65, 0.3)
    assert fault(200, 0.65, 0.3, coverage=0.8) == ''
    assert 'overlap' in fault(200, 0.65, 0.3, coverage=0.7)  # half may be hidden
    assert 'overlap' in fault(100, 0.65, 0.3, coverage=0.8)  # few matches
    assert 'agree' in fault(200, 0.3, 0.3, coverage=0.8)  # shows something else
    assert 'blurred' in fault(200, 0.65, 0.3, sharpness=0.2, coverage=0.8)


def test_coverage_of_matches_by_hand():
    alpha = np.zeros((100, 100), np.float32)
    alpha[:, 10:90] = 1.0
    y, x = np.mgrid[4:100:8, 14:90:8]
    every = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    assert match_coverage(alpha, every) > 0.95
    half = match_coverage(alpha, every[every[:, 1] < 50])
    assert 0.5 < half < 0.6
    assert match_coverage(alpha, np.array([[-5.0, 200.0]])) == 0.0
    assert match_coverage(alpha, every[:0]) == match_coverage(0 * alpha, every) == 0.0


def test_one_of_three_witnesses_may_fail():
    assert fault(200, 0.9, 0.9) == ''
    assert fault(200, 0.3, 0.9) == ''  # lit from elsewhere
    assert fault(200, 0.9, 0.1) == ''  # not segmented
    assert fault(100, 0.9, 0.9) == ''  # few features
    assert 'agree by 0.30' in fault(100, 0.3, 0.9) and '100 matches' in fault(100, 0.3, 0.9)
    assert 'overlap by 0.10' in fault(100, 0.9, 0.1)
    assert fault(79, 0.9, 0.9) == '79 matches agree with the pose, wanted 80'


def test_what_may_be_hidden_must_look_right():
    assert fault(200, 0.7, 0.9) == ''
    assert 'agree by 0.70, wanted 0.83' in fault(200, 0.7, 0.5)


def test_a_blurred_picture_is_refused_however_well_it_is_localised():
    assert 'blurred' in fault(500, 0.99, 0.99, sharpness=0.4)
    assert fault(500, 0.99, 0.99, sharpness=float('nan')) == ''


def test_without_matches_or_segmentation_all_others_must_hold():
    carried = RefinedPose(PoseEstimate(PoseStatus.LOCALIZED, identity()), 0.9, 0.5, 1.0)
    assert 'overlap' in pose_fault(carried, InspectionConfig(), LIMITS)
    unsegmented = RefinedPose(pose(100, 1.0), 0.9, float('nan'), 1.0)
    assert '100 matches' in pose_fault(unsegmented, InspectionConfig(), LIMITS)


def test_evidence_weighs_all_three():
    right = evidence(pose(600, 1.0), 0.98, 0.88)
    assert right > evidence(pose(430, 1.0), 0.95, 0.90)  # an added part speaks for the other
    assert right > evidence(pose(600, 1.0), 0.98, 0.70)
    assert evidence(pose(300, 1.0), 0.9, float('nan')) > evidence(
        pose(200, 1.0), 0.9, float('nan')
    )
