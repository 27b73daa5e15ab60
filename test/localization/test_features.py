import numpy as np
import pytest

from helpers.small_map import DEMO
from pad_inspection import images
from pad_inspection.config import LocalizationConfig, from_dict
from pad_inspection.localization.crops import Crop, frame_of
from pad_inspection.localization.features import create_extractor

FRAME = frame_of((128.0, 128.0, 256.0), 256)


@pytest.fixture(scope='module')
def picture():
    return images.read_rgb(DEMO / 'train' / 'good' / '000.png')[80:336, 72:328].copy()


@pytest.fixture(params=['xfeat', 'aliked', 'sift'])
def extractor(request):
    config = from_dict(LocalizationConfig, {'features': request.param, 'max_keypoints': 200})
    return create_extractor(config)


def test_features_are_unit_sorted_and_in_the_mask(extractor, picture):
    mask = np.zeros((256, 256), bool)
    mask[:, :128] = True
    found = extractor.extract(Crop(picture, mask, FRAME))
    assert 10 < len(found.keypoints) <= 200
    assert (found.keypoints[:, 0] < 129).all() and (found.keypoints > 0).all()
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-4)
    assert (np.diff(found.scores) <= 0).all()
    fewer = extractor.extract(Crop(picture, mask, FRAME), 10)
    np.testing.assert_array_equal(fewer.keypoints, found.keypoints[:10])


def test_features_repeat(extractor, picture):
    first, second = (extractor.extract(Crop(picture, None, FRAME)) for _ in range(2))
    np.testing.assert_array_equal(first.keypoints, second.keypoints)
    np.testing.assert_array_equal(first.descriptors, second.descriptors)


def test_features_move_with_the_picture(extractor, picture):
    # 32 px: also a whole number of cells of the networks
    moved = np.full_like(picture, 255)
    moved[:, 32:] = picture[:, :-32]
    first = extractor.extract(Crop(picture, None, FRAME))
    second = extractor.extract(Crop(moved, None, FRAME))
    cosine = first.descriptors @ second.descriptors.T
    best = cosine.argmax(axis=1)
    sure = cosine.max(axis=1) > 0.95
    shift = (second.keypoints[best] - first.keypoints)[sure]
    assert sure.sum() > 20
    np.testing.assert_allclose(np.median(shift, axis=0), [32, 0], atol=0.2)


def test_a_flat_picture_has_no_features_worth_a_pose(extractor):
    flat = np.full((256, 256, 3), 200, np.uint8)
    assert len(extractor.extract(Crop(flat, None, FRAME)).keypoints) < 30


@pytest.mark.parametrize('name', ['aliked', 'sift'])
def test_the_first_pixel_centre_is_at_one_half(name, picture):
    """Then keypoints of the turned picture lie at 256 - x, 256 - y, without a shift.

    XFeat's own keypoints move with the turn; its test compares it with its reference.
    """
    extractor = create_extractor(from_dict(LocalizationConfig, {'features': name}))
    turned = np.ascontiguousarray(picture[::-1, ::-1])
    first = extractor.extract(Crop(picture, None, FRAME)).keypoints
    second = 256 - extractor.extract(Crop(turned, None, FRAME)).keypoints
    difference = second[None] - first[:, None]
    nearest = np.linalg.norm(difference, axis=2).argmin(axis=1)
    difference = difference[np.arange(len(first)), nearest]
    close = np.abs(difference).max(axis=1) < 2
    assert close.sum() > 10
    np.testing.assert_allclose(np.median(difference[close], axis=0), [0, 0], atol=0.35)
