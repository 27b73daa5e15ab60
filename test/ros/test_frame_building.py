"""From messages to frames: distortion models, sizes, grey images."""

import array

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, RegionOfInterest
from std_msgs.msg import Header

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


def test_rational_model_with_its_own_terms_is_rectified():
    """Its denominator 1 + k r^2 undoes the same factor above it."""
    plain = build(message(picture()), info(d=RADIAL))
    assert plain.camera.distortion[0] == -0.2
    rational = build(message(picture()), info('rational_polynomial', [*RADIAL, 0, 0, 0]))
    np.testing.assert_array_equal(rational.camera.distortion, plain.camera.distortion)
    undone = build(message(picture()), info('rational_polynomial', [0.3, 0, 0, 0, 0, 0.3, 0, 0]))
    assert not undone.camera.distortion.any()
    difference = np.abs(undone.image.astype(int) - picture())[4:-4, 4:-4]
    assert difference.max() <= 2
    bent = build(message(picture()), info('rational_polynomial', [0, 0, 0, 0, 0, 0.3, 0, 0]))
    # 1 / (1 + 0.3 r^2) of the radius, by the definition
    x, y = 15.0, 20.0
    u, v = (x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1]
    scale = 1 / (1 + 0.3 * (u * u + v * v))
    from_x, from_y = K[0, 0] * u * scale + K[0, 2], K[1, 1] * v * scale + K[1, 2]
    wanted = cv2.getRectSubPix(picture(), (1, 1), (from_x, from_y))[0, 0]
    assert np.abs(bent.image[20, 15].astype(int) - wanted).max() <= 3


def test_fisheye_is_rectified():
    for d in ([0.1, -0.02, 0.0, 0.0], [0.0] * 4):
        assert_rectified_as_fisheye(d)


def assert_rectified_as_fisheye(d):
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


@pytest.mark.parametrize(
    ('image', 'camera_info', 'words'),
    [
        (message(picture(), stamp=0), info(), 'no stamp'),
        (message(picture(), stamp=-5), info(), 'no stamp'),
        (message(picture()[:50]), info(), 'CameraInfo says 96x96'),
        (message(picture()), info('thin_prism', [1.0]), 'thin_prism'),
        (message(picture()), info(roi=RegionOfInterest(width=5, height=5)), 'says 5x5'),
    ],
)
def test_what_cannot_be_used_is_told(image, camera_info, words):
    with pytest.raises(ValueError, match=words):
        build(image, camera_info)


def test_a_compressed_image_of_another_size_is_not_decoded():
    """Its first bytes claim a size; the rest is not there."""
    data = cv2.imencode('.png', np.zeros((96, 97, 3), np.uint8))[1].tobytes()[:40]
    sent = CompressedImage(header=Header(stamp=Time(sec=1)), format='png')
    sent.data = array.array('B', data)
    with pytest.raises(ValueError, match='image is 97x96 px, its CameraInfo says 96x96'):
        build(sent, info())


def test_frames_tell_grey_images():
    grey = conversions.array_to_image(picture()[..., 0], 'mono8', Header(stamp=Time(sec=1)))
    assert build(grey, info()).is_grey and not build(grey, info()).allow_grey
    assert not build(message(picture()), info()).is_grey
    assert build_frame(
        grey, info(), camera_name='c', object_id='o', rectified=False, allow_grey=True
    ).allow_grey


def test_camera_of_the_pipeline_has_no_distortion_when_rectified():
    P = np.zeros((3, 4))
    P[:, :3] = K
    frame = build(message(picture()), info('equidistant', [9.0] * 4, p=P.ravel()), rectified=True)
    assert isinstance(frame.camera, Camera) and not frame.camera.distortion.any()
