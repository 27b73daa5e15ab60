"""A splat model on its device: rendering, and what each Gaussian contributes to a picture.

On the CPU the project's C++ rasterizer draws; with an NVIDIA GPU gsplat does. Both use the same
conventions (first pixel centre at (0.5, 0.5), low-pass filter of 0.3 px^2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pad_inspection.datatypes import Camera, Gaussians, RenderedView, Rigid3
from pad_inspection.geometry import to_matrix
from pad_inspection.rendering.backends import create_backend

if TYPE_CHECKING:
    import torch

# Alpha below this is nothing: a depth there would be a quotient of roundings.
_LEAST_ALPHA = 1e-4
# Gaussians that say where the object is.
_SOLID_OPACITY = 0.3
_RADIUS_QUANTILE = 0.99


def _check_camera(camera: Camera) -> None:
    if np.any(camera.distortion):
        raise ValueError('the camera has distortion; rectify the image and use its new camera')
    if camera.K[0, 1] or camera.K[1, 0]:
        raise ValueError(f'the camera matrix has skew {camera.K[0, 1]:g} px, wanted 0')


def _mean_depth(weighted: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Depth (H, W) from its alpha-weighted sum, NaN where nothing is."""
    seen = alpha > _LEAST_ALPHA
    return np.where(seen, weighted / np.where(seen, alpha, 1), np.nan).astype(np.float32)


