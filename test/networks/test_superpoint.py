import numpy as np
import pytest
import torch

from helpers.stand_in_weights import write_superpoint
from pad_inspection.config import LocalizationConfig
from pad_inspection.localization.features import create_extractor
from pad_inspection.networks.superpoint import SuperPoint, SuperPointModel


@pytest.fixture(scope='module')
def weights_file(tmp_path_factory):
    """Random weights of the right architecture, whose detector fires often."""
    return write_superpoint(tmp_path_factory.mktemp('weights') / 'superpoint_v1.pth')


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


def test_the_published_layout():
    state = SuperPointModel().state_dict()
    assert len(state) == 24
    assert state['conv3a.weight'].shape == (128, 64, 3, 3)
    assert state['convPb.weight'].shape == (65, 256, 1, 1)
    assert state['convDb.weight'].shape == (256, 256, 1, 1)


def test_keypoints_are_local_maxima_in_order(weights_file, picture):
    network = SuperPoint(weights_file)
    keypoints, descriptors, scores = network.extract(picture, None, 50)
    assert 5 < len(keypoints) <= 50
    assert (np.diff(scores) <= 0).all() and (scores > 0.005).all()
    np.testing.assert_allclose(keypoints % 1, 0.5)
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5)
    gray = torch.from_numpy(picture @ np.array([0.299, 0.587, 0.114])).float() / 255
    heat = network._model(gray[None, None])[0][0].numpy()
    for (x, y), score in zip(keypoints.astype(int), scores):
        assert heat[y, x] == pytest.approx(score, rel=1e-4)
        around = heat[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
        assert around.max() == heat[y, x]


def test_a_descriptor_at_a_cell_centre_is_that_of_the_cell(weights_file, picture):
    model = SuperPointModel()
    model.load_state_dict(torch.load(weights_file, weights_only=True))
    heat = torch.zeros(1, 65, 12, 16)
    heat[0, -1] = 5.0
    heat[0, 4 * 8 + 4, 3, 5] = 20.0  # pixel (5 * 8 + 4, 3 * 8 + 4), half a px off the centre
    network = SuperPoint(weights_file)
    network._model.convPb.register_forward_hook(lambda *_: heat)
    keypoints, descriptors, _ = network.extract(picture, None, 10)
    np.testing.assert_allclose(keypoints, [[44.5, 28.5]])
    gray = torch.from_numpy(picture @ np.array([0.299, 0.587, 0.114])).float() / 255
    dense = model(gray[None, None])[1][0].detach().numpy()
    # bilinear between the cell and its neighbours: 1/16 cell right and down
    a, b = 1 - 0.5 / 8, 0.5 / 8
    wanted = (
        a * a * dense[:, 3, 5] + a * b * (dense[:, 3, 6] + dense[:, 4, 5]) + b * b * dense[:, 4, 6]
    )
    np.testing.assert_allclose(descriptors[0], wanted / np.linalg.norm(wanted), atol=1e-4)


def test_the_mask_is_kept(weights_file, picture):
    mask = np.zeros(picture.shape[:2], bool)
    mask[20:60, 30:90] = True
    keypoints = SuperPoint(weights_file).extract(picture, mask, 100)[0]
    assert len(keypoints)
    assert mask[keypoints[:, 1].astype(int), keypoints[:, 0].astype(int)].all()


def test_it_is_chosen_by_name_and_path(weights_file):
    config = LocalizationConfig(features='superpoint', features_weights=str(weights_file))
    assert create_extractor(config).name == 'superpoint'
    with pytest.raises(FileNotFoundError, match='features_weights'):
        create_extractor(LocalizationConfig(features='superpoint'))


def test_other_files_are_refused(tmp_path, picture, weights_file):
    path = tmp_path / 'other.pth'
    torch.save({'conv.weight': torch.zeros(1)}, path)
    with pytest.raises(ValueError, match='no weights of SuperPoint'):
        SuperPoint(path)
    path.write_bytes(b'junk')
    with pytest.raises(ValueError, match='no weights of SuperPoint'):
        SuperPoint(path)
    with pytest.raises(ValueError, match='multiples of 8'):
        SuperPoint(weights_file).extract(picture[:90], None, 10)
