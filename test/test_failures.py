"""Pictures in which the object cannot be inspected: a reason for each, never a guess."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pad_inspection import images
from pad_inspection.dataset import read_test_images
from pad_inspection.datatypes import Frame, PoseEstimate, PoseStatus, Reason, Verdict
from pad_inspection.geometry import identity, project_object
from pad_inspection.observation import RefinedPose
from pad_inspection.pipeline import Inspector

pytestmark = pytest.mark.slow

OTHER_CLASSES = Path(__file__).parent / 'data' / 'other_classes'


@pytest.fixture(scope='module')
def inspector(demo_bundle):
    return Inspector.from_bundle(demo_bundle)


@pytest.fixture(scope='module')
def good(demo_dir):
    """A picture of an intact piece that is inspected without trouble (test_integration)."""
    return next(t for t in read_test_images(demo_dir) if t.defect == 'good')


def object_area(inspector, test):
    """uint8 (H, W): where the object is, generously."""
    pixels = project_object(test.camera, test.cam_from_object, inspector.object_points(3000))
    area = np.zeros((test.camera.height, test.camera.width), np.uint8)
    cv2.fillConvexPoly(area, cv2.convexHull(pixels.astype(np.int32)), 1)
    return cv2.dilate(area, np.ones((15, 15), np.uint8))


def half_hidden(image, area, axis):
    """A grey plate over half of the object and all beyond it."""
    middle = int(np.median(np.nonzero(area)[axis]))
    plate = np.random.default_rng(0).normal(72, 6, image.shape).clip(0, 255).astype(np.uint8)
    hidden = image.copy()
    if axis == 1:
        hidden[:, :middle] = plate[:, :middle]
    else:
        hidden[:middle] = plate[:middle]
    return hidden


def picture(case, inspector, test):
    image = test.load_image()
    if case == 'black':
        return np.zeros_like(image)
    if case == 'white':
        return np.full_like(image, 255)
    if case == 'empty belt':
        return cv2.inpaint(image, object_area(inspector, test), 5, cv2.INPAINT_TELEA)
    if case == 'left half hidden':
        return half_hidden(image, object_area(inspector, test), 1)
    if case == 'upper half hidden':
        return half_hidden(image, object_area(inspector, test), 0)
    if case == 'out of focus':
        return cv2.GaussianBlur(image, (0, 0), 4)
    if case == 'motion blur':
        return cv2.blur(image, (31, 1))
    return images.read_rgb(OTHER_CLASSES / f'{case}.jpg')


@pytest.mark.parametrize(
    ('case', 'said'),
    [
        ('black', 'no object'),
        ('white', 'no object'),
        ('empty belt', 'no object'),
        ('left half hidden', ''),
        ('upper half hidden', ''),
        ('out of focus', 'blurred'),
        ('motion blur', ''),
        ('police_car', ''),
        ('offroad_car', ''),
    ],
)
def test_what_cannot_be_inspected_is_not_localised(inspector, good, case, said):
    found = inspector.inspect(Frame(picture(case, inspector, good), good.camera))
    assert (found.verdict, found.reason) == (Verdict.UNDETERMINED, Reason.NOT_LOCALIZED)
    assert found.pose.cam_from_object is None
    assert found.anomaly_map is None
    assert found.message and said in found.message


@pytest.mark.parametrize(('wanted', 'trusted'), [(0.64, True), (0.66, False)])
def test_the_calibration_says_how_sharp_a_picture_must_be(
    inspector, good, monkeypatch, wanted, trusted
):
    calibration = replace(inspector.calibration, min_sharpness=wanted)
    monkeypatch.setattr(inspector, 'calibration', calibration)
    pose = PoseEstimate(PoseStatus.LOCALIZED, identity())
    found = inspector._verified(RefinedPose(pose, 0.99, 0.99, sharpness=0.65), good.camera)
    assert (found.status == PoseStatus.LOCALIZED) == trusted
    assert trusted or 'blurred: its edges have 65%' in found.message
    assert trusted or 'wanted 66%' in found.message
