"""The public package litesplat on a CPU, a few pixels of it.

It evaluates every Gaussian at every pixel, without a cut-off, so its time grows with the number of
pixels alone: a small block in the middle of the image is timed and scaled up to the whole image.
Its colours do not depend on the direction.

litesplat (Apache-2.0) is no requirement of this project: pip install litesplat.
"""

import contextlib
import io
import json
import os
import tempfile
from pathlib import Path

import torch

os.environ['KERAS_BACKEND'] = 'torch'
from litesplat.core.camera_model import CameraLayer
from litesplat.core.gaussian_model import GaussianParameterLayer

BLOCK_PX = 16


class Scene:
    """Gaussians and a camera as litesplat has them: read from files."""

    def __init__(self, tensors: list[torch.Tensor], viewmat: torch.Tensor, pinhole):
        means, quats, scales, opacities, sh = (tensor.detach() for tensor in tensors)
        quats = torch.nn.functional.normalize(quats)
        # the same Gaussians; of the spherical harmonics the constant
        columns = [means, quats, scales, opacities, sh[:, 0] * 0.2820948 + 0.5]
        names = 'position', 'rotation', 'scale', 'opacity', 'color'
        rows = zip(*(column.tolist() for column in columns))
        camera = {
            'camera_id': 0,
            'model': 'PINHOLE',
            'image_name': '',
            'width': pinhole.width,
            'height': pinhole.height,
            **dict(zip(('fx', 'fy', 'cx', 'cy'), pinhole.intrinsics)),
            'rotation': viewmat[:3, :3].tolist(),
            'translation': viewmat[:3, 3].tolist(),
        }
        # it tells what it reads on standard output
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            gaussians = [dict(zip(names, row)) for row in rows]
            Path(folder, 'gaussians.json').write_text(json.dumps(gaussians))
            Path(folder, 'camera.json').write_text(json.dumps([camera]))
            self._gaussians = GaussianParameterLayer(folder)
            self._camera = CameraLayer(folder, self._gaussians)
        middle = torch.arange(BLOCK_PX) - BLOCK_PX // 2
        ys, xs = torch.meshgrid(
            middle + pinhole.height // 2, middle + pinhole.width // 2, indexing='ij'
        )
        self._pixels = torch.stack([xs, ys], dim=-1).reshape(-1, 2).float()
        self.blocks_in_image = pinhole.width * pinhole.height / BLOCK_PX**2

    def forward(self) -> torch.Tensor:
        """Colours (BLOCK_PX^2, 3) of the block."""
        return self._camera.render_pixel_color(self._pixels)

    def forward_backward(self) -> None:
        """The block and its derivatives by all parameters of the Gaussians."""
        parameters = [variable.value for variable in self._gaussians.trainable_variables]
        torch.autograd.grad(self.forward().sum(), parameters)
