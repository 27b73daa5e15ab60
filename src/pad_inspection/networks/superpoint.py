"""SuperPoint: keypoints and descriptors; weights only from a file that the user has.

Source: DeTone, Malisiewicz, Rabinovich, "SuperPoint: Self-Supervised Interest Point Detection and
Description", CVPR Workshops 2018. The published weights (superpoint_v1.pth) are for
non-commercial research; whoever names them answers for their licence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

_CELL_PX = 8
_DETECTION_THRESHOLD = 0.005
_NMS_RADIUS = 4
_BORDER_PX = 4


class SuperPointModel(nn.Module):
    """The network; the names of its layers are those of the published weights."""

    def __init__(self):
        super().__init__()
        self.conv1a = nn.Conv2d(1, 64, 3, padding=1)
        self.conv1b = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2a = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2b = nn.Conv2d(64, 64, 3, padding=1)
        self.conv3a = nn.Conv2d(64, 128, 3, padding=1)
        self.conv3b = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4a = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4b = nn.Conv2d(128, 128, 3, padding=1)
        self.convPa = nn.Conv2d(128, 256, 3, padding=1)
        self.convPb = nn.Conv2d(256, _CELL_PX**2 + 1, 1)
        self.convDa = nn.Conv2d(128, 256, 3, padding=1)
        self.convDb = nn.Conv2d(256, 256, 1)

    def forward(self, gray: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heat of keypoints and dense descriptors.

        Args:
            gray: (B, 1, H, W), 0 to 1; H and W are multiples of 8.

        Returns:
            Heat (B, H, W), 0 to 1, and descriptors (B, 256, H/8, W/8) of unit length.
        """
        x = gray
        for stage in (1, 2, 3, 4):
            x = functional.relu(getattr(self, f'conv{stage}a')(x))
            x = functional.relu(getattr(self, f'conv{stage}b')(x))
            if stage < 4:
                x = functional.max_pool2d(x, 2)  # (B, C, H/8, W/8) in the end
        logits = self.convPb(functional.relu(self.convPa(x)))  # (B, 65, H/8, W/8)
        # the last channel stands for a cell without a keypoint
        inside = logits.softmax(dim=1)[:, :-1]
        heat = functional.pixel_shuffle(inside, _CELL_PX)[:, 0]  # (B, H, W)
        descriptors = self.convDb(functional.relu(self.convDa(x)))
        return heat, functional.normalize(descriptors, dim=1)


class SuperPoint:
    """The network with its weights; call ``extract``."""

    def __init__(self, path: Path, device: str = 'cpu'):
        """Load the network.

        Args:
            path: state dictionary of the published layout; loaded without running code from it.
            device: torch device.

        Raises:
            ValueError: the file holds something else.
        """
        model = SuperPointModel()
        try:
            model.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
        except Exception as error:  # torch raises many kinds for files of other kinds
            raise ValueError(f'{path} holds no weights of SuperPoint: {error}') from error
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = device

    def extract(
        self, picture: np.ndarray, mask: np.ndarray | None, max_keypoints: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints of one picture, best first.

        Args:
            picture: uint8 (H, W, 3), sides that are multiples of 8.
            mask: bool (H, W), where keypoints may be; None = everywhere.
            max_keypoints: at most so many.

        Returns:
            Keypoints float32 (N, 2) px (first pixel centre at 0.5), descriptors float32 (N, 256)
            of unit length, scores float32 (N,).

        Raises:
            ValueError: a side is no multiple of 8.
        """
        height, width = picture.shape[:2]
        if height % _CELL_PX or width % _CELL_PX:
            raise ValueError(f'picture of {width}x{height} px, wanted multiples of {_CELL_PX}')
        with torch.inference_mode():
            rgb = torch.from_numpy(np.ascontiguousarray(picture)).to(self._device).float() / 255
            gray = rgb @ rgb.new_tensor([0.299, 0.587, 0.114])  # (H, W)
            heat, dense = self._model(gray[None, None])
            heat = heat[0]
            window = 2 * _NMS_RADIUS + 1
            largest = functional.max_pool2d(heat[None], window, 1, _NMS_RADIUS)[0]
            allowed = (heat == largest) & (heat > _DETECTION_THRESHOLD)
            inner = torch.zeros_like(allowed)
            inner[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = True
            allowed &= inner
            if mask is not None:
                allowed &= torch.from_numpy(mask).to(self._device)
            rows, columns = torch.nonzero(allowed, as_tuple=True)
            scores = heat[rows, columns]
            # stable: equal scores keep the order of the picture, so that results repeat
            order = torch.sort(scores, descending=True, stable=True).indices[:max_keypoints]
            keypoints = torch.stack([columns, rows], dim=1)[order].float() + 0.5  # (N, 2)
            grid = 2 * keypoints / keypoints.new_tensor([width, height]) - 1
            # (1, 256, 1, N): a cell's centre is at 8 i + 4 px, as grid_sample has it
            sampled = functional.grid_sample(dense, grid[None, None], align_corners=False)
            descriptors = functional.normalize(sampled[0, :, 0].T, dim=1)  # (N, 256)
        return keypoints.cpu().numpy(), descriptors.cpu().numpy(), scores[order].cpu().numpy()
