import numpy as np
import pytest
import torch

from pad_inspection.networks import efficientnet_b4, efficientnet_lite


@pytest.fixture(scope='module')
def lite():
    return efficientnet_lite.load()


def test_taps_have_the_known_shapes(lite):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype(np.uint8)
    features = lite.features(pictures)
    for level, channels, stride in zip(
        features, efficientnet_lite.CHANNELS, efficientnet_lite.STRIDES, strict=True
    ):
        assert level.shape == (2, 64 // stride, 96 // stride, channels)
        assert level.dtype == np.float32 and np.isfinite(level).all()


def test_features_are_those_of_the_whole_network(lite):
    """The last tap, taken on to the logits by hand, equals the network's own forward pass."""
    from efficientnet_lite_pytorch import EfficientNet

    from pad_inspection.networks.weights import find_weights

    network = EfficientNet.from_pretrained(
        'efficientnet-lite0', weights_path=str(find_weights('efficientnet_lite0'))
    ).eval()
    picture = np.random.default_rng(1).integers(0, 256, (1, 96, 96, 3)).astype(np.uint8)
    x = (torch.from_numpy(picture).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        expected = network.extract_features(x)
        last = torch.from_numpy(lite.features(picture)[-1]).permute(0, 3, 1, 2)
        got = network._swish(network._bn1(network._conv_head(last)))
    torch.testing.assert_close(got, expected, atol=2e-4, rtol=1e-3)


def test_a_change_shows_where_it_is(lite):
    rng = np.random.default_rng(2)
    picture = rng.integers(80, 170, (1, 256, 256, 3)).astype(np.uint8)
    changed = picture.copy()
    changed[0, 96:104, 160:168] = 0
    for level, other, stride, center in zip(
        lite.features(picture), lite.features(changed), lite.strides, lite.centers_px
    ):
        difference = ((level - other) ** 2).sum(axis=-1)[0]
        share = difference / difference.sum()
        y = center + stride * (np.arange(len(share))[:, None] * share).sum()
        x = center + stride * (np.arange(len(share))[None] * share).sum()
        assert abs(y - 99.5) < 0.25 * stride + 1 and abs(x - 163.5) < 0.25 * stride + 1


def test_wrong_size_and_wrong_file(lite, tmp_path):
    with pytest.raises(ValueError, match='multiples of 32 px'):
        lite.features(np.zeros((1, 40, 64, 3), np.uint8))
    with pytest.raises(FileNotFoundError):
        efficientnet_lite.load(tmp_path / 'nothing.pth')
    other = tmp_path / 'other.pth'
    torch.save({'weight': torch.zeros(3)}, other)
    with pytest.raises(ValueError, match='efficientnet-lite0'):
        efficientnet_lite.load(other)


def test_b4_loads_a_file_of_its_architecture(tmp_path):
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(0)
    path = tmp_path / 'b4.pth'
    torch.save(EfficientNet.from_name('efficientnet-b4').state_dict(), path)
    backbone = efficientnet_b4.load(path)
    features = backbone.features(np.full((1, 64, 64, 3), 100, np.uint8))
    assert [level.shape[-1] for level in features] == list(efficientnet_b4.CHANNELS)
    assert [64 // level.shape[1] for level in features] == list(efficientnet_b4.STRIDES)
    with pytest.raises(ValueError, match='efficientnet-lite0'):
        efficientnet_lite.load(path)
