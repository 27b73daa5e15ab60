"""LightGlue for ALIKED and SuperPoint, LighterGlue for XFeat: learned matching of features.

Source: Lindenberger et al., "LightGlue: Local Feature Matching at Light Speed", ICCV 2023.
SuperPoint's variant comes only from a file that the user has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pad_inspection.networks import weights

# feature name -> name of the weights and shape of the network
_VARIANTS = {
    'aliked': ('aliked_lightglue', {'input_dim': 128}),
    'superpoint': ('superpoint_lightglue', {'input_dim': 256}),
    'xfeat': (
        'xfeat_lighterglue',
        {
            'input_dim': 64,
            'descriptor_dim': 96,
            'n_layers': 6,
            'num_heads': 1,
            'depth_confidence': -1,
            'width_confidence': 0.95,
        },
    ),
}


class LightGlue:
    """The network with its weights; call ``match``."""

    def __init__(self, features: str, device: str = 'cpu', path: str | Path = ''):
        """Load the network.

        Args:
            features: which local features it matches: aliked, superpoint or xfeat.
            device: torch device.
            path: state dictionary of the published layout; loaded without running code from it.
                Empty = the installed one, which superpoint has not.

        Raises:
            FileNotFoundError: the weights are not installed, or the path does not exist.
            ValueError: there is no variant for these features, or the file holds other weights.
        """
        from kornia.feature import LightGlue as KorniaLightGlue

        if features not in _VARIANTS:
            raise ValueError(
                f'no LightGlue for {features!r} features, wanted one of {list(_VARIANTS)}'
            )
        name, shape = _VARIANTS[features]
        path = weights.user_path(name, path)
        if device != 'cpu':
            # its FlashAttention computes in float16, the CPU in float32
            shape = {**shape, 'flash': False}
        with _attention_as_before():
            network = KorniaLightGlue(None, **shape)
        # on the CPU it leaves out hopeless keypoints however few there are, on CUDA only of many:
        # the same matches everywhere are worth more than what that saves
        limits = network.pruning_keypoint_thresholds
        network.pruning_keypoint_thresholds = dict.fromkeys(limits, limits['cpu'])
        _load(network, path, name)
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = device

    def match(
        self,
        keypoints0: np.ndarray,
        descriptors0: np.ndarray,
        keypoints1: np.ndarray,
        descriptors1: np.ndarray,
        side_px: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Match the keypoints of two square pictures.

        Args:
            keypoints0: float32 (N0, 2), px, in the first picture.
            descriptors0: float32 (N0, D), unit length.
            keypoints1: float32 (N1, 2), px, in the second picture.
            descriptors1: float32 (N1, D), unit length.
            side_px: side of both pictures.

        Returns:
            int64 (M, 2) indices into both, and scores float32 (M,), 0 to 1.
        """
        import torch

        if min(len(keypoints0), len(keypoints1)) < 2:
            return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)

        def side(keypoints, descriptors):
            size = torch.full((1, 2), float(side_px), device=self._device)
            points = torch.from_numpy(np.asarray(keypoints, np.float32) - 0.5).to(self._device)
            points = points.clamp(0, side_px)
            values = torch.from_numpy(np.asarray(descriptors, np.float32)).to(self._device)
            return {'keypoints': points[None], 'descriptors': values[None], 'image_size': size}

        with torch.inference_mode():
            result = self._network(
                {
                    'image0': side(keypoints0, descriptors0),
                    'image1': side(keypoints1, descriptors1),
                }
            )
        return result['matches'][0].cpu().numpy(), result['scores'][0].cpu().numpy()


@contextmanager
def _attention_as_before() -> Iterator[None]:
    """Keep which kernels torch's attention may use: kornia's class sets that for all networks."""
    import torch

    before = torch.backends.cuda.flash_sdp_enabled()
    try:
        yield
    finally:
        torch.backends.cuda.enable_flash_sdp(before)


def _load(network, path: Path, name: str) -> None:
    """Put the weights of a file into a network.

    Raises:
        ValueError: the file holds something else.
    """
    import torch

    if path.is_dir():
        raise ValueError(f'{path} is a folder, wanted the file {name}.pth')
    try:
        state = _renamed(torch.load(path, map_location='cpu', weights_only=True))
        result = network.load_state_dict(state, strict=False)
    except Exception as error:  # torch raises many kinds for files of other kinds
        raise ValueError(f'{path} holds no weights of {name}: {error}') from error
    missing = set(result.missing_keys) - {'confidence_thresholds'}
    # what is left over tells a variant for other descriptors
    if missing or result.unexpected_keys:
        raise ValueError(
            f'{path} holds no weights of {name}: {sorted(missing)[:3]} are missing, '
            f'{sorted(result.unexpected_keys)[:3]} are left over'
        )


def _renamed(state: dict) -> dict:
    """State with the key names of kornia's class, without the extractor that some files hold.

    Files use older names.
    """
    renamed = {}
    for key, value in state.items():
        if key.startswith('extractor.'):
            continue
        key = key.removeprefix('matcher.')
        for part in ('self_attn', 'cross_attn'):
            if key.startswith(f'{part}.'):
                _, number, rest = key.split('.', 2)
                key = f'transformers.{number}.{part}.{rest}'
        renamed[key] = value
    return renamed
