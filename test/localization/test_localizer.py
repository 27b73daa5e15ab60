"""Localisation of real pictures with a map of half of the training views."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from helpers.small_map import DEMO, mask_of, small_map
from helpers.stand_in_weights import (
    lightglue_state,
    netvlad_layers,
    write_netvlad,
    write_superpoint,
)
from pad_inspection.config import LocalizationConfig, from_dict
from pad_inspection.dataset import read_test_images, read_training_views
from pad_inspection.datatypes import Camera, PoseStatus, Rigid3
from pad_inspection.geometry import (
    compose,
    pose_error_px,
    rotation_angle_deg,
    rotation_from_axis_angle,
)
from pad_inspection.localization import crops
from pad_inspection.localization.features import create_extractor
from pad_inspection.localization.localizer import Localizer
from pad_inspection.localization.reference import NO_POINT

ALL = np.ones((400, 400), np.float32)


@pytest.fixture(scope='module')
def reference():
    return small_map()[0].reference


@pytest.fixture(scope='module')
def localizer(reference):
    return Localizer(reference, LocalizationConfig())


@pytest.fixture(scope='module')
def pictures():
    return read_test_images(DEMO)


def error_px(estimate, test, reference):
    assert estimate.status == PoseStatus.LOCALIZED, estimate.message
    return pose_error_px(
        test.camera, estimate.cam_from_object, test.cam_from_object, reference.points[::10]
    )


@pytest.mark.parametrize('index', [0, 7, 14, 20])
def test_pictures_of_intact_and_defective_pieces_are_localised(
    localizer, reference, pictures, index
):
    test = pictures[index]
    found = localizer.localize(test.load_image(), mask_of(test, reference), test.camera)
    assert error_px(found[0], test, reference) < 3.0
    best = found[0]
    assert len(best.points2d) == len(best.points3d) == len(best.inliers)
    assert best.num_inliers >= 30
    assert 0 < best.reprojection_error_px < 4
    deviation = np.sqrt(np.diag(best.covariance))
    assert (deviation[:3] < 0.01).all() and (deviation[3:] < 0.05).all()


@pytest.mark.parametrize('damage', ['none', 'hole', 'cut', 'extra', 'elsewhere'])
def test_bad_masks_do_not_matter(localizer, reference, pictures, damage):
    test = pictures[3]
    mask = mask_of(test, reference)
    ys, xs = np.nonzero(mask)
    if damage == 'none':
        mask = None
    elif damage == 'hole':
        cv2.circle(mask, (int(xs.mean()), int(ys.mean())), 40, 0.0, -1)
    elif damage == 'cut':
        mask[:, : int(np.quantile(xs, 0.3))] = 0
    elif damage == 'extra':
        cv2.circle(mask, (int(np.quantile(xs, 0.9)), int(np.quantile(ys, 0.9))), 50, 1.0, -1)
    else:
        mask = np.zeros_like(mask)
        mask[:60, :60] = 1
    found = localizer.localize(test.load_image(), mask, test.camera)
    assert error_px(found[0], test, reference) < 5.0


@pytest.mark.parametrize('turn_deg', [45, 120, 180])
def test_a_picture_turned_in_its_plane(localizer, reference, pictures, turn_deg):
    test = pictures[4]
    matrix = cv2.getRotationMatrix2D((199.5, 199.5), -turn_deg, 1)
    image = cv2.warpAffine(test.load_image(), matrix, (400, 400), borderValue=(90, 90, 90))
    mask = cv2.warpAffine(mask_of(test, reference), matrix, (400, 400))
    turn = Rigid3(rotation_from_axis_angle([0, 0, np.radians(turn_deg)]), np.zeros(3))
    found = localizer.localize(image, mask, test.camera)
    turned = replace(test, cam_from_object=compose(turn, test.cam_from_object))
    assert error_px(found[0], turned, reference) < 3.0


def test_an_image_of_twice_the_size_gives_the_same_pose(localizer, reference, pictures):
    test = pictures[0]
    scale = np.diag([2.0, 2.0, 1.0])
    camera = Camera(800, 800, scale @ test.camera.K)
    image = cv2.resize(test.load_image(), (800, 800), interpolation=cv2.INTER_CUBIC)
    mask = cv2.resize(mask_of(test, reference), (800, 800))
    large = replace(test, camera=camera)
    found = localizer.localize(image, mask, camera)
    assert error_px(found[0], large, reference) < 6.0


def test_it_repeats(localizer, reference, pictures):
    test = pictures[9]
    image, mask = test.load_image(), mask_of(test, reference)
    first, second = (localizer.localize(image, mask, test.camera) for _ in range(2))
    assert len(first) == len(second)
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a.cam_from_object.rotation, b.cam_from_object.rotation)
        np.testing.assert_array_equal(a.inliers, b.inliers)


def test_hypotheses_differ_and_are_sorted(localizer, reference, pictures):
    for test in pictures[:3]:
        found = localizer.localize(test.load_image(), mask_of(test, reference), test.camera)
        assert 1 <= len(found) <= 3
        counts = [estimate.num_inliers for estimate in found]
        assert counts == sorted(counts, reverse=True)
        for other in found[1:]:
            assert rotation_angle_deg(found[0].cam_from_object, other.cam_from_object) > 5


def test_stages_are_timed(localizer, reference, pictures):
    test = pictures[0]
    localizer.localize(test.load_image(), mask_of(test, reference), test.camera)
    stages = ['crop', 'extract', 'retrieve', 'match', 'pnp', 'align']
    assert list(localizer.timings_ms) == stages
    assert all(ms > 0 for ms in localizer.timings_ms.values())


def noise():
    return np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)


def checkerboard():
    y, x = np.mgrid[:400, :400] // 25
    return np.repeat(np.uint8(255 * ((x + y) % 2))[..., None], 3, axis=2)


@pytest.mark.parametrize('mask', [None, ALL], ids=['no mask', 'mask'])
@pytest.mark.parametrize(
    'image',
    [
        np.zeros((400, 400, 3), np.uint8),
        np.full((400, 400, 3), 255, np.uint8),
        np.full((400, 400, 3), 128, np.uint8),
        noise(),
        checkerboard(),
    ],
    ids=['black', 'white', 'gray', 'noise', 'checkerboard'],
)
def test_nothing_is_found_where_nothing_is(localizer, pictures, image, mask):
    (estimate,) = localizer.localize(image, mask, pictures[0].camera)
    assert estimate.status in (PoseStatus.TOO_FEW_MATCHES, PoseStatus.POSE_REJECTED)
    assert estimate.cam_from_object is None
    assert estimate.message


def test_an_empty_mask_is_no_object(localizer, pictures):
    test = pictures[0]
    (estimate,) = localizer.localize(test.load_image(), 0 * ALL, test.camera)
    assert estimate.status == PoseStatus.NO_OBJECT
    assert '0 px of the image are object, wanted 64' in estimate.message


def test_a_blurred_piece_is_not_guessed(localizer, reference, pictures):
    test = pictures[0]
    image = cv2.GaussianBlur(test.load_image(), (0, 0), 14)
    (estimate,) = localizer.localize(image, mask_of(test, reference), test.camera)
    assert estimate.cam_from_object is None
    assert estimate.message


@pytest.mark.parametrize('corner', [(slice(-90, None), slice(90)), (slice(90), slice(90))])
def test_the_belt_alone_is_not_guessed(localizer, pictures, corner):
    for test in pictures[::8]:
        belt = cv2.resize(test.load_image()[corner], (400, 400), interpolation=cv2.INTER_CUBIC)
        (estimate,) = localizer.localize(belt, None, test.camera)
        assert estimate.cam_from_object is None


def test_wrong_input_is_named(localizer, pictures):
    camera = pictures[0].camera
    image = np.zeros((400, 400, 3), np.uint8)
    with pytest.raises(ValueError, match=r'uint8 \(400, 300, 3\), wanted uint8 \(400, 400, 3\)'):
        localizer.localize(image[:, :300], None, camera)
    with pytest.raises(ValueError, match=r'probability has shape \(10, 10\)'):
        localizer.localize(image, np.ones((10, 10), np.float32), camera)
    with pytest.raises(ValueError, match='rectify the image first'):
        localizer.localize(image, None, replace(camera, distortion=[0.1, 0, 0, 0, 0]))


def test_a_model_of_other_features_is_refused(reference):
    config = from_dict(LocalizationConfig, {'features': 'aliked'})
    with pytest.raises(ValueError, match=r"features = 'xfeat', the configuration says 'aliked'"):
        Localizer(reference, config)


def with_features(reference, rows, config):
    """Some views of a map with other features, which take the points of the nearest old ones."""
    views = {view.name: view for view in read_training_views(DEMO)}
    kept = reference.without(set(reference.names) - {reference.names[row] for row in rows})
    extractor, parts, point_ids = create_extractor(config), [], []
    for row, name in enumerate(kept.names):
        image, alpha = views[name].load()
        features = extractor.extract(crops.cut(image, alpha > 0.5, kept.frame(row)))
        old = kept.points_of(row) != NO_POINT
        distance = np.linalg.norm(
            features.keypoints[:, None] - kept.local_features(row).keypoints[old], axis=2
        )
        ids = kept.points_of(row)[old][distance.argmin(axis=1)]
        point_ids.append(np.where(distance.min(axis=1) < 8, ids, NO_POINT))
        parts.append(features)
    return replace(
        kept,
        features=config.features,
        counts=[len(ids) for ids in point_ids],
        keypoints=np.concatenate([f.keypoints for f in parts]),
        descriptors=np.concatenate([f.descriptors for f in parts]),
        scores=np.concatenate([f.scores for f in parts]),
        point_ids=np.concatenate(point_ids),
    )


def test_superpoint_with_lightglue_from_files_localises_a_view(reference, tmp_path):
    """With stand-ins: random local features, and a matcher that finds mutual neighbours."""
    torch.save(lightglue_state(), tmp_path / 'superpoint_lightglue.pth')
    name = reference.names[12]
    view = next(v for v in read_training_views(DEMO) if v.name == name)
    image, alpha = view.load()
    config = LocalizationConfig(
        features='superpoint',
        features_weights=str(write_superpoint(tmp_path / 'superpoint_v1.pth', image)),
        matcher='lightglue',
        matcher_weights=str(tmp_path / 'superpoint_lightglue.pth'),
        max_keypoints=512,
        num_rotations=1,
        max_hypotheses=1,
        num_retrieved=1,
    )
    known = with_features(reference, (2, 12), config)
    (best, *_) = Localizer(known, config).localize(image, alpha, view.camera)
    assert error_px(best, view, known) < 3.0


def test_features_that_stand_turns_are_turned_for_whole_view_descriptors(reference, tmp_path):
    path = write_netvlad(tmp_path / 'netvlad.mat', netvlad_layers(size=8))
    votes = from_dict(LocalizationConfig, {'features': 'sift'})
    netvlad = replace(votes, retrieval='netvlad', retrieval_weights=str(path))
    known = replace(reference, features='sift', global_descriptors=np.full((40, 8), 0.5))
    image = np.full((64, 64, 3), 255, np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    for config, count in ((votes, 1), (netvlad, 4)):
        assert len(Localizer(known, config)._turned_crops(image, mask)) == count
