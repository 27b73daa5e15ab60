"""CameraInfo: which lens, which part of the sensor, and what cannot be of a camera."""

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from pad_inspection import geometry
from pad_inspection.datatypes import Camera
from pad_inspection.ros import conversions
from pad_inspection.ros.camera_infos import read_camera_info

SIZE = 96
K = np.array([[80.0, 0, 47.5], [0, 82.0, 46.0], [0, 0, 1]])  # first pixel's centre at (0, 0)
P = np.hstack([K, np.zeros((3, 1))])
CROP = RegionOfInterest(x_offset=304, y_offset=208, width=SIZE, height=SIZE)
RADIAL = [-0.2, 0.05, 0.001, -0.002, 0.01]


def info(model='plumb_bob', d=(), **changes):
    values = {'width': SIZE, 'height': SIZE, 'distortion_model': model, 'd': list(d)}
    values |= {'k': K.ravel(), 'p': P.ravel(), 'r': np.eye(3).ravel()} | changes
    return CameraInfo(**values)


def with_entry(matrix, index, value):
    """A matrix, flat, with another value somewhere."""
    flat = matrix.ravel().copy()
    flat[index] = value
    return flat


def test_a_camera_makes_the_round_trip():
    camera = Camera(400, 300, np.array([[700.0, 0, 200.0], [0, 710, 150.5], [0, 0, 1]]))
    message = conversions.camera_to_info(camera, Header())
    for rectified in (True, False):
        again, lens = read_camera_info(message, rectified=rectified)
        np.testing.assert_allclose(again.K, camera.K)
        assert (again.width, again.height, lens) == (400, 300, None)


def test_rectified_takes_p_and_raw_takes_k_and_d():
    message = info(d=RADIAL, p=with_entry(P, [0, 5], 100.0))
    rectified, _ = read_camera_info(message, rectified=True)
    raw, _ = read_camera_info(message, rectified=False)
    assert rectified.K[0, 0] == 100.0 and not rectified.distortion.any()
    assert raw.K[0, 0] == 80.0 and raw.distortion[0] == -0.2
    # a driver of rectified images may leave K out
    alone, _ = read_camera_info(info(k=np.zeros(9)), rectified=True)
    assert alone.K[0, 0] == 80.0


@pytest.mark.parametrize(
    ('model', 'd', 'plumb_bob', 'coefficients'),
    [
        ('plumb_bob', RADIAL, RADIAL, None),
        ('plumb_bob', RADIAL[:4], [*RADIAL[:4], 0], None),
        ('plumb_bob', [], [0] * 5, None),
        ('plumb_bob', [*RADIAL, 0, 0, 0], RADIAL, None),
        ('', [0.0] * 5, [0] * 5, None),
        ('', [], [0] * 5, None),
        ('rational_polynomial', RADIAL, RADIAL, None),
        ('rational_polynomial', [0.0] * 8, [0] * 5, None),
        ('rational_polynomial', [*RADIAL, 0.1, 0, 0], [0] * 5, [*RADIAL, 0.1, 0, 0]),
        ('rational_polynomial', [0.1] + [0] * 10 + [0.01], [0] * 5, [0.1] + [0] * 10 + [0.01]),
        ('equidistant', [0.0] * 4, [0] * 5, [0.0] * 4),
        ('equidistant', [0.1, 0, 0, 0, 0], [0] * 5, [0.1, 0, 0, 0]),
    ],
)
def test_distortion_goes_by_the_name_of_the_model(model, d, plumb_bob, coefficients):
    camera, lens = read_camera_info(info(model, d), rectified=False)
    np.testing.assert_array_equal(camera.distortion, plumb_bob)
    if coefficients is None:
        assert lens is None
    else:
        assert lens.model == model
        np.testing.assert_array_equal(lens.coefficients, coefficients)


@pytest.mark.parametrize('model', ['fisheye', 'thin_prism_fisheye', 'kannala_brandt4', 'x' * 99])
@pytest.mark.parametrize('d', [[], [0.0] * 4, [0.1] * 4])
def test_unknown_models_are_refused_whatever_d_is(model, d):
    with pytest.raises(ValueError, match=f"distortion_model is '{model[:40]}', wanted one of"):
        read_camera_info(info(model, d), rectified=False)
    # of an image that is rectified already it does not matter
    assert read_camera_info(info(model, d), rectified=True)[1] is None


