"""Give a render the light of the picture that it is compared with.

The pictures that a model was fitted to were taken with the lamps in one place of the object's
frame; a piece that lies on another side is lit from another one. How much a Gaussian of a matt
surface gets of the light from some direction is its area as seen from there, less what the rest
of the object hides: the blending weight with which it is drawn by a camera far away in that
direction. With these weights, light that is smooth over all directions changes each Gaussian by a
linear function of a few coefficients: faces that turn away from a lamp darken, and so do hollows
that it does not reach. The coefficients are fitted robustly to the whole object, and are the same
for all colour channels, so that neither a defect nor a colour is explained away.

Sources: Sloan, Kautz and Snyder (2002), Precomputed Radiance Transfer for Real-Time Rendering in
Dynamic, Low-Frequency Lighting Environments, for the transfer with its shadows; Ramamoorthi and
Hanrahan (2001), An Efficient Representation for Irradiance Environment Maps: nine spherical
harmonics describe the light on a matt surface.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Camera, RenderedView, Rigid3
from pad_inspection.geometry import directions_around, look_at
from pad_inspection.rendering.renderer import SplatScene

# Directions that light is thought to come from, and how large the object is drawn from each.
_NUM_DIRECTIONS = 96
_SIZE_PX = 200
_FILL = 0.48
# So many radii away perspective is as good as none.
_FAR = 40.0
# Gaussians that are drawn less than this, px in all directions together, are never seen.
_LEAST_WEIGHT = 1e-3
# Alpha from which a pixel shows the object alone.
_OPAQUE = 0.95
# Gloss needs fewer bases than the light that is scattered: constant and three linear ones.
_GLOSS_BASES = 4
# Light that is so much stronger or weaker than in the pictures of the model is not believed.
_FACTORS = (0.15, 4.0)
# Fewer pixels say too little about the light.
_LEAST_PIXELS = 300
_MOST_PIXELS = 4000
_ROUNDS = 8
# Residuals beyond this many robust standard deviations count little.
_TOLERATED = 2.0
_LEAST_SPREAD = 1e-3
# Pull of the coefficients to no change, in units of the mean of the normal equations' diagonal.
_DAMPING = 1e-4


@dataclass(frozen=True, eq=False)
class Light:
    """How the light of a picture differs from that in the pictures of the model.

    Attributes:
        factor: float32 (H, W), of the light that the surface scatters.
        gloss: float32 (H, W), white that is added, 0 to 1; may be negative, where the pictures of
            the model have more.
    """

    factor: np.ndarray
    gloss: np.ndarray

    def on(self, view: RenderedView) -> RenderedView:
        """A view of the same pose in this light; its ``image`` alone is another one."""
        opacity = view.alpha[..., None]
        image = view.image * self.factor[..., None] + self.gloss[..., None] * opacity
        return dataclasses.replace(view, image=np.clip(image, 0, opacity).astype(np.float32))


class LightTransfer:
    """What each Gaussian of a model makes of the light around it. Not thread-safe."""

    def __init__(self, scene: SplatScene):
        """Look at the model from all sides; takes as long as 200 small pictures.

        Args:
            scene: the model.
        """
        self._scene = scene
        directions = directions_around(_NUM_DIRECTIONS)
        middle = scene.box.mean(axis=0)
        reach = float(np.linalg.norm(scene.box - middle, axis=1).max())
        focal, half = _SIZE_PX * _FILL * _FAR, _SIZE_PX / 2
        camera = Camera(_SIZE_PX, _SIZE_PX, [[focal, 0, half], [0, focal, half], [0, 0, 1]])
        everywhere = np.ones((_SIZE_PX, _SIZE_PX), np.float32)
        total = np.zeros(len(scene), np.float64)
        received = np.zeros((len(scene), 8), np.float64)
        for direction, bases in zip(directions, _harmonics(directions), strict=True):
            pose = look_at(middle + _FAR * reach * direction, middle)
            weights, _ = scene.backproject(camera, pose, everywhere)
            total += weights
            received += weights[:, None] * bases
        # over the light that the same Gaussian gets when it comes from everywhere alike
        self._bases = (received / (total + _LEAST_WEIGHT)[:, None]).astype(np.float32)

    def match(
        self, rendered: RenderedView, camera: Camera, cam_from_object: Rigid3, query: np.ndarray
    ) -> Light:
        """The light of a picture.

        Args:
            rendered: the model at the pose of the query.
            camera: of both, without distortion.
            cam_from_object: the pose.
            query: uint8 (H, W, 3).

        Returns:
            That of the pictures of the model where the object is too small to tell.

        Raises:
            ValueError: the query is not of the render's size.
        """
        if query.shape[:2] != rendered.alpha.shape:
            raise ValueError(
                f'query {query.shape} and render {rendered.alpha.shape}: wanted the same height '
                'and width'
            )
        known = (rendered.alpha > _OPAQUE) & np.isfinite(rendered.depth)
        factor = np.ones(known.shape, np.float32)
        if known.sum() < _LEAST_PIXELS:
            return Light(factor, np.zeros_like(factor))
        varying = self._scene.paint_vectors(camera, cam_from_object, self._bases)
        drawn = np.isfinite(varying[..., 0])
        bases = np.concatenate([np.ones_like(varying[..., :1]), np.nan_to_num(varying)], axis=2)
        shown = rendered.image[known] / rendered.alpha[known, None]
        every = -(-len(shown) // _MOST_PIXELS)
        wanted = images.to_float(query)[known]
        of_factor, of_gloss = _fit_light(bases[known][::every], shown[::every], wanted[::every])
        factor[drawn] = np.clip(bases[drawn] @ of_factor, *_FACTORS)
        gloss = np.zeros_like(factor)
        gloss[drawn] = bases[drawn][:, :_GLOSS_BASES] @ of_gloss
        return Light(factor, gloss)


def create_light_transfer(scene: SplatScene, match_light: str) -> LightTransfer | None:
    """The transfer of a model; None where the options match light in another way."""
    return LightTransfer(scene) if match_light == 'transfer' else None


def _harmonics(directions: np.ndarray) -> np.ndarray:
    """Spherical harmonics of degree 1 and 2, not normalised, of unit vectors (N, 3): (N, 8)."""
    x, y, z = directions.T
    return np.stack([x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], axis=1)


def _fit_light(
    bases: np.ndarray, shown: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (9,) of the factor and (4,) of the gloss, by reweighted least squares.

    Args:
        bases: (N, 9), the first one 1.
        shown: (N, 3), colour of the render.
        wanted: (N, 3), colour of the picture.
    """
    bases = bases.astype(np.float64)
    gloss = bases[:, :_GLOSS_BASES]
    rows = np.concatenate(
        [np.concatenate([bases * shown[:, c : c + 1], gloss], axis=1) for c in range(3)]
    )
    values = wanted.T.reshape(-1).astype(np.float64)
    unchanged = np.zeros(rows.shape[1])
    unchanged[0] = 1
    found, weights = unchanged, np.ones(len(rows))
    for _ in range(_ROUNDS):
        weighted = rows * weights[:, None]
        normal = weighted.T @ rows
        damping = _DAMPING * np.trace(normal) / len(normal) * np.eye(len(normal))
        right = weighted.T @ (values - rows @ unchanged)
        found = unchanged + np.linalg.solve(normal + damping, right)
        residuals = np.abs(values - rows @ found)
        spread = 1.4826 * np.median(residuals) + _LEAST_SPREAD
        weights = 1 / (1 + (residuals / (_TOLERATED * spread)) ** 2)
    return found[: bases.shape[1]].astype(np.float32), found[bases.shape[1] :].astype(np.float32)
