"""EfficientNet-lite0 as a feature extractor; its ImageNet weights ride in a Python package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# MBConv blocks whose outputs are taken, their channels and their strides in px.
TAPS = (0, 2, 4, 10, 15)
CHANNELS = (16, 24, 40, 112, 320)
STRIDES = (2, 4, 8, 16, 32)
# Pixel under the first cell of each level. The convolutions pad to the right and below only, and
# the learnt kernels make up for a part of that: measured as the centroid of the response to small
# changes in random pictures (48 coordinates, standard error 0.05 to 0.5 px).
CENTERS_PX = (0.7, 2.4, 3.5, 9.5, 18.4)


class EfficientNetFeatures:
    """Outputs of some blocks of an EfficientNet.

    Attributes:
        names: of each level.
        channels: of each level.
        strides: px per cell of each level.
        centers_px: pixel index (first pixel = 0) under the first cell of each level.
    """

    def __init__(
        self,
        network,
        taps: tuple[int, ...],
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        centers_px: tuple[float, ...],
        mean: np.ndarray,
        std: np.ndarray,
        device: str = 'cpu',
    ):
        """Wrap a network.

        Args:
            network: EfficientNet of the package efficientnet_lite_pytorch, with its weights.
            taps: indices of the blocks whose outputs are wanted, ascending.
            channels: of these blocks.
            strides: of these blocks, px.
            centers_px: pixel index under the first cell of these blocks.
            mean: (3,) subtracted from RGB 0..255.
            std: (3,) that RGB is divided by.
            device: torch device.
        """
        import torch

        self.channels, self.strides, self.centers_px = channels, strides, centers_px
        self.names = tuple(f'features_{stride}' for stride in strides)
        self._taps = taps
        self._network = folded(network.eval().requires_grad_(False)).to(device)
        self._device = device
        self._mean = torch.tensor(mean, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32, device=device).view(1, 3, 1, 1)

    def features(self, pictures: np.ndarray) -> list[np.ndarray]:
        """Feature maps of pictures.

        Args:
            pictures: (B, H, W, 3) RGB 0..255, uint8 or float; H and W are multiples of the last
                stride.

        Returns:
            For each tap float32 (B, H / stride, W / stride, D), not normalised.

        Raises:
            ValueError: H or W is no multiple of the last stride.
        """
        import torch

        height, width = pictures.shape[1:3]
        if height % self.strides[-1] or width % self.strides[-1]:
            raise ValueError(
                f'pictures of {width} x {height} px, wanted multiples of {self.strides[-1]} px'
            )
        network, outputs = self._network, []
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device).float()
            x = (batch.permute(0, 3, 1, 2) - self._mean) / self._std  # (B, 3, H, W)
            x = x.contiguous(memory_format=torch.channels_last)
            x = network._swish(network._bn0(network._conv_stem(x)))  # (B, 32, H/2, W/2)
            for index in range(self._taps[-1] + 1):
                x = network._blocks[index](x)
                if index in self._taps:
                    outputs.append(x.permute(0, 2, 3, 1).cpu().numpy())
        return outputs


def folded(network):
    """The network with each batch norm inside the convolution before it, and padding as well.

    It computes the same with fewer passes over memory, which is what inference on a CPU waits for.

    Args:
        network: EfficientNet of the package efficientnet_lite_pytorch, for inference; changed.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    names = (('_expand_conv', '_bn0'), ('_depthwise_conv', '_bn1'), ('_project_conv', '_bn2'))
    pairs = [(network, '_conv_stem', '_bn0')]
    pairs += [(block, *pair) for block in network._blocks for pair in names]
    for module, conv_name, norm_name in pairs:
        conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
        if conv is None or not isinstance(norm, nn.BatchNorm2d):
            continue
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps,
            norm.weight, norm.bias,
        )  # fmt: skip
        setattr(module, norm_name, nn.Identity())
        padding = getattr(conv, 'static_padding', None)
        if isinstance(padding, nn.ZeroPad2d):
            left, right, top, bottom = padding.padding
            if left == right and top == bottom:
                conv.padding, conv.static_padding = (top, left), nn.Identity()
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
    return network


def load(
    path: Path | None = None, num_levels: int = len(TAPS), device: str = 'cpu'
) -> EfficientNetFeatures:
    """Load EfficientNet-lite0.

    Args:
        path: weights file; None = the installed one.
        num_levels: how many of the taps, from the finest.
        device: torch device.

    Raises:
        FileNotFoundError: the weights are not there.
        ValueError: the file does not hold this network's weights.
    """
    from pad_inspection.networks import weights

    path = weights.find_weights('efficientnet_lite0') if path is None else Path(path)
    network = load_network('efficientnet-lite0', path)
    return EfficientNetFeatures(
        network,
        TAPS[:num_levels],
        CHANNELS[:num_levels],
        STRIDES[:num_levels],
        CENTERS_PX[:num_levels],
        np.full(3, 127.0),
        np.full(3, 128.0),
        device,
    )


def load_network(name: str, path: Path):
    """EfficientNet ``name`` with the weights of a file, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a plain state dictionary of this network.
    """
    import pickle

    import torch
    from efficientnet_lite_pytorch import EfficientNet

    if not Path(path).is_file():
        raise FileNotFoundError(f'weights {path} of {name} do not exist')
    network = EfficientNet.from_name(name)
    try:
        network.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
    except (RuntimeError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'{path} does not hold the weights of {name}: {reason}') from error
    return network
