import numpy as np
import pytest

from pad_inspection.networks.change_decoder import ChangeDecoder, change_levels, level_channels
from pad_inspection.networks.pyramid_decoder import PyramidDecoder

CHANNELS = (4, 6)


def picture_pair(side=32):
    rng = np.random.default_rng(0)
    pair = rng.uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    features = [
        rng.normal(size=(2, side // 2, side // 2, 4)).astype(np.float32),
        rng.normal(size=(2, side // 4, side // 4, 6)).astype(np.float32),
    ]
    return pair, features, np.ones((side, side), np.float32), np.zeros((side, side), np.float32)


def test_levels_have_the_channels_that_are_promised():
    levels = change_levels(*picture_pair())
    assert tuple(level.shape[1] for level in levels) == level_channels(CHANNELS)
    assert [level.shape[-1] for level in levels] == [16, 8]


def test_equal_pictures_differ_nowhere():
    pair, features, alpha, probability = picture_pair()
    pair[1] = pair[0]
    for feature in features:
        feature[1] = feature[0]
    fine, coarse = change_levels(pair, features, alpha, probability)
    assert not fine[:, 4:8].any() and not coarse[:, 6:].any()
    # after both features: RGB of both pictures, their difference, the two masks
    assert not fine[:, 14:17].any()
    assert (fine[:, 17] == 1).all() and (fine[:, 18] == 0).all()


def test_probabilities_and_a_wrong_backbone():
    decoder = ChangeDecoder(PyramidDecoder(level_channels(CHANNELS)), CHANNELS)
    found = decoder.predict(*picture_pair())
    assert found.shape == (16, 16)
    assert 0 <= found.min() <= found.max() <= 1
    with pytest.raises(ValueError, match='build the model again with this backbone'):
        ChangeDecoder(PyramidDecoder(level_channels(CHANNELS)), (4, 7))
