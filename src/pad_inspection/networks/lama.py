"""LaMa inpainting from a TorchScript file that the user has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pad_inspection import images

_MULTIPLE_PX = 8


class Lama:
    """The network; call ``inpaint``."""

    def __init__(self, path: Path, device: str = 'cpu'):
        """Load the network.

        Args:
            path: TorchScript file; it takes image (1, 3, H, W) in 0..1 and mask (1, 1, H, W).
            device: torch device.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not a TorchScript file.
        """
        import torch

        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f'LaMa weights {path} do not exist')
        try:
            self._network = torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            raise ValueError(f'{path} is not a TorchScript file') from error
        self._device = device

    def inpaint(self, image: np.ndarray, hole_mask: np.ndarray) -> np.ndarray:
        """Fill the hole of a picture.

        Args:
            image: uint8 (H, W, 3).
            hole_mask: bool (H, W), true = fill.

        Returns:
            uint8 (H, W, 3); outside of the hole it is the input.
        """
        import torch

        height, width = hole_mask.shape
        below, right = -height % _MULTIPLE_PX, -width % _MULTIPLE_PX
        padded = np.pad(image, ((0, below), (0, right), (0, 0)), mode='symmetric')
        padded_hole = np.pad(hole_mask, ((0, below), (0, right)), mode='symmetric')
        with torch.inference_mode():
            picture = torch.from_numpy(padded).to(self._device).permute(2, 0, 1)[None] / 255
            hole = torch.from_numpy(padded_hole.astype(np.float32)).to(self._device)[None, None]
            output = self._network(picture, hole)[0].permute(1, 2, 0).cpu().numpy()
        filled = images.to_uint8(output[:height, :width])
        return np.where(hole_mask[..., None], filled, image)
