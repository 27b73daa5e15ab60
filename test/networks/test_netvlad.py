import numpy as np
import pytest
import torch

from helpers.stand_in_weights import CONVOLUTION_LAYERS, netvlad_layers, write_netvlad
from pad_inspection.networks.netvlad import NetVlad

MEAN = np.array([120.0, 110.0, 100.0])


@pytest.fixture(scope='module')
def layers():
    return netvlad_layers()


@pytest.fixture(scope='module')
def network(layers, tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'VGG16-NetVLAD-Pitts30K.mat'
    return NetVlad(write_netvlad(path, layers, MEAN))


@pytest.fixture(scope='module')
def picture():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def convolved(x, weight, bias):
    """3 x 3 convolution of x (H, W, C) with zeros around it; weight (3, 3, C, O)."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    height, width = x.shape[:2]
    out = np.zeros((height, width, weight.shape[3])) + bias
    for row in range(3):
        for column in range(3):
            part = padded[row : row + height, column : column + width]
            out += part @ weight[row, column].astype(np.float64)
    return out


def pooled(x):
    height, width = (side // 2 * 2 for side in x.shape[:2])
    x = x[:height, :width].reshape(height // 2, 2, width // 2, 2, -1)
    return x.max(axis=(1, 3))


def unit(x, axis):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def slow_trunk(picture, layers):
    """VGG16 up to its last convolution, (H/16, W/16, D)."""
    x = picture - MEAN
    for layer in CONVOLUTION_LAYERS:
        x = convolved(x, *layers[layer])
        if layer != 28:
            x = np.maximum(x, 0)
        if layer in (2, 7, 14, 21):
            x = pooled(x)
    return x


def slow_netvlad(dense, layers):
    """Residuals to the centres place by place, cluster by cluster; (D * K,)."""
    projection, negative_centers = layers[30]
    channels, clusters = projection.shape
    sums = np.zeros((channels, clusters))
    for descriptor in unit(dense.reshape(-1, channels), 1):
        scores = np.exp(descriptor @ projection)
        scores /= scores.sum()
        for k in range(clusters):
            sums[:, k] += scores[k] * (descriptor + negative_centers[:, k])
    return unit(unit(sums, 0).reshape(-1), 0)


def test_the_layer_is_that_of_a_slow_computation(network, layers):
    dense = np.random.default_rng(1).normal(size=(4, 5, 6))
    with torch.inference_mode():
        tensor = torch.from_numpy(dense).float().permute(2, 0, 1)[None]
        found = network._model.aggregate(tensor)[0].numpy()
    np.testing.assert_allclose(found, slow_netvlad(dense, layers), atol=1e-5)


def test_a_picture_s_descriptor_is_that_of_a_slow_computation(network, layers, picture):
    found = network.describe(picture)
    weight, bias = layers[33]
    pooled_residuals = slow_netvlad(slow_trunk(picture, layers), layers)
    wanted = unit(pooled_residuals @ weight[0, 0] + bias, 0)
    assert found.shape == (network.descriptor_size,) == (8,)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_mean_may_be_one_colour(layers, picture, tmp_path, network):
    from scipy.io import loadmat, savemat

    path = write_netvlad(tmp_path / 'a.mat', layers, MEAN)
    net = loadmat(path)['net']
    net['meta'][0, 0]['normalization'][0, 0]['averageImage'][0, 0] = np.float32(MEAN)[None, None]
    savemat(tmp_path / 'b.mat', {'net': net})
    found = NetVlad(tmp_path / 'b.mat').describe(picture)
    np.testing.assert_allclose(found, network.describe(picture), atol=1e-6)


def test_a_small_picture_is_refused(network, picture):
    with pytest.raises(ValueError, match='wanted 32 or more'):
        network.describe(picture[:20])


@pytest.mark.parametrize('damage', ['text', 'other', 'short', 'narrow'])
def test_other_files_are_refused(tmp_path, layers, damage):
    from scipy.io import savemat

    path = tmp_path / 'weights.mat'
    if damage == 'text':
        path.write_bytes(b'junk')
    elif damage == 'other':
        savemat(path, {'x': np.eye(3)})
    elif damage == 'short':
        write_netvlad(path, {k: v for k, v in layers.items() if k != 33})
    else:
        write_netvlad(path, {**layers, 12: [layers[12][0][:, :, :4], layers[12][1]]})
    with pytest.raises(ValueError, match=r'weights\.mat holds no weights of NetVLAD'):
        NetVlad(path)
