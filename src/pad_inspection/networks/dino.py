"""DINO and DINOv2 vision transformers as feature extractors, from a checkpoint that the user has.

A checkpoint is a plain state dictionary with the names of its authors' code, such as
``dino_deitsmall16_pretrain.pth`` or ``dinov2_vits14_pretrain.pth``; its sizes tell which
transformer it is. All levels have the same cells, one for each patch.

Sources: Caron et al. (2021), Emerging Properties in Self-Supervised Vision Transformers; Oquab et
al. (2023), DINOv2: Learning Robust Visual Features without Supervision.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pad_inspection.networks.efficientnet_b4 import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    import torch

MAX_LEVELS = 4
# Both families have heads of this many channels at every size.
_HEAD_CHANNELS = 64


class DinoFeatures:
    """Patch tokens after some blocks of a transformer.

    Attributes:
        names: of each level, from the block that is passed first.
        channels: of each level.
        strides: px per cell of each level.
        centers_px: pixel index (first pixel = 0) under the first cell of each level.
    """

    def __init__(self, network, num_levels: int, device: str = 'cpu'):
        """Take a transformer.

        Args:
            network: kornia's DinoVisionTransformer with its weights.
            num_levels: blocks that are taken, evenly spaced, the last of all among them.
            device: torch device.
        """
        import torch

        depth, patch = network.n_blocks, network.patch_size
        self._blocks = [math.ceil(depth * k / num_levels) - 1 for k in range(1, num_levels + 1)]
        self.names = tuple(f'features_block{block}' for block in self._blocks)
        self.channels = (network.embed_dim,) * num_levels
        self.strides = (patch,) * num_levels
        self.centers_px = ((patch - 1) / 2,) * num_levels
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = device
        self._mean, self._std = (
            torch.tensor(value, dtype=torch.float32, device=device).view(1, 3, 1, 1)
            for value in (IMAGENET_MEAN, IMAGENET_STD)
        )

    def features(self, pictures: np.ndarray) -> list[np.ndarray]:
        """Feature maps of pictures.

        Args:
            pictures: (B, H, W, 3) RGB 0..255, uint8 or float; H and W are multiples of the patch.

        Returns:
            For each level float32 (B, H / patch, W / patch, D), not normalised.

        Raises:
            ValueError: H or W is no multiple of the patch.
        """
        import torch

        height, width = pictures.shape[1:3]
        patch = self.strides[0]
        if height % patch or width % patch:
            raise ValueError(f'pictures of {width} x {height} px, wanted multiples of {patch} px')
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device).float()
            x = (batch.permute(0, 3, 1, 2) - self._mean) / self._std  # (B, 3, H, W)
            levels = self._network.get_intermediate_layers(x, self._blocks, reshape=True)
            return [level.permute(0, 2, 3, 1).contiguous().cpu().numpy() for level in levels]


def load(path: Path, num_levels: int = MAX_LEVELS, device: str = 'cpu') -> DinoFeatures:
    """Load a transformer.

    Args:
        path: checkpoint.
        num_levels: 1 to MAX_LEVELS.
        device: torch device.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else, or a transformer with registers or SwiGLU layers.
    """
    import pickle

    import torch

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'weights {path} of dino do not exist')
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
        network = _transformer(state)
        # only DINOv2 was trained with masked patches
        state.setdefault('mask_token', network.mask_token)
        network.load_state_dict(state)
    except (
        RuntimeError, TypeError, AttributeError, KeyError, IndexError, ZeroDivisionError,
        pickle.UnpicklingError,
    ) as error:  # fmt: skip
        reason = ' '.join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f'{path} does not hold weights of DINO or DINOv2: {reason}') from error
    return DinoFeatures(network, num_levels, device)


def _transformer(state: dict[str, torch.Tensor]):
    """A transformer of the sizes of a state dictionary.

    Raises:
        ValueError: one that kornia's is not.
    """
    from functools import partial

    from kornia.feature.dedode.transformer.dinov2 import DinoVisionTransformer
    from kornia.feature.dedode.transformer.layers import MemEffAttention, NestedTensorBlock

    for key, what in (('register_tokens', 'registers'), ('blocks.0.mlp.w12.weight', 'SwiGLU')):
        if key in state:
            raise ValueError(f'weights of a transformer with {what}, wanted one without')
    channels, _, patch, _ = state['patch_embed.proj.weight'].shape
    depth = len({key.split('.')[1] for key in state if key.startswith('blocks.')})
    # the grid of the pictures that it was trained on; others are interpolated
    grid = math.isqrt(state['pos_embed'].shape[1] - 1)
    return DinoVisionTransformer(
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=channels,
        depth=depth,
        num_heads=channels // _HEAD_CHANNELS,
        mlp_ratio=state['blocks.0.mlp.fc1.weight'].shape[0] / channels,
        block_fn=partial(NestedTensorBlock, attn_class=MemEffAttention),
        init_values=1.0 if 'blocks.0.ls1.gamma' in state else None,
        block_chunks=0,
    )
