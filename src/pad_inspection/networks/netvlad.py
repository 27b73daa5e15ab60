"""NetVLAD: one descriptor of a whole picture; weights only from a file that the user has.

Source: Arandjelovic et al., "NetVLAD: CNN Architecture for Weakly Supervised Place Recognition",
CVPR 2016. The authors publish the weights as a MATLAB file
(VGG16-NetVLAD-Pitts30K); whoever names it answers for its licence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

# VGG16 (Simonyan and Zisserman, ICLR 2015) up to its last convolution, as layers of the file: a
# convolution and a ReLU each, pooling after each group. The ReLU after the last is not used.
_GROUPS = (2, 2, 3, 3, 3)
_NETVLAD_LAYER = 30
_WHITENING_LAYER = 33
# Four poolings must leave something to describe.
_LEAST_PX = 32


def _convolution_layers() -> list[list[int]]:
    """Index of each convolution among the layers of the file, group by group."""
    groups, index = [], 0
    for count in _GROUPS:
        groups.append([index + 2 * i for i in range(count)])
        index += 2 * count + 1
    return groups


class NetVladModel(nn.Module):
    """VGG16, the NetVLAD layer and the whitening.

    Its sizes are those of the weights; published are D = 512 channels, K = 64 clusters, 4096
    numbers after the whitening.
    """

    def __init__(self, channels: Sequence[int], num_clusters: int, descriptor_size: int):
        """Make the layers.

        Args:
            channels: that each of the 13 convolutions gives.
            num_clusters: K.
            descriptor_size: numbers of the descriptor.
        """
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1)
            for inputs, outputs in zip([3, *channels], channels)
        )
        dimension = channels[-1]
        self.assignment = nn.Conv2d(dimension, num_clusters, 1, bias=False)
        self.centers = nn.Parameter(torch.zeros(dimension, num_clusters))
        self.whitening = nn.Linear(dimension * num_clusters, descriptor_size)
        self.register_buffer('mean', torch.zeros(3))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Descriptors (B, P) of unit length.

        Args:
            pictures: (B, 3, H, W) RGB, 0 to 255.
        """
        residuals = self.aggregate(self.dense(pictures))
        return functional.normalize(self.whitening(residuals), dim=1)

    def dense(self, pictures: torch.Tensor) -> torch.Tensor:
        """Local descriptors (B, D, H / 16, W / 16) of pictures, see forward."""
        x = pictures - self.mean[:, None, None]
        last = len(self.convolutions) - 1
        ends = np.cumsum(_GROUPS).tolist()
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if index == last:
                break
            x = functional.relu(x)
            if index + 1 in ends:
                x = functional.max_pool2d(x, 2)
        return x

    def aggregate(self, dense: torch.Tensor) -> torch.Tensor:
        """The NetVLAD layer: residuals to the cluster centres, softly assigned and summed.

        Args:
            dense: (B, D, H, W), one local descriptor at each place.

        Returns:
            (B, D * K) of unit length, the clusters of one channel beside each other.
        """
        dense = functional.normalize(dense, dim=1)
        weights = self.assignment(dense).softmax(dim=1).flatten(2)  # (B, K, N)
        # sum over places of weight * (descriptor - centre), without (B, D, K, N) in memory
        sums = torch.einsum('bdn,bkn->bdk', dense.flatten(2), weights)
        residuals = sums - self.centers * weights.sum(dim=2)[:, None]  # (B, D, K)
        residuals = functional.normalize(residuals, dim=1)
        return functional.normalize(residuals.flatten(1), dim=1)


class NetVlad:
    """The network with its weights; call ``describe``."""

    def __init__(self, path: Path, device: str = 'cpu'):
        """Load the network.

        Args:
            path: MATLAB file of the published layout, saved as plain structs; loaded without
                running code from it.
            device: torch device.

        Raises:
            ValueError: the file holds something else.
        """
        try:
            model = _read_model(path)
        except Exception as error:  # scipy and numpy raise many kinds for files of other kinds
            raise ValueError(
                f'{path} holds no weights of NetVLAD ({error!r}), wanted '
                'VGG16-NetVLAD-Pitts30K.mat in plain structs'
            ) from error
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = device

    @property
    def descriptor_size(self) -> int:
        """Numbers of a descriptor."""
        return self._model.whitening.out_features

    def describe(self, picture: np.ndarray) -> np.ndarray:
        """Descriptor float32 (P,) of unit length.

        Args:
            picture: uint8 (H, W, 3) RGB, sides of at least 32 px.

        Raises:
            ValueError: the picture is smaller.
        """
        if min(picture.shape[:2]) < _LEAST_PX:
            raise ValueError(f'picture of {picture.shape[:2]} px, wanted {_LEAST_PX} or more')
        with torch.inference_mode():
            rgb = torch.from_numpy(np.ascontiguousarray(picture)).to(self._device).float()
            return self._model(rgb.permute(2, 0, 1)[None])[0].cpu().numpy()


def _read_model(path: Path) -> NetVladModel:
    """The network of a MATLAB file."""
    from scipy.io import loadmat

    net = loadmat(path, struct_as_record=False, squeeze_me=True)['net']

    def arrays(layer: int) -> list[torch.Tensor]:
        return [torch.from_numpy(np.array(w, np.float32)) for w in net.layers[layer].weights]

    # side x side x inputs x outputs, and the bias
    convolutions = [arrays(layer) for group in _convolution_layers() for layer in group]
    assignment, negative_centers = arrays(_NETVLAD_LAYER)  # both D x K
    whitening, whitening_bias = arrays(_WHITENING_LAYER)  # (D * K) x P, P
    model = NetVladModel(
        [len(bias) for _, bias in convolutions],
        assignment.shape[1],
        len(whitening_bias),
    )
    state = {
        'assignment.weight': assignment.T[:, :, None, None],
        'centers': -negative_centers,
        'whitening.weight': whitening.T,
        'whitening.bias': whitening_bias,
        'mean': _mean_color(net.meta.normalization.averageImage),
    }
    for index, (weight, bias) in enumerate(convolutions):
        state[f'convolutions.{index}.weight'] = weight.permute(3, 2, 0, 1)
        state[f'convolutions.{index}.bias'] = bias
    model.load_state_dict(state)
    return model


def _mean_color(picture: np.ndarray) -> torch.Tensor:
    """Mean colour (3,), 0 to 255, of the mean picture (H, W, 3) or (3,) of the training data."""
    colors = np.asarray(picture, np.float32).reshape(-1, 3)
    return torch.from_numpy(colors.mean(axis=0))
