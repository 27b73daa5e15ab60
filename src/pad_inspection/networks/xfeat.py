"""XFeat: light local features; the pretrained weights ride in a Python package.

Source: Potje et al., "XFeat: Accelerated Features for Lightweight Image Matching", CVPR 2024.
"""

from __future__ import annotations

import numpy as np

from pad_inspection.networks import weights

DIMENSION = 64
# The network halves its input five times.
_MULTIPLE = 32
_DETECTION_THRESHOLD = 0.01
# Weaker keypoints are the noise of flat areas.
_MIN_SCORE = 1e-3
_NMS_RADIUS = 2


class XFeat:
    """The network with its weights; call ``extract``."""

    def __init__(self, device: str = 'cpu'):
        """Load the network.

        Args:
            device: torch device.

        Raises:
            FileNotFoundError: the weights are not installed.
        """
        import torch
        from kornia.feature.xfeat import XFeatModel

        network = XFeatModel()
        state = torch.load(weights.find_weights('xfeat'), map_location='cpu', weights_only=True)
        network.load_state_dict(state)
        network = network.eval().requires_grad_(False).to(device)
        _fuse_normalization(network)
        # a third faster on CPUs; no difference to the result
        self._network = network.to(memory_format=torch.channels_last)
        self._device = device

    def extract(
        self, picture: np.ndarray, mask: np.ndarray | None, max_keypoints: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints of one picture, best first.

        Args:
            picture: uint8 (H, W, 3), sides that are multiples of 32.
            mask: bool (H, W), where keypoints may be; None = everywhere.
            max_keypoints: at most so many.

        Returns:
            Keypoints float32 (N, 2) px (first pixel centre at 0.5), descriptors float32 (N, 64) of
            unit length, scores float32 (N,).

        Raises:
            ValueError: a side is no multiple of 32.
        """
        import torch
        from torch.nn import functional

        height, width = picture.shape[:2]
        if height % _MULTIPLE or width % _MULTIPLE:
            raise ValueError(f'picture of {width}x{height} px, wanted multiples of {_MULTIPLE}')
        with torch.inference_mode():
            rgb = torch.from_numpy(np.ascontiguousarray(picture)).to(self._device)
            gray = rgb.sum(dim=2, dtype=torch.float32)[None, None] / (3 * 255)  # (1, 1, H, W)
            dense, logits, reliability = self._network(gray)
            heat = _heatmap(logits)  # (H, W)
            allowed = _maxima(heat) & (heat > _DETECTION_THRESHOLD)
            if mask is not None:
                allowed &= torch.from_numpy(mask).to(self._device)
            rows, columns = torch.nonzero(allowed, as_tuple=True)  # (N,), (N,)
            pixels = torch.stack([columns, rows], dim=1)  # (N, 2)
            grid = _sampling_grid(pixels, width, height)
            scores = heat[rows, columns] * functional.grid_sample(
                reliability, grid, mode='bilinear', align_corners=False
            ).reshape(-1)
            # stable: equal scores keep the order of the picture, so that results repeat
            order = torch.sort(scores, descending=True, stable=True).indices[:max_keypoints]
            order = order[scores[order] > _MIN_SCORE]
            descriptors = functional.grid_sample(
                functional.normalize(dense, dim=1),
                grid[:, :, order],
                mode='bicubic',
                align_corners=False,
            )[0, :, 0].T  # (N, 64)
            descriptors = functional.normalize(descriptors, dim=1)
            keypoints = pixels[order].float() + _subpixel_offsets(heat, pixels[order]) + 0.5
        return keypoints.cpu().numpy(), descriptors.cpu().numpy(), scores[order].cpu().numpy()


def _heatmap(logits):
    """Probability of a keypoint (H, W) from the logits (1, 65, H/8, W/8) of 8 x 8 cells."""
    probability = logits.softmax(dim=1)[0, :64]  # channel 64: no keypoint in this cell
    _, rows, columns = probability.shape
    cells = probability.reshape(8, 8, rows, columns).permute(2, 0, 3, 1)
    return cells.reshape(rows * 8, columns * 8)


def _maxima(heat):
    """Bool (H, W): the largest value within the radius, not at the border."""
    import torch

    reach, (height, width) = _NMS_RADIUS, heat.shape
    inner_width, inner_height = width - 2 * reach, height - 2 * reach
    # the maximum of shifted copies is ten times faster than max_pool2d on CPUs
    rows = heat[:, :inner_width]
    for shift in range(1, 2 * reach + 1):
        rows = torch.maximum(rows, heat[:, shift : shift + inner_width])
    largest = rows[:inner_height]
    for shift in range(1, 2 * reach + 1):
        largest = torch.maximum(largest, rows[shift : shift + inner_height])
    found = torch.zeros_like(heat, dtype=torch.bool)
    inner = (slice(reach, height - reach), slice(reach, width - reach))
    found[inner] = heat[inner] == largest
    return found


def _fuse_normalization(module) -> None:
    """Fold each batch normalisation into the convolution before it, in place."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for child in module.children():
        _fuse_normalization(child)
    if isinstance(module, nn.Sequential):
        for index in range(len(module) - 1):
            pair = module[index], module[index + 1]
            if isinstance(pair[0], nn.Conv2d) and isinstance(pair[1], nn.BatchNorm2d):
                module[index], module[index + 1] = fuse_conv_bn_eval(*pair), nn.Identity()


def _sampling_grid(pixels, width: int, height: int):
    """Grid (1, 1, N, 2) for grid_sample with the convention that the weights were trained with.

    Pixels are divided by (side - 1) although the corners are not aligned.
    """
    import torch

    side = torch.tensor([width - 1, height - 1], device=pixels.device, dtype=torch.float32)
    return (2 * pixels / side - 1)[None, None]


def _subpixel_offsets(heat, pixels):
    """Offsets (N, 2) of the peak of a parabola through the logarithms around each maximum."""
    import torch

    log_heat = heat.clamp_min(1e-8).log()
    x, y = pixels.T
    middle = log_heat[y, x]
    offsets = []
    for before, after in (
        (log_heat[y, x - 1], log_heat[y, x + 1]),
        (log_heat[y - 1, x], log_heat[y + 1, x]),
    ):
        curvature = (2 * middle - before - after).clamp_min(1e-6)
        offsets.append(((after - before) / (2 * curvature)).clamp(-0.5, 0.5))
    return torch.stack(offsets, dim=1)
