import array
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pad_msgs.msg import InspectionResult, ObjectPose, RejectSignal
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from pad_inspection import geometry
from pad_inspection.datatypes import (
    AnomalyRegion,
    Camera,
    Inspection,
    PoseEstimate,
    PoseStatus,
    Reason,
    Rigid3,
    Verdict,
)
from pad_inspection.ros import conversions

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def message(encoding, height, width, step, data, big_endian=0):
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        is_bigendian=big_endian,
        data=array.array('B', data),
    )


@pytest.mark.parametrize(
    ('encoding', 'picture'),
    [
        ('rgb8', RGB),
        ('bgr8', RGB[..., ::-1]),
        ('rgba8', np.dstack([RGB, RGB[..., 0]])),
        ('bgra8', np.dstack([RGB[..., ::-1], RGB[..., 0]])),
    ],
)
def test_colour_encodings_become_rgb(encoding, picture):
    image = conversions.array_to_image(np.ascontiguousarray(picture), encoding, Header())
    np.testing.assert_array_equal(conversions.image_to_rgb(image), RGB)


def test_grey_becomes_rgb():
    image = conversions.array_to_image(RGB[..., 1], 'mono8', Header())
    np.testing.assert_array_equal(
        conversions.image_to_rgb(image), np.repeat(RGB[..., 1:2], 3, axis=2)
    )


def test_row_padding_is_skipped_and_the_last_row_may_lack_it():
    padded = np.zeros((5, 24), np.uint8)
    padded[:, :21] = RGB.reshape(5, 21)
    data = padded.tobytes()
    for cut in (len(data), len(data) - 3):
        image = message('rgb8', 5, 7, 24, data[:cut])
        np.testing.assert_array_equal(conversions.image_to_rgb(image), RGB)


def test_big_endian_and_float_arrays():
    values = np.array([[1.5, -2.0], [np.nan, 4.0]], np.float32)
    image = message('32FC1', 2, 2, 8, values.astype('>f4').tobytes(), big_endian=1)
    np.testing.assert_array_equal(conversions.image_to_array(image), values)
    again = conversions.array_to_image(values, '32FC1', Header(frame_id='cam'))
    assert (again.step, again.header.frame_id, again.is_bigendian) == (8, 'cam', 0)
    np.testing.assert_array_equal(conversions.image_to_array(again), values)


@pytest.mark.parametrize(
    ('image', 'words'),
    [
        (message('rgb8', 0, 0, 0, b''), 'size is 0x0'),
        (message('rgb8', 5, 0, 0, b''), 'size is 0x5'),
        (message('rgb8', 2**32 - 1, 2**32 - 1, 3, b''), 'size is'),
        (message('rgb8', 4, 4, 12, bytes(47)), 'step 12 and 47 bytes'),
        (message('rgb8', 4, 4, 11, bytes(48)), 'wanted step >= 12'),
        (message('rgb8', 4, 4, 2**32 - 1, bytes(48)), 'bytes'),
        (message('yuv444', 4, 4, 12, bytes(48)), 'yuv444'),
        (message('', 4, 4, 8, bytes(32)), "''"),
        (message('32FC1', 4, 4, 16, bytes(64)), '32FC1'),
    ],
)
def test_unusable_images_say_why(image, words):
    with pytest.raises(ValueError, match=words):
        conversions.image_to_rgb(image)


def test_compressed_images():
    ok, data = cv2.imencode('.png', RGB[..., ::-1])
    assert ok
    image = CompressedImage(format='png', data=array.array('B', data.tobytes()))
    np.testing.assert_array_equal(conversions.image_to_rgb(image), RGB)
    for broken in (b'', b'no picture', data.tobytes()[:20]):
        with pytest.raises(ValueError, match='cannot be decoded'):
            conversions.image_to_rgb(CompressedImage(data=array.array('B', broken)))


def test_array_must_fit_its_encoding():
    with pytest.raises(ValueError, match='does not fit'):
        conversions.array_to_image(RGB.astype(np.float32), 'rgb8', Header())


def test_camera_info_moves_the_pixel_origin_by_half_a_pixel():
    camera = Camera(400, 300, np.array([[700.0, 0, 200.0], [0, 710, 150.5], [0, 0, 1]]))
    info = conversions.camera_to_info(camera, Header())
    assert info.k[2] == 199.5 and info.p[6] == 150.0 and info.p[3] == 0.0


