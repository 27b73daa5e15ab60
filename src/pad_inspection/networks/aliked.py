"""ALIKED-n16rot: local features that stand turns; the pretrained weights ride in a Python package.

Source: Zhao et al., "ALIKED: A Lighter Keypoint and Descriptor Extraction Network via Deformable
Transformation", IEEE TIM 2023.
"""

from __future__ import annotations

import numpy as np

from pad_inspection.networks import weights

DIMENSION = 128
# Where the mask allows few places, the best of the whole picture would leave too few: take more
# and choose afterwards.
_SURPLUS = 2
# Weaker keypoints are the noise of flat areas.
_MIN_SCORE = 2e-3


class Aliked:
    """The network with its weights; call ``extract``."""

    def __init__(self, device: str = 'cpu'):
        """Load the network.

        Args:
            device: torch device.

        Raises:
            FileNotFoundError: the weights are not installed.
            ValueError: the file holds other weights.
        """
        import torch
        from kornia.feature import ALIKED

        path = weights.find_weights('aliked')
        network = ALIKED('aliked-n16rot', max_num_keypoints=2048, detection_threshold=_MIN_SCORE)
        state = torch.load(path, map_location='cpu', weights_only=True)
        result = network.load_state_dict(state, strict=False)
        wrong = set(result.missing_keys) - {'dkd.hw_grid'} | set(result.unexpected_keys)
        if wrong:
            raise ValueError(f'{path} does not hold ALIKED-n16rot: {sorted(wrong)[:3]} differ')
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = device

    def extract(
        self, picture: np.ndarray, mask: np.ndarray | None, max_keypoints: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints of one picture, best first; as XFeat.extract, with 128 channels."""
        import torch

        self._network.dkd.top_k = _SURPLUS * max_keypoints
        with torch.inference_mode():
            rgb = torch.from_numpy(np.ascontiguousarray(picture)).to(self._device)
            found = self._network(rgb.permute(2, 0, 1)[None].float() / 255)[0]
        keypoints = found.keypoints.cpu().numpy()
        descriptors = found.descriptors.cpu().numpy()
        scores = found.keypoint_scores.cpu().numpy()
        strong = scores > _MIN_SCORE
        keypoints, descriptors, scores = keypoints[strong], descriptors[strong], scores[strong]
        if mask is not None:
            limits = np.array([mask.shape[1], mask.shape[0]]) - 1
            x, y = np.clip(np.rint(keypoints).astype(int), 0, limits).T
            inside = mask[y, x]
            keypoints, descriptors, scores = keypoints[inside], descriptors[inside], scores[inside]
        order = np.argsort(-scores, kind='stable')[:max_keypoints]
        return keypoints[order] + np.float32(0.5), descriptors[order], scores[order]
