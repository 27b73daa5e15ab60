"""Fit Gaussians to photographs of a good piece with known cameras.

Every step renders one view on a random background colour and compares it with the photograph on
the same colour: L1, D-SSIM, and L1 of alpha. On a fixed colour the fit would paint the background
with Gaussians and fill small holes. Gaussians are added where the pixels pull hardest, up to a
number that grows with the steps, and dropped where they are transparent, not seen, or outside of
the silhouettes. Source: Kerbl et al. (2023), 3D Gaussian Splatting for Real-Time Radiance Field
Rendering; the choice of a growing budget follows Mallick et al. (2024), Taming 3DGS.

One in ``holdout_every`` views is kept out of the fit and tells its quality.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pad_inspection import geometry, images
from pad_inspection.config import FitConfig, to_dict
from pad_inspection.datatypes import Camera, Gaussians, Rigid3
from pad_inspection.offline.fit_quality import measure_quality
from pad_inspection.offline.visual_hull import VisualHull

logger = logging.getLogger(__name__)

# Alpha from which a pixel is object.
_SOLID = 0.5
# Pixels around the silhouette that take part: floaters there are seen, empty corners cost nothing.
_CROP_MARGIN_PX = 16
_TILE_PX = 16
_HULL_POINTS = 6000
_LEAST_VIEWS = 4
# Shares of the steps: first densification, and where spherical harmonics gain a degree.
_DENSIFY_FROM = 0.04
_SH_STEP = 0.1
# Limits in units of the object's radius.
_SPLIT_ABOVE = 0.01
_LARGEST_SCALE = 0.3
_LEAST_OPACITY = 0.005
# A Gaussian that covers less than this many pixels in all training views together is dropped.
_LEAST_WEIGHT_PX = 0.5
_CHECKPOINT_STEPS = 500
_CHECKPOINT_NAME = 'fit_checkpoint.pt'


class FitDivergedError(ValueError):
    """The fit produced NaN or infinity; the message says where."""


@dataclass(frozen=True)
class FitResult:
    """A fitted model.

    Attributes:
        gaussians: the model, m, object frame.
        quality: on the held-out views: psnr, psnr_object (silhouette dilated by 5 px), ssim,
            alpha_iou, hole_alpha; and num_gaussians, fit_seconds.
        holdout_names: names of the views that were not fitted to.
    """

    gaussians: Gaussians
    quality: dict[str, float]
    holdout_names: tuple[str, ...]


@dataclass(frozen=True)
class _Photograph:
    """A view cropped to its object.

    Attributes:
        rgb: uint8 (h, w, 3) on white.
        alpha: uint8 (h, w).
        camera: of the crop.
        pose: cam_from_object, m.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    camera: Camera
    pose: Rigid3

    def colors(self):
        """Premultiplied colour (h, w, 3) and alpha (h, w), float32 0 to 1."""
        alpha = images.to_float(self.alpha)
        rgb = images.to_float(self.rgb) - (1 - alpha[..., None])
        return np.clip(rgb, 0, alpha[..., None]), alpha


