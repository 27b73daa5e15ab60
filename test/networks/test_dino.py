import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.stand_in_weights import dino_state
from pad_inspection.networks import dino
from pad_inspection.networks.efficientnet_b4 import IMAGENET_MEAN, IMAGENET_STD


def saved(path, **sizes):
    torch.save(dino_state(**sizes), path)
    return path


def by_hand(state, picture, depth, heads):
    """Normalised patch tokens after each block, straight from the papers' formulas."""
    channels = state['cls_token'].shape[-1]
    patch = state['patch_embed.proj.weight'].shape[-1]
    mean, std = (torch.tensor(v, dtype=torch.float32) for v in (IMAGENET_MEAN, IMAGENET_STD))
    x = ((torch.from_numpy(picture).float() - mean) / std).permute(2, 0, 1)[None]
    x = functional.conv2d(
        x, state['patch_embed.proj.weight'], state['patch_embed.proj.bias'], stride=patch
    )
    x = torch.cat([state['cls_token'], x.flatten(2).transpose(1, 2)], 1) + state['pos_embed']

    def norm(x, name):
        weight, bias = state[f'{name}.weight'], state[f'{name}.bias']
        return functional.layer_norm(x, (channels,), weight, bias, eps=1e-6)

    def linear(x, name):
        return functional.linear(x, state[f'{name}.weight'], state[f'{name}.bias'])

    found = []
    for block in (f'blocks.{index}' for index in range(depth)):
        qkv = linear(norm(x, f'{block}.norm1'), f'{block}.attn.qkv')
        q, k, v = qkv.view(1, -1, 3, heads, channels // heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        mixed = linear(mixed.transpose(1, 2).reshape(1, -1, channels), f'{block}.attn.proj')
        x = x + mixed * state.get(f'{block}.ls1.gamma', 1.0)
        hidden = functional.gelu(linear(norm(x, f'{block}.norm2'), f'{block}.mlp.fc1'))
        x = x + linear(hidden, f'{block}.mlp.fc2') * state.get(f'{block}.ls2.gamma', 1.0)
        found.append(norm(x, 'norm')[0, 1:])
    return found


@pytest.mark.parametrize('version, patch', [(1, 8), (2, 14)])
def test_features_are_those_of_the_formulas(tmp_path, version, patch):
    path = saved(tmp_path / 'dino.pth', version=version, patch=patch)
    backbone = dino.load(path, 2)
    size = 4 * patch
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    levels = backbone.features(picture[None])
    wanted = by_hand(dino_state(version=version, patch=patch), picture, depth=4, heads=2)
    assert backbone.names == ('features_block1', 'features_block3')
    for level, tokens in zip(levels, (wanted[1], wanted[3]), strict=True):
        assert level.shape == (1, 4, 4, 128) and level.dtype == np.float32
        np.testing.assert_allclose(level.reshape(16, 128), tokens.numpy(), atol=2e-5)


def test_other_sizes_and_a_change_shows_where_it_is(tmp_path):
    backbone = dino.load(saved(tmp_path / 'dino.pth'))
    picture = np.random.default_rng(1).integers(80, 170, (1, 140, 196, 3)).astype(np.uint8)
    changed = picture.copy()
    changed[0, 56:70, 98:112] = 0
    first, *_, last = zip(backbone.features(picture), backbone.features(changed), strict=True)
    assert last[0].shape == (1, 10, 14, 128)
    difference = np.abs(first[0] - first[1]).sum(axis=-1)[0]
    row, column = np.unravel_index(difference.argmax(), difference.shape)
    center, stride = backbone.centers_px[0], backbone.strides[0]
    assert (center + stride * row, center + stride * column) == (62.5, 104.5)
    with pytest.raises(ValueError, match='multiples of 14 px'):
        backbone.features(np.zeros((1, 140, 200, 3), np.uint8))


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='do not exist'):
        dino.load(tmp_path / 'nothing.pth')
    path = tmp_path / 'other.pth'
    for content in ({'weight': torch.zeros(3)}, torch.zeros(3), [1, 2]):
        torch.save(content, path)
        with pytest.raises(ValueError, match='does not hold weights of DINO'):
            dino.load(path)
    path.write_bytes(b'no checkpoint')
    with pytest.raises(ValueError, match='does not hold weights of DINO'):
        dino.load(path)
    state = dino_state()
    torch.save({**state, 'register_tokens': torch.zeros(1, 4, 128)}, path)
    with pytest.raises(ValueError, match='registers'):
        dino.load(path)
    del state['norm.bias']
    torch.save(state, path)
    with pytest.raises(ValueError, match='norm.bias'):
        dino.load(path)