def test_pose_round_trip_and_quaternion_order():
    pose = Rigid3(geometry.rotation_from_axis_angle([0.3, -0.5, 1.1]), np.array([0.1, 0.2, 0.9]))
    again = conversions.pose_from_message(conversions.pose_to_message(pose))
    np.testing.assert_allclose(again.rotation, pose.rotation, atol=1e-12)
    np.testing.assert_allclose(again.translation, pose.translation)
    half_turn = Rigid3(np.diag([1.0, -1, -1]), np.zeros(3))
    assert abs(conversions.pose_to_message(half_turn).orientation.x) == pytest.approx(1.0)


def test_stamps():
    stamp = conversions.stamp_of_ns(1_700_000_000_123_456_789)
    assert (stamp.sec, stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert conversions.stamp_to_ns(stamp) == 1_700_000_000_123_456_789


def test_result_message_and_back():
    alpha = np.zeros((20, 30), np.float32)
    alpha[4:10, 5:25] = 1
    regions = tuple(AnomalyRegion((1, 2, 4, 8), 9, 3.0 - i / 100, 2.0) for i in range(80))
    inspection = Inspection(
        Verdict.REJECT,
        Reason.ANOMALY,
        'red',
        pose=PoseEstimate(PoseStatus.LOCALIZED, geometry.identity(), confidence=0.75),
        score=3.0,
        threshold=2.0,
        inspected_fraction=0.5,
        regions=regions,
        rendered_alpha=alpha,
        timings_ms={'localize': 12.5, 'render': 3.0},
        camera_name='left',
        object_id='p1',
        surface=np.array([0.5, np.nan, 1.25], np.float32),
        piece_score=0.75,
        piece_views=3,
    )
    result = conversions.result_to_message(
        inspection, Header(frame_id='left_optical_frame'), inspection_id='i', seconds=1.25
    )
    assert (result.verdict, result.reason) == (2, 1)
    assert (result.roi.x_offset, result.roi.y_offset) == (5, 4)
    assert (result.roi.width, result.roi.height) == (20, 6)
    assert len(result.regions) == conversions.MAX_REGIONS
    assert result.regions[0].roi.width == 3 and np.isnan(result.regions[0].peak_position.x)
    assert result.pose.status == ObjectPose.STATUS_LOCALIZED
    assert result.pose.confidence == pytest.approx(0.75)
    assert (result.processing_time.sec, result.processing_time.nanosec) == (1, 250_000_000)
    assert list(result.step_names) == ['localize', 'render']
    view = conversions.view_result_of_message(result)
    assert view.verdict == Verdict.REJECT and view.camera_name == 'left'
    assert view.ratio == pytest.approx(1.5)
    np.testing.assert_array_equal(view.surface, [0.5, np.nan, 1.25])
    assert (view.piece_score, view.piece_views) == (0.75, 3)
    alone = replace(inspection, surface=None, piece_score=float('nan'), piece_views=0)
    result = conversions.result_to_message(alone, Header(), inspection_id='i')
    view = conversions.view_result_of_message(result)
    assert view.surface is None and np.isnan(view.piece_score) and view.piece_views == 0


def test_every_status_has_a_code_and_defaults_are_safe():
    assert set(conversions.POSE_STATUS) == set(PoseStatus)
    assert InspectionResult().verdict == InspectionResult.VERDICT_UNDETERMINED
    assert RejectSignal().reject is True
    for verdict in Verdict:
        assert getattr(InspectionResult, f'VERDICT_{verdict.name}') == verdict
    for reason in Reason:
        assert getattr(InspectionResult, f'REASON_{reason.name}') == reason


@pytest.mark.parametrize(
    'values',
    [
        {'verdict': 77},
        {'verdict': 1, 'anomaly_score': np.nan},
        {'verdict': 1, 'anomaly_score': 1.0, 'threshold': 2.0, 'surface': [0.1, np.inf]},
    ],
)
def test_nonsense_in_a_result_is_undetermined(values):
    view = conversions.view_result_of_message(InspectionResult(**values))
    assert view.verdict == Verdict.UNDETERMINED
