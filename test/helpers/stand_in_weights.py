"""Files of the layouts of published weights, with small or random contents."""

import numpy as np

# convolutions among the layers of VGG16-NetVLAD-Pitts30K.mat
CONVOLUTION_LAYERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def netvlad_layers(width=6, clusters=3, size=8, seed=0):
    """Layer -> its weights, as in the published file but narrow; random."""
    rng = np.random.default_rng(seed)
    layers, inputs = {}, 3
    for layer in CONVOLUTION_LAYERS:
        # gain of a ReLU network, so that pictures stay different in the end
        weight = rng.normal(scale=np.sqrt(2 / (9 * inputs)), size=(3, 3, inputs, width))
        layers[layer] = [weight, rng.normal(size=width)]
        inputs = width
    layers[30] = [rng.normal(size=(width, clusters)), rng.normal(size=(width, clusters))]
    dimension = width * clusters
    whitening = rng.normal(size=(1, 1, dimension, size)) / np.sqrt(dimension)
    layers[33] = [whitening, 0.1 * rng.normal(size=size)]
    return {layer: [np.float32(w) for w in weights] for layer, weights in layers.items()}


def clustered(layers, dense, sharpness=30.0):
    """The layers with clusters around some of the local descriptors (N, D) of real pictures.

    Random ones would be far from all that pictures show, which would look the same to them.
    """
    clusters = layers[30][0].shape[1]
    rows = np.random.default_rng(0).permutation(len(dense))[:clusters]
    centers = (dense[rows] / np.linalg.norm(dense[rows], axis=1, keepdims=True)).T
    whitening, bias = layers[33]
    return {**layers, 30: [sharpness * centers, -centers], 33: [whitening, 0 * bias]}


def write_netvlad(path, layers, mean=(120.0, 110.0, 100.0)):
    """A MATLAB file of the published layout; returns its path."""
    from scipy.io import savemat

    cells = np.empty(34, object)
    for index in range(34):
        weights = np.empty(len(layers.get(index, ())), object)
        weights[:] = layers.get(index, [])
        cells[index] = {'type': 'layer', 'weights': weights}
    average = np.broadcast_to(np.float32(mean), (24, 24, 3))
    net = {'layers': cells, 'meta': {'normalization': {'averageImage': average}}}
    savemat(path, {'net': net})
    return path


def dino_state(channels=128, depth=4, patch=14, grid=4, version=2):
    """State dictionary of the layout of a published transformer, small; random weights."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def random(*shape, scale=0.05):
        return scale * torch.randn(*shape, generator=generator)

    hidden = 4 * channels
    state = {
        'cls_token': random(1, 1, channels),
        'pos_embed': random(1, 1 + grid**2, channels),
        'patch_embed.proj.weight': random(channels, 3, patch, patch),
        'patch_embed.proj.bias': random(channels),
        'norm.weight': 1 + random(channels),
        'norm.bias': random(channels),
    }
    if version == 2:
        state['mask_token'] = random(1, channels)
    for block in (f'blocks.{index}' for index in range(depth)):
        for name, rows, columns in (
            ('attn.qkv', 3 * channels, channels),
            ('attn.proj', channels, channels),
            ('mlp.fc1', hidden, channels),
            ('mlp.fc2', channels, hidden),
        ):
            state[f'{block}.{name}.weight'] = random(rows, columns)
            state[f'{block}.{name}.bias'] = random(rows)
        for name in ('norm1', 'norm2'):
            state[f'{block}.{name}.weight'] = 1 + random(channels)
            state[f'{block}.{name}.bias'] = random(channels)
        if version == 2:
            for name in ('ls1', 'ls2'):
                state[f'{block}.{name}.gamma'] = 0.5 + random(channels)
    return state


def write_superpoint(path, picture=None):
    """Random weights of SuperPoint whose detector fires often; returns the path.

    Args:
        path: of the file.
        picture: uint8 (H, W, 3) whose descriptors shall differ from each other, or None.
    """
    import torch

    from pad_inspection.networks.superpoint import SuperPointModel

    torch.manual_seed(0)
    model = SuperPointModel()
    with torch.no_grad():
        if picture is not None:
            for layer in model.children():
                torch.nn.init.kaiming_normal_(layer.weight)
                torch.nn.init.zeros_(layer.bias)
            gray = torch.from_numpy(picture @ np.float32([0.299, 0.587, 0.114])) / 255
            raw = []
            hook = model.convDb.register_forward_hook(lambda *args: raw.append(args[2]))
            model(gray[None, None])
            hook.remove()
            # what all descriptors have in common goes
            model.convDb.bias -= raw[0].mean(dim=(0, 2, 3))
        else:
            model.convPb.weight *= 30
    torch.save(model.state_dict(), path)
    return path


def lightglue_state(gain=100.0):
    """State of SuperPoint's LightGlue, in the published names, that matches mutual neighbours.

    Its transformer adds nothing to the descriptors, and its assignment compares them as they are.
    """
    import torch
    from kornia.feature import LightGlue

    torch.manual_seed(0)
    state = LightGlue(None, input_dim=256).state_dict()
    del state['confidence_thresholds']
    published = {}
    for key, value in state.items():
        if '.ffn.3.' in key:
            value = torch.zeros_like(value)
        elif key.endswith('final_proj.weight'):
            # similarity of unit vectors: gain * cosine, after the network's own d ** -1/4 each
            value = torch.eye(256) * np.sqrt(gain) * 256**0.25
        elif key.endswith('final_proj.bias') or key.endswith('matchability.weight'):
            value = torch.zeros_like(value)
        elif key.endswith('matchability.bias'):
            value = torch.full_like(value, 8.0)
        if key.startswith('transformers.'):
            _, number, part, rest = key.split('.', 3)
            key = f'{part}.{number}.{rest}'
        published[key] = value
    return published
