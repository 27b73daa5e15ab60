"""From messages to frames: distortion models, binning, region of interest."""

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from pad_inspection import geometry, images
from pad_inspection.datatypes import Camera
from pad_inspection.ros import conversions
from pad_inspection.ros.frame_building import build_frame

SIZE = 96
K = np.array([[80.0, 0, 47.5], [0, 82.0, 46.0], [0, 0, 1]])  # first pixel's centre at (0, 0)
RADIAL = [-0.2, 0.05, 0.001, -0.002, 0.01]


def picture():
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), (0, 0), 2)


def message(image, stamp=1):
    return conversions.array_to_image(image, 'rgb8', Header(stamp=Time(sec=stamp)))


def info(model='plumb_bob', d=(), **changes):
    values = {'width': SIZE, 'height': SIZE, 'distortion_model': model, 'd': list(d)}
    return CameraInfo(k=K.ravel(), **(values | changes))


def build(image, camera_info, rectified=False):
    return build_frame(image, camera_info, camera_name='c', object_id='o', rectified=rectified)


def test_plain_frame():
    frame = build(message(picture()), info())
    np.testing.assert_array_equal(frame.image, picture())
    assert (frame.camera_name, frame.object_id, frame.stamp_ns) == ('c', 'o', 10**9)
    np.testing.assert_allclose(frame.camera.K[:2, 2], [48.0, 46.5])


def test_rational_model_with_zero_denominator_terms_equals_plumb_bob():
    plain = build(message(picture()), info(d=RADIAL))
    assert plain.camera.distortion[0] == -0.2
    wanted, _ = images.undistort(plain.image, plain.camera)
    rational = build(message(picture()), info('rational_polynomial', [*RADIAL, 0, 0, 0]))
    assert not rational.camera.distortion.any()
    difference = np.abs(rational.image.astype(int) - wanted.astype(int))[4:-4, 4:-4]
    assert difference.max() <= 2


def test_fisheye_is_rectified():
    d = [0.1, -0.02, 0.0, 0.0]
    # where points of the rectified image come from, by the model's own definition
    x, y = (60.0 - K[0, 2]) / K[0, 0], (30.0 - K[1, 2]) / K[1, 1]
    r = np.hypot(x, y)
    theta = np.arctan(r)
    scale = (theta + d[0] * theta**3 + d[1] * theta**5) / r
    u, v = K[0, 0] * x * scale + K[0, 2], K[1, 1] * y * scale + K[1, 2]
    source = np.zeros((SIZE, SIZE, 3), np.uint8)
    cv2.circle(source, (round(u), round(v)), 4, (255, 255, 255), -1)
    frame = build(message(source), info('equidistant', d))
    ys, xs = np.nonzero(frame.image[..., 0] > 128)
    assert abs(xs.mean() - 60) < 1 and abs(ys.mean() - 30) < 1


def test_binning_and_region_of_interest():
    """Points of the belt project to the same place of the sensor."""
    point = np.array([[0.1, -0.05, 1.0]])
    whole = conversions.camera_from_info(info(), rectified=False)
    u, v = geometry.project(whole, point)[0]
    roi = RegionOfInterest(x_offset=16, y_offset=8, width=64, height=80)
    cropped = conversions.camera_from_info(
        info(roi=roi, binning_x=2, binning_y=4), rectified=False
    )
    assert (cropped.width, cropped.height) == (32, 20)
    np.testing.assert_allclose(
        geometry.project(cropped, point)[0], [(u - 16) / 2, (v - 8) / 4], atol=1e-9
    )


@pytest.mark.parametrize(
    ('image', 'camera_info', 'words'),
    [
        (message(picture(), stamp=0), info(), 'no stamp'),
        (message(picture(), stamp=-5), info(), 'no stamp'),
        (message(picture()[:50]), info(), 'CameraInfo says 96x96'),
        (message(picture()), info('thin_prism', [1.0]), 'thin_prism'),
        (message(picture()), info('equidistant', [1.0] * 5), '5 distortion coefficients'),
        (message(picture()), info('rational_polynomial', [np.nan] * 8), 'NaN'),
        (message(picture()), info(d=[np.inf] * 5), 'NaN or infinity'),
        (message(picture()), info(roi=RegionOfInterest(width=5, height=5)), 'says 5x5'),
        (message(picture()), info(binning_x=2**32 - 1, binning_y=1), 'camera size 0x96'),
    ],
)
def test_what_cannot_be_used_is_told(image, camera_info, words):
    with pytest.raises(ValueError, match=words):
        build(image, camera_info)


def test_camera_of_the_pipeline_has_no_distortion_when_rectified():
    P = np.zeros((3, 4))
    P[:, :3] = K
    frame = build(message(picture()), info('equidistant', [9.0] * 4, p=P.ravel()), rectified=True)
    assert isinstance(frame.camera, Camera) and not frame.camera.distortion.any()
