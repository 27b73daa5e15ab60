"""Intrinsics that no camera can have."""

import numpy as np
import pytest

from pad_inspection.camera_checks import check_camera, check_radial
from pad_inspection.dataset import read_camera
from pad_inspection.datatypes import Camera
from pad_inspection.nerf_files import write_json


def camera(fx=700.0, fy=700.0, cx=200.0, cy=150.0, skew=0.0, distortion=(), size=(400, 300)):
    d = [*distortion, *[0.0] * (5 - len(distortion))]
    return Camera(*size, np.array([[fx, skew, cx], [0, fy, cy], [0, 0, 1]]), d)


@pytest.mark.parametrize(
    'plausible',
    [
        camera(),
        camera(fx=120.0, fy=120.0),
        camera(fx=9000.0, fy=9000.0),
        camera(cx=1.0, cy=299.0),
        camera(skew=0.1),
        # of a wide lens, and of one whose pixels are binned in one direction
        camera(fx=200.0, fy=200.0, distortion=(-0.35, 0.15, 0.001, 0.001, -0.03)),
        camera(fx=1400.0),
    ],
)
def test_real_cameras_pass(plausible):
    check_camera(plausible)


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        (camera(fx=6.0, fy=6.0), 'field of view 177 degrees'),
        (camera(fy=6.0), 'for 300 px, a field of view 175 degrees'),
        (camera(fx=30_000.0, fy=30_000.0), 'field of view 0.764'),
        (camera(cx=-104.0, cy=-8.0), 'principal point -104, -8 px is off the image of 400x300'),
        (camera(cy=301.0), 'principal point'),
        (camera(skew=4.26), 'skew 4.26'),
        (camera(distortion=(697.0,)), 'moves the edge of the image'),
        (camera(distortion=(-20.0,)), 'moves the edge of the image'),
        (Camera(9, 9, [[9, 0, 4], [0, 9, 4], [0, 0, 0]]), 'row by row'),
        (Camera(9, 9, [[9, 0, 4], [3, 9, 4], [0, 0, 1]]), 'row by row'),
    ],
)
def test_implausible_ones_are_refused_by_name(wrong, words):
    with pytest.raises(ValueError, match=f'(?s)matrix.*{words}|coefficients.*{words}'):
        check_camera(wrong, K='the matrix', distortion='the coefficients')


def test_angles_of_a_fisheye_and_a_denominator():
    wide = camera(fx=150.0, fy=150.0)
    check_radial(wide, [1, -0.01, 0.002, 0, 0], angular=True)
    with pytest.raises(ValueError, match='moves the edge'):
        check_radial(wide, [1, 9.0, 9.0, 0, 0], angular=True)
    with pytest.raises(ValueError, match='moves the edge'):
        check_radial(wide, [1, 0, 0, 0], [1, 50.0, 0, 0])


def test_a_camera_file_is_checked_too(tmp_path):
    path = tmp_path / 'camera.json'
    content = {'width': 400, 'height': 300, 'K': [[700, 0, 504], [0, 700, 150], [0, 0, 1]]}
    write_json(path, content)
    with pytest.raises(ValueError, match=r'camera.json.*principal point 504, 150'):
        read_camera(path)