@pytest.mark.parametrize(
    ('message', 'words'),
    [
        (info('', RADIAL), 'distortion_model is empty and CameraInfo.d'),
        (info('equidistant', [1.0] * 5), '5 distortion coefficients of model equidistant'),
        (info('equidistant', []), '0 distortion coefficients of model equidistant, wanted 4'),
        (info('plumb_bob', [0.1] * 8), '8 distortion coefficients of model plumb_bob, wanted 0'),
        (info('plumb_bob', [0.1]), '1 distortion coefficients of model plumb_bob'),
        (info('rational_polynomial', [0.1] * 7), '7 distortion coefficients'),
        (info('rational_polynomial', [np.nan] * 8), 'CameraInfo.d holds NaN'),
        (info('plumb_bob', [200.0, 0, 0, 0, 0]), 'CameraInfo.d moves the edge of the image'),
        (info('equidistant', [99.0, 0, 0, 0]), 'CameraInfo.d moves the edge of the image'),
        (info('rational_polynomial', [0] * 5 + [99.0, 0, 0]), 'CameraInfo.d moves the edge'),
        (info(d=[np.inf] * 5), 'CameraInfo.d holds NaN or infinity'),
        (info(k=with_entry(K, 0, np.nan)), 'CameraInfo.k holds NaN'),
        (info(p=with_entry(P, 3, np.inf)), 'CameraInfo.p holds NaN'),
        (info(r=np.full(9, np.nan)), 'CameraInfo.r holds NaN'),
        (info(k=np.zeros(9)), r'CameraInfo.k has focal lengths 0, 0 px.*calibrated'),
        (info(k=with_entry(K, 4, -5.0)), 'above 0'),
        (info(k=with_entry(K, 1, 4.26)), 'CameraInfo.k has skew 4.26'),
        (info(k=with_entry(K, 2, 504.0)), r'CameraInfo.k: principal point 50[45], 46 px is off'),
        (info(k=with_entry(K, 0, 0.9)), 'CameraInfo.k has a focal length of 0.9 px'),
        (info(k=with_entry(K, 8, 0.0)), 'CameraInfo.k is'),
        (info(width=0), 'CameraInfo size is 0x96'),
        (info(height=2**32 - 1), 'CameraInfo size is'),
        (info(binning_x=2**32 - 1, binning_y=1), 'CameraInfo.binning is 4294967295, 1, more'),
    ],
)
def test_what_no_camera_can_have_is_refused_by_its_field(message, words):
    with pytest.raises(ValueError, match=words):
        read_camera_info(message, rectified=False)


def test_p_that_is_of_another_resolution_is_refused():
    half = P / 2
    half[2, 2] = 1
    with pytest.raises(ValueError, match=r'CameraInfo.p has focal lengths 40, 41 px'):
        read_camera_info(info(p=half.ravel()), rectified=True)
    # rectification of a wide lens changes it as much
    camera, _ = read_camera_info(info(d=RADIAL, p=half.ravel()), rectified=True)
    assert camera.K[0, 0] == 40.0
    fifth = P / 5
    fifth[2, 2] = 1
    with pytest.raises(ValueError, match='a factor of 4'):
        read_camera_info(info(d=RADIAL, p=fifth.ravel()), rectified=True)


def test_binning_and_region_of_interest():
    """Points of the belt project to the same place of the sensor."""
    point = np.array([[0.1, -0.05, 1.0]])
    whole, _ = read_camera_info(info(), rectified=False)
    u, v = geometry.project(whole, point)[0]
    roi = RegionOfInterest(x_offset=16, y_offset=8, width=64, height=80)
    cropped, _ = read_camera_info(info(roi=roi, binning_x=2, binning_y=4), rectified=False)
    assert (cropped.width, cropped.height) == (32, 20)
    np.testing.assert_allclose(
        geometry.project(cropped, point)[0], [(u - 16) / 2, (v - 8) / 4], atol=1e-9
    )
    # a strip beside the optical axis
    roi = RegionOfInterest(y_offset=70, width=SIZE, height=20)
    strip, _ = read_camera_info(info(roi=roi), rectified=False)
    np.testing.assert_allclose(geometry.project(strip, point)[0], [u, v - 70], atol=1e-9)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        # K and size are of the cropped image already
        (
            {'roi': RegionOfInterest(x_offset=30, y_offset=20, width=SIZE, height=SIZE)},
            'at 30, 20',
        ),
        ({'roi': RegionOfInterest(x_offset=30)}, 'at 30, 0, off the 96x96 px'),
        ({'roi': RegionOfInterest(x_offset=2**32 - 1, width=2**32 - 1)}, 'CameraInfo.roi'),
        # only K is of the image that is sent
        (
            {'roi': CROP, 'width': 800, 'height': 600},
            '48, 46 px is far from the middle of 800x600',
        ),
        ({'width': 192, 'height': 192, 'binning_x': 2, 'binning_y': 2}, 'binning is 2, 2'),
    ],
)
def test_what_was_taken_off_before_is_refused(changes, words):
    for rectified in (True, False):
        with pytest.raises(ValueError, match=words):
            read_camera_info(info(**changes), rectified=rectified)