def split_holdout(views: list, every: int) -> tuple[list, list]:
    """Fitted and held-out views: one in ``every`` is held out, spread over the cameras' places.

    Counting would not spread them: in a spiral of cameras the 8th next one is often the nearest
    one, and a whole strip of neighbours would be missing from the fit.

    Args:
        views: list of dataset.TrainingView.
        every: views for each one that is held out.

    Raises:
        ValueError: too few views remain to fit.
    """
    count = -(-len(views) // every)
    if len(views) - count < _LEAST_VIEWS:
        raise ValueError(
            f'{len(views)} views with one in {every} held out leave {len(views) - count} to fit, '
            f'wanted at least {_LEAST_VIEWS}'
        )
    places = np.array([geometry.camera_center(view.cam_from_object) for view in views])
    chosen, nearest = [], np.full(len(views), np.inf)
    for _ in range(count):
        # the one farthest from those chosen so far; never the same one twice
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
        nearest = np.fmin(nearest, np.linalg.norm(places - places[chosen[-1]], axis=1))
    held = [views[number] for number in sorted(chosen)]
    fitted = [view for number, view in enumerate(views) if number not in chosen]
    return fitted, held


def fit_gaussians(
    views: list,
    points: np.ndarray,
    colors: np.ndarray,
    config: FitConfig,
    *,
    seed: int = 0,
    device: str = 'auto',
    checkpoint_dir: Path | None = None,
    progress: Callable[[float, str], None] | None = None,
    threads: int = 0,
    held_out: list | None = None,
) -> FitResult:
    """Fit a model.

    Args:
        views: list of dataset.TrainingView.
        points: (N, 3) m, structure from motion; may be empty.
        colors: (N, 3), 0 to 1.
        config: options.
        seed: of everything random; the CPU gives the same bits for the same seed and threads.
        device: 'auto', 'cpu' or 'cuda'.
        checkpoint_dir: checkpoints are written there and continued from; None = none.
        progress: called with a fraction and a text.
        threads: of the CPU, 0 = all.
        held_out: views that tell the quality, list of dataset.TrainingView; None = some of
            ``views`` are kept out of the fit for it.

    Raises:
        FileNotFoundError: a picture or the rasterizer is missing.
        ValueError: too few views, no object in them, or shapes that do not fit.
        FitDivergedError: NaN or infinity during the fit.
        NoCudaError: 'cuda' was asked for and there is no CUDA device.
    """
    from pad_inspection.rendering.fit_renderer import create_fit_renderer

    begin = time.perf_counter()
    points, colors = np.asarray(points, np.float64), np.asarray(colors, np.float64)
    if points.shape != colors.shape or points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(
            f'points have shape {points.shape} and colors {colors.shape}, wanted (N, 3) both'
        )
    renderer = create_fit_renderer(device, threads)
    if held_out is None:
        fitted, held = split_holdout(views, config.holdout_every)
    else:
        fitted, held = views, held_out
    loaded = [view.load() for view in fitted]
    hull = VisualHull(
        [alpha > _SOLID for _, alpha in loaded],
        [view.camera for view in fitted],
        [view.cam_from_object for view in fitted],
    )
    photographs = [_crop(view, *pair) for view, pair in zip(fitted, loaded)]
    del loaded
    fit = _Fit(photographs, hull, points, colors, config, seed, renderer, begin)
    if checkpoint_dir is not None:
        identity = json.dumps([to_dict(config), seed, [view.name for view in fitted]])
        digest = hashlib.sha256(identity.encode() + points.tobytes()).hexdigest()
        fit.use_checkpoints(Path(checkpoint_dir), digest)
    fit.run(held, progress or (lambda fraction, text: None))
    gaussians = fit.gaussians()
    quality = measure_quality(gaussians, held, device=device, threads=threads)
    quality['num_gaussians'] = len(gaussians)
    quality['fit_seconds'] = fit.seconds
    logger.info('fit: %s', quality)
    return FitResult(gaussians, quality, tuple(view.name for view in held))


def _crop(view, rgb: np.ndarray, alpha: np.ndarray) -> _Photograph:
    """A training view cropped to its object."""
    mask = images.to_uint8(alpha)
    x0, y0, x1, y1 = images.mask_bbox(mask > 127, _CROP_MARGIN_PX) or (0, 0, _TILE_PX, _TILE_PX)
    # whole tiles, inside the picture
    x1 = min(view.camera.width, x0 + -(-(x1 - x0) // _TILE_PX) * _TILE_PX)
    y1 = min(view.camera.height, y0 + -(-(y1 - y0) // _TILE_PX) * _TILE_PX)
    camera = geometry.crop_camera(view.camera, x0, y0, x1 - x0, y1 - y0)
    return _Photograph(
        np.ascontiguousarray(rgb[y0:y1, x0:x1]),
        np.ascontiguousarray(mask[y0:y1, x0:x1]),
        camera,
        view.cam_from_object,
    )


class _Fit:
    """The loop and its state."""

    def __init__(
        self, photographs, hull: VisualHull, points, colors, config, seed, renderer, begin
    ):
        import torch

        from pad_inspection.offline.splat_parameters import SplatParameters

        self._photographs = photographs
        self._hull = hull
        self._config = config
        self._renderer = renderer
        self._generator = torch.Generator().manual_seed(seed)
        self._order: list[int] = []
        self._step = 0
        self._begin = begin
        self._checkpoint: tuple[Path, str] | None = None
        points, colors = self._start(points, colors, np.random.default_rng(seed))
        self._parameters = SplatParameters.from_points(
            (points - hull.center) / hull.radius, colors, config.sh_degree, renderer.device
        )
        self._start_count = len(points)
        self._forget_pull()

    def _start(self, points, colors, rng) -> tuple[np.ndarray, np.ndarray]:
        """Points inside the hull, joined by points on its surface in the views' mean colour."""
        inside = self._hull.contains(points)
        points, colors = points[inside], colors[inside]
        count = min(_HULL_POINTS, max(0, self._config.max_gaussians - len(points)))
        extra = self._hull.surface_points(count, rng)
        pixels = np.concatenate([p.rgb[p.alpha > 127][::97] for p in self._photographs])
        mean = pixels.mean(axis=0) / 255
        points = np.concatenate([points, extra])[: self._config.max_gaussians]
        colors = np.concatenate([colors, np.tile(mean, (len(extra), 1))])[: len(points)]
        return points, colors

    def gaussians(self) -> Gaussians:
        """The model as it is now."""
        return self._parameters.to_gaussians(self._hull.center, self._hull.radius)

    @property
    def seconds(self) -> float:
        """Time of this run and of those that it goes on from."""
        return time.perf_counter() - self._begin

    def use_checkpoints(self, folder: Path, digest: str) -> None:
        """Write checkpoints to a folder, and go on from the one there if it is of this fit."""
        import torch

        from pad_inspection.offline.splat_parameters import SplatParameters

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _CHECKPOINT_NAME
        self._checkpoint = (path, digest)
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True, map_location=self._renderer.device)
        if state['digest'] != digest:
            logger.warning('%s is of another fit and is replaced', path)
            return
        self._parameters = SplatParameters.from_state(state['parameters'])
        self._step, self._order = state['step'], state['order']
        self._begin -= state.get('seconds', 0.0)
        self._start_count = state['start_count']
        self._pull, self._seen = state['pull'], state['seen']
        self._generator.set_state(state['generator'].cpu())
        logger.info('going on from step %d of %s', self._step, path)

    def _save_checkpoint(self) -> None:
        import torch

        path, digest = self._checkpoint
        state = {
            'digest': digest,
            'parameters': self._parameters.state(),
            'step': self._step,
            'seconds': self.seconds,
            'order': self._order,
            'start_count': self._start_count,
            'pull': self._pull,
            'seen': self._seen,
            'generator': self._generator.get_state(),
        }
        fresh = path.with_suffix('.tmp')
        torch.save(state, fresh)
        fresh.replace(path)

    def run(self, held, progress: Callable[[float, str], None]) -> None:
        """All steps."""
        total = self._config.iterations
        report_steps = max(1, total // 20)
        text = ''
        while self._step < total:
            if self._step % report_steps == 0:
                quality = measure_quality(self.gaussians(), held[:4], device=self._renderer.device)
                text = f'{len(self._parameters)} Gaussians, {quality["psnr_object"]:.1f} dB'
            if self._step % 25 == 0:
                progress(self._step / total, text)
            self._one_step()
            self._step += 1
            self._densify_if_due()
            if self._checkpoint and self._step % _CHECKPOINT_STEPS == 0:
                self._save_checkpoint()
        self._prune(unseen=True)
        progress(1.0, text)

    def _one_step(self) -> None:
        """Render one view, compare, step."""
        import torch

        config, fraction = self._config, self._step / self._config.iterations
        if not self._order:
            self._order = torch.randperm(
                len(self._photographs), generator=self._generator
            ).tolist()
        photograph = self._photographs[self._order.pop()]
        device = self._renderer.device
        behind = torch.rand(3, generator=self._generator).to(device)
        color, alpha = (torch.as_tensor(a, device=device) for a in photograph.colors())
        target = color + (1 - alpha[..., None]) * behind

        degree = min(config.sh_degree, int(fraction / _SH_STEP))
        view = self._renderer.draw(
            self._parameters.activated(),
            self._viewmat(photograph.pose),
            _pinhole(photograph.camera),
            behind,
            degree,
        )
        loss = (1 - config.ssim_weight) * (view.image - target).abs().mean()
        if config.ssim_weight:
            loss = loss + config.ssim_weight * (1 - self._renderer.ssim(view.image, target))
        loss = loss + config.alpha_weight * (view.alpha - alpha).abs().mean()
        if not torch.isfinite(loss):
            raise FitDivergedError(
                f'the loss is {float(loss)} at step {self._step} of {config.iterations}; values '
                f'that are not finite: {self._parameters.not_finite() or "none"}'
            )
        loss.backward()
        # per-pixel loss, so that the size of the crop does not matter
        self._pull += view.pixel_pull() * alpha.numel()
        self._seen += view.visible
        self._parameters.step(0.01**fraction)

    def _viewmat(self, pose: Rigid3):
        """(4, 4) from the normalised object frame to the camera, in units of the radius."""
        import torch

        matrix = geometry.to_matrix(pose)
        matrix[:3, 3] = geometry.transform(pose, self._hull.center[None])[0] / self._hull.radius
        return torch.as_tensor(matrix, dtype=torch.float32, device=self._renderer.device)

    def _forget_pull(self) -> None:
        import torch

        n, device = len(self._parameters), self._renderer.device
        self._pull = torch.zeros(n, device=device)
        self._seen = torch.zeros(n, device=device)

    def _densify_if_due(self) -> None:
        """Grow and prune every ``densify_interval`` steps until ``densify_until``."""
        import torch

        config = self._config
        first, last = (config.iterations * f for f in (_DENSIFY_FROM, config.densify_until))
        if self._step % config.densify_interval or not first <= self._step:
            return
        bad = self._parameters.not_finite()
        if bad:
            raise FitDivergedError(f'{", ".join(bad)} not finite after step {self._step}')
        if self._step > last:
            return
        progress = (self._step - first) / max(last - first, 1)
        budget = self._start_count + (config.max_gaussians - self._start_count) * progress
        room = int(budget) - len(self._parameters)
        if room > 0:
            pull = self._pull / self._seen.clamp(min=1)
            order = torch.argsort(pull, descending=True, stable=True)[:room]
            chosen = order[pull[order] > config.grow_gradient]
            self._parameters.grow(chosen, _SPLIT_ABOVE, self._generator)
        self._prune(unseen=self._step + config.densify_interval > last)
        self._forget_pull()

    def _prune(self, *, unseen: bool) -> None:
        """Drop what is transparent, huge or outside of the hull, and what no view shows."""
        import torch

        parameters = self._parameters
        keep = parameters.opacities > _LEAST_OPACITY
        keep &= parameters.largest_scales < _LARGEST_SCALE
        means = parameters.means.cpu().numpy().astype(np.float64)
        inside = self._hull.contains(means * self._hull.radius + self._hull.center)
        keep &= torch.as_tensor(inside, device=keep.device)
        if unseen:
            keep &= self._total_weights() > _LEAST_WEIGHT_PX
        if not keep.any():
            raise FitDivergedError(f'no Gaussian is left after step {self._step}')
        parameters.keep(keep)

    def _total_weights(self):
        """(N,) blending weights summed over the pixels of all fitted views, px."""
        import torch

        from pad_inspection.offline.splat_parameters import SH_DC

        with torch.no_grad():
            means, quats, scales, opacities, _ = self._parameters.activated()
        paint = torch.zeros(len(means), 1, 3, device=means.device, requires_grad=True)
        total = torch.zeros(len(means), device=means.device)
        for photograph in self._photographs:
            view = self._renderer.draw(
                (means, quats, scales, opacities, paint),
                self._viewmat(photograph.pose),
                _pinhole(photograph.camera),
                torch.zeros(3, device=means.device),
                0,
            )
            # the derivative of the picture by a Gaussian's colour is its blending weight
            (gradient,) = torch.autograd.grad(view.image[..., 0].sum(), paint)
            total += gradient[:, 0, 0]
        return total / SH_DC


def _pinhole(camera: Camera):
    """The camera as the renderer wants it."""
    from pad_inspection.rendering.cpu_backend import Pinhole

    K = camera.K
    return Pinhole(
        camera.width, camera.height, *(float(K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    )