class SplatScene:
    """A splat model that can be rendered from any pose. Not thread-safe.

    Attributes:
        device_name: 'cpu' or 'gsplat'.
        sh_degree: of the model.
        center: float64 (3,), m, middle of the object.
        radius: m, nearly all of the object is within it of the centre.
        box: float64 (2, 3), m, lowest and highest corner of the object's box.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        device: str = 'auto',
        threads: int = 0,
        uncertainty: np.ndarray | None = None,
    ):
        """Put a model on its device.

        Args:
            gaussians: the model.
            device: 'auto' (CUDA when there is any), 'cpu' or 'cuda'.
            threads: of the CPU, 0 = all that the process may use.
            uncertainty: float32 (N,), a scalar of each Gaussian that is rendered as well, or None.

        Raises:
            ValueError: there are no Gaussians, or ``uncertainty`` has another length.
            NoCudaError: 'cuda' was asked for and there is no CUDA device.
            FileNotFoundError: the C++ rasterizer is not compiled.
        """
        import torch

        if len(gaussians) == 0:
            raise ValueError('the model has no Gaussians')
        if uncertainty is not None and np.shape(uncertainty) != (len(gaussians),):
            raise ValueError(
                f'uncertainty has shape {np.shape(uncertainty)}, wanted ({len(gaussians)},)'
            )
        self._backend = create_backend(device, threads)
        self.device_name = self._backend.name
        to = self._backend.device
        self._tensors = tuple(
            torch.as_tensor(np.ascontiguousarray(array), device=to)
            for array in (
                gaussians.means,
                gaussians.quats,
                gaussians.scales,
                gaussians.opacities,
                gaussians.sh,
            )
        )
        self.sh_degree = gaussians.sh_degree
        self._scalars = None
        if uncertainty is not None:
            self._scalars = torch.as_tensor(np.asarray(uncertainty, np.float32), device=to)
        solid = gaussians.opacities > _SOLID_OPACITY
        points = gaussians.means[solid if solid.any() else slice(None)].astype(np.float64)
        self.center = np.median(points, axis=0)
        distances = np.linalg.norm(points - self.center, axis=1)
        self.radius = float(np.quantile(distances, _RADIUS_QUANTILE))
        self.box = np.stack([points.min(axis=0), points.max(axis=0)])

    def __len__(self) -> int:
        return len(self._tensors[0])

    def render(
        self, camera: Camera, cam_from_object: Rigid3, *, sh_degree: int | None = None
    ) -> RenderedView:
        """Render one view.

        Args:
            camera: without distortion.
            cam_from_object: its pose.
            sh_degree: bases up to this degree, None = all; 0 = the same colour from everywhere.

        Raises:
            ValueError: the camera has distortion or skew.
        """
        import torch

        _check_camera(camera)
        degree = self.sh_degree if sh_degree is None else min(sh_degree, self.sh_degree)
        with torch.no_grad():
            viewmat = self._viewmat(cam_from_object)
            image, alpha, scalar = self._backend.draw(
                self._tensors, viewmat, camera, degree, depth=True, scalars=self._scalars
            )
            alpha = alpha.cpu().numpy()
            image = image.cpu().numpy()
            depth = _mean_depth(image[..., 3], alpha)
            uncertainty = None
            if scalar is not None:
                seen = alpha > _LEAST_ALPHA
                weight = np.where(seen, alpha, 1)
                uncertainty = np.where(seen, scalar.cpu().numpy() / weight, 0).astype(np.float32)
        # Fitted colours can exceed white; a picture cannot.
        color = np.minimum(image[..., :3], alpha[..., None])
        return RenderedView(color, alpha, depth, uncertainty)

    def draw(
        self, camera: Camera, cam_from_object: Rigid3, *, depth: bool = False
    ) -> tuple[np.ndarray, ...]:
        """Colour and alpha (and depth) only, faster than ``render``.

        Args:
            camera: without distortion.
            cam_from_object: its pose.
            depth: return depth as well.

        Returns:
            RGB float32 (H, W, 3) premultiplied by alpha, alpha float32 (H, W), and with ``depth``
            float32 (H, W), m along the optical axis, NaN where nothing is.
        """
        import torch

        _check_camera(camera)
        with torch.no_grad():
            image, alpha, _ = self._backend.draw(
                self._tensors, self._viewmat(cam_from_object), camera, self.sh_degree, depth=depth
            )
        image, alpha = image.cpu().numpy(), alpha.cpu().numpy()
        if not depth:
            return image, alpha
        return image[..., :3], alpha, _mean_depth(image[..., 3], alpha)

    def paint(
        self, camera: Camera, cam_from_object: Rigid3, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw a scalar of each Gaussian.

        Args:
            camera: without distortion.
            cam_from_object: its pose.
            values: float (N,), NaN = not known.

        Returns:
            float32 (H, W), the mean by blending weights of the known values, NaN where none is
            drawn; and float32 (H, W), the share of known ones in what is drawn, 0 to 1.

        Raises:
            ValueError: another number of values, or the camera has distortion.
        """
        if np.shape(values) != (len(self),):
            raise ValueError(f'values have shape {np.shape(values)}, wanted ({len(self)},)')
        known = np.isfinite(values)
        sums, alpha = self._paint(
            camera, cam_from_object, np.stack([np.where(known, values, 0), known], axis=1)
        )
        total, weight = sums[..., 0], sums[..., 1]
        mean = np.where(weight > _LEAST_ALPHA, total / np.maximum(weight, _LEAST_ALPHA), np.nan)
        return mean.astype(np.float32), weight / np.maximum(alpha, _LEAST_ALPHA)

    def paint_vectors(
        self, camera: Camera, cam_from_object: Rigid3, vectors: np.ndarray
    ) -> np.ndarray:
        """Draw a vector of each Gaussian.

        Args:
            camera: without distortion.
            cam_from_object: its pose.
            vectors: float (N, C), finite.

        Returns:
            float32 (H, W, C), the mean by blending weights, NaN where nothing is drawn.

        Raises:
            ValueError: another number of vectors, or the camera has distortion.
        """
        if np.ndim(vectors) != 2 or len(vectors) != len(self):
            raise ValueError(f'vectors have shape {np.shape(vectors)}, wanted ({len(self)}, C)')
        total, alpha = self._paint(camera, cam_from_object, vectors)
        alpha = alpha[..., None]
        seen = alpha > _LEAST_ALPHA
        return np.where(seen, total / np.where(seen, alpha, 1), np.nan).astype(np.float32)

    def _paint(
        self, camera: Camera, cam_from_object: Rigid3, vectors: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sum by blending weights float32 (H, W, C) of vectors (N, C), and alpha (H, W)."""
        import torch

        _check_camera(camera)
        length = vectors.shape[1]
        padded = np.pad(np.asarray(vectors, np.float32), ((0, 0), (0, -length % 3)))
        sums = []
        with torch.no_grad():
            viewmat = self._viewmat(cam_from_object)
            for begin in range(0, length, 3):
                colors = np.ascontiguousarray(padded[:, begin : begin + 3])
                colors = torch.as_tensor(colors, device=self._backend.device)
                image, alpha = self._backend.paint(self._tensors, viewmat, camera, colors)
                sums.append(image.cpu().numpy())
        return np.concatenate(sums, axis=2)[..., :length], alpha.cpu().numpy()

    def rasterize(
        self, viewmat: torch.Tensor, camera: Camera, *, sh_degree: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Render one view, differentiable in the pose.

        Args:
            viewmat: float32 (4, 4), cam_from_object.
            camera: without distortion.
            sh_degree: as in ``render``.

        Returns:
            RGB (H, W, 3) premultiplied by alpha, and alpha (H, W), on the scene's device.
        """
        _check_camera(camera)
        degree = self.sh_degree if sh_degree is None else min(sh_degree, self.sh_degree)
        image, alpha, _ = self._backend.draw(
            self._tensors, viewmat.to(self._backend.device), camera, degree
        )
        return image, alpha

    def backproject(
        self, camera: Camera, cam_from_object: Rigid3, image: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Spread an image over the Gaussians that draw its pixels.

        Args:
            camera: without distortion.
            cam_from_object: its pose.
            image: float32 (H, W); NaN pixels count for nothing.

        Returns:
            float32 (N,) sum of each Gaussian's blending weights, and float32 (N,) sum of weight
            times value; their quotient is the mean value that a Gaussian shows.

        Raises:
            ValueError: the image is not of the camera's size, or the camera has distortion.
        """
        import torch

        _check_camera(camera)
        if np.shape(image) != (camera.height, camera.width):
            raise ValueError(
                f'image has shape {np.shape(image)}, wanted {(camera.height, camera.width)}'
            )
        values = torch.as_tensor(np.array(image, np.float32), device=self._backend.device)
        known = torch.isfinite(values)
        # The weights are the derivative of the picture by the Gaussians' colours.
        pull = torch.stack(
            [known.float(), torch.where(known, values, 0.0), torch.zeros_like(values)], dim=-1
        )
        gradient = self._backend.color_gradient(
            self._tensors, self._viewmat(cam_from_object), camera, pull
        )
        gradient = gradient.cpu().numpy()
        return gradient[:, 0].copy(), gradient[:, 1].copy()

    def _viewmat(self, cam_from_object: Rigid3) -> torch.Tensor:
        import torch

        return torch.as_tensor(
            to_matrix(cam_from_object), dtype=torch.float32, device=self._backend.device
        )
