"""A grey image is not compared with a model in colour unless somebody allows it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from helpers.splats import random_gaussians
from pad_inspection.dataset import read_test_images
from pad_inspection.datatypes import Camera, Frame, Reason, Verdict
from pad_inspection.grey_images import grey_fault, has_equal_channels, model_has_colour
from pad_inspection.pipeline import Inspector

RNG = np.random.default_rng(0)
GREY = np.repeat(RNG.integers(0, 256, (40, 50, 1), np.uint8), 3, axis=2)


def camera(image):
    height, width = image.shape[:2]
    return Camera(width, height, [[90.0, 0, width / 2], [0, 90, height / 2], [0, 0, 1]])


def test_models_in_colour_and_in_grey():
    colored = random_gaussians(500, degree=1)
    assert model_has_colour(colored)
    grey = colored.sh.mean(axis=2, keepdims=True).repeat(3, axis=2)
    assert not model_has_colour(replace(colored, sh=grey))
    # a grey product with one small coloured part is in colour
    grey[:10] = colored.sh[:10]
    assert model_has_colour(replace(colored, sh=grey, opacities=np.ones(500)))
    hidden = np.zeros(500)
    assert not model_has_colour(replace(colored, opacities=hidden))


def test_only_images_that_show_something_are_grey_by_their_channels():
    assert has_equal_channels(GREY)
    for dark in (np.zeros_like(GREY), np.full_like(GREY, 255), GREY // 20):
        assert not has_equal_channels(dark)
    noisy = GREY.copy()
    noisy[3, 5, 2] ^= 1
    assert not has_equal_channels(noisy)


def test_encoding_and_channels_tell_grey_images():
    colored, black = RNG.integers(0, 256, GREY.shape, np.uint8), np.zeros_like(GREY)
    for image, is_grey, refused in (
        (GREY, False, 'channels are equal'),
        (black, True, 'by its encoding'),
        (black, False, ''),
        (colored, False, ''),
    ):
        frame = Frame(image, camera(image), is_grey=is_grey)
        assert (refused in grey_fault(frame, True)) and bool(grey_fault(frame, True)) == bool(
            refused
        )
        assert grey_fault(frame, False) == ''
        assert grey_fault(replace(frame, allow_grey=True), True) == ''


@pytest.mark.slow
def test_a_model_in_colour_refuses_a_grey_camera(demo_bundle, demo_dir):
    inspector = Inspector.from_bundle(demo_bundle)
    test = next(t for t in read_test_images(demo_dir) if t.defect == 'added' and t.visible)
    grey = cv2.cvtColor(cv2.cvtColor(test.load_image(), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    refused = inspector.inspect(Frame(grey, test.camera, 7, 'left', 'piece', is_grey=True))
    assert (refused.verdict, refused.reason) == (Verdict.UNDETERMINED, Reason.IMAGE_INVALID)
    assert 'allow_grey' in refused.message and refused.object_id == 'piece'
    assert inspector.inspect(Frame(grey, test.camera)).reason == Reason.IMAGE_INVALID
    allowed = inspector.inspect(Frame(grey, test.camera, is_grey=True, allow_grey=True))
    assert allowed.reason != Reason.IMAGE_INVALID and np.isfinite(allowed.score)
