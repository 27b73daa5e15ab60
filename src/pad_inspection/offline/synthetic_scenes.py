"""Pictures of the piece on synthetic lines, with and without synthetic defects, to train networks.

A photograph of a good piece is turned in the image plane, its surface changed at a random place
(recoloured, a chunk taken away, a block put on it), lit differently, and put on clutter with a
shadow and a mirror image. What was changed is known exactly, because the splats say which pixels
show which piece of the surface. Only pictures of good pieces are used. The idea of learning from
synthetic defects is that of DRAEM (Zavrtanik et al., ICCV 2021); here they are made on the
product's own surface, in 3D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_inspection import geometry, images
from pad_inspection.datatypes import Camera, Gaussians, RenderedView, Rigid3
from pad_inspection.offline.backgrounds import draw_band, roll_view, synthetic_background
from pad_inspection.rendering.surface_normals import surface_normals

KINDS = ('none', 'recolour', 'removed', 'added')
_SH_DC = 0.28209479177387814
# A pixel belongs to a defect when so much of it shows changed surface.
_SHARE = 0.35
# Changes of colour below this (RGB, 0 to 1) cannot be seen; such pixels teach nothing.
_VISIBLE = 0.06
# Nearly white in a photograph, and that much whiter than the model (darkest channel); what is
# narrower is a glint, which pieces on the line have as well.
_WHITE, _GLARE, _GLARE_PX = 0.8, 0.3, 3


@dataclass(frozen=True)
class SyntheticScene:
    """One picture with all that is known about it.

    Attributes:
        query: uint8 (H, W, 3).
        camera: of the query.
        cam_from_object: true pose.
        object_alpha: float32 (H, W), the piece with what was added to it.
        changed: bool (H, W), pixels that show a defect.
        ignored: bool (H, W), changed as well, but so little that nobody could see it.
        kind: one of KINDS.
    """

    query: np.ndarray
    camera: Camera
    cam_from_object: Rigid3
    object_alpha: np.ndarray
    changed: np.ndarray
    ignored: np.ndarray
    kind: str


@dataclass
class _Piece:
    """The piece in one view while it is being changed; colours are premultiplied, 0 to 1."""

    color: np.ndarray
    alpha: np.ndarray
    share: np.ndarray


class SceneMaker:
    """Makes scenes of one product."""

    def __init__(self, views, gaussians: Gaussians, threads: int = 0, device: str = 'auto'):
        """Load the photographs.

        Args:
            views: list of dataset.TrainingView.
            gaussians: the product's splats.
            threads: of the CPU, 0 = all.
            device: 'auto', 'cpu' or 'cuda'.

        Raises:
            ValueError: no views.
        """
        from pad_inspection.rendering.renderer import SplatScene

        if not views:
            raise ValueError('there are no views to make scenes from')
        self._views = list(views)
        self._photographs = [view.load() for view in self._views]
        self._options = {'device': device, 'threads': threads}
        self._gaussians = gaussians
        self.scene = SplatScene(gaussians, **self._options)
        self._palette = np.clip(0.5 + _SH_DC * gaussians.sh[:, 0], 0.02, 1)

    def make(self, rng: np.random.Generator, kind: str | None = None) -> SyntheticScene:
        """One scene.

        Args:
            rng: source of everything random.
            kind: of defect, None = drawn. A defect that cannot be seen becomes 'none'.
        """
        number = int(rng.integers(len(self._views)))
        view, (image, alpha) = self._views[number], self._photographs[number]
        angle = rng.uniform(-180, 180)
        turned, turned_alpha, pose = roll_view(
            image, alpha, view.camera, view.cam_from_object, angle
        )
        piece = _Piece(
            premultiplied(turned, turned_alpha), turned_alpha, np.zeros_like(turned_alpha)
        )
        rendered = self.scene.render(view.camera, pose)
        kind = str(rng.choice(KINDS, p=(0.2, 0.25, 0.25, 0.3))) if kind is None else kind
        before = piece.color + (1 - piece.alpha[..., None]) * 0.5
        depth = rendered.depth
        if kind != 'none':
            depth = self._change(kind, piece, rendered, view.camera, pose, rng)
        after = piece.color + (1 - piece.alpha[..., None]) * 0.5
        difference = np.abs(after - before).max(axis=2)
        touched = piece.share > _SHARE
        changed = touched & (difference > _VISIBLE)
        if changed.sum() < 12:
            changed[:] = False
            kind = 'none'
        relit = random_light(piece.color, piece.alpha, depth, view.camera, rng)
        query = put_on_line(relit, piece.alpha, rng)
        return SyntheticScene(
            query,
            view.camera,
            pose,
            piece.alpha.astype(np.float32),
            changed,
            (piece.share > 0.05) & ~changed,
            kind,
        )

    def _change(self, kind, piece: _Piece, rendered, camera, pose, rng) -> np.ndarray:
        """Put a defect of a kind on the piece; returns the depth (H, W) of its surface."""
        anchor = self._anchor(rendered, camera, pose, rng)
        if anchor is None:
            return rendered.depth
        if kind == 'added':
            return self._add(piece, rendered, camera, pose, anchor, rng)
        inside = self._chunk(anchor, rng)
        if not inside.any() or inside.mean() > 0.5:
            return rendered.depth
        tensors = self._gaussians
        share = self._share(tensors, inside, camera, pose)
        if kind == 'recolour':
            piece.share = share
            self._recolour(piece, share, rng)
            return rendered.depth
        rest = _subset(tensors, ~inside)
        from pad_inspection.rendering.renderer import SplatScene

        behind = SplatScene(rest, **self._options).render(camera, pose)
        weight = share[..., None]
        color = behind.image
        if rng.random() < 0.5:
            # what a splat model holds under its surface is not what a real piece shows there
            gray = color.mean(axis=2, keepdims=True)
            tone = self._color(rng) * behind.alpha[..., None]
            color = np.clip(tone * (0.5 + gray), 0, behind.alpha[..., None])
        piece.color = (1 - weight) * piece.color + weight * color
        piece.alpha = (1 - share) * piece.alpha + share * behind.alpha
        piece.share = share
        return np.where(share > 0.5, behind.depth, rendered.depth)

    def _anchor(self, rendered, camera, pose, rng) -> np.ndarray | None:
        """A random point (3,) of the visible surface, m, or None."""
        rows, columns = np.nonzero((rendered.alpha > 0.8) & np.isfinite(rendered.depth))
        if not len(rows):
            return None
        i = int(rng.integers(len(rows)))
        pixel = np.array([[columns[i] + 0.5, rows[i] + 0.5]])
        depth = np.array([rendered.depth[rows[i], columns[i]]])
        in_cam = geometry.unproject(camera, pixel, depth)
        return geometry.transform(geometry.invert(pose), in_cam)[0]

    def _sides(self, rng) -> np.ndarray:
        """Half sides (3,) of a random block, m."""
        size = self.scene.radius * np.exp(rng.uniform(np.log(0.05), np.log(0.35)))
        return size * np.exp(rng.uniform(np.log(0.4), np.log(1.6), 3))

    def _chunk(self, anchor: np.ndarray, rng) -> np.ndarray:
        """Gaussians, bool (N,), in a random block or ellipsoid around a point."""
        scaled = (self._gaussians.means - anchor) / self._sides(rng)
        if rng.random() < 0.7:
            return (np.abs(scaled) < 1).all(axis=1)
        return (scaled**2).sum(axis=1) < 1.3

    def _share(self, gaussians: Gaussians, chosen, camera, pose) -> np.ndarray:
        """How much of each pixel shows the chosen Gaussians, float32 (H, W)."""
        from pad_inspection.rendering.renderer import SplatScene

        marked = SplatScene(gaussians, uncertainty=chosen.astype(np.float32), **self._options)
        view = marked.render(camera, pose)
        return np.clip(view.uncertainty * view.alpha, 0, 1)

    def _color(self, rng) -> np.ndarray:
        """A colour (3,): one of the product's own, or any."""
        if rng.random() < 0.6:
            return self._palette[int(rng.integers(len(self._palette)))]
        return rng.uniform(0.02, 1, 3) ** rng.uniform(0.6, 2)

    def _recolour(self, piece: _Piece, share: np.ndarray, rng) -> None:
        """Give a part another colour and keep its shading."""
        inside = share > 0.5
        if not inside.any():
            return
        gray = piece.color.mean(axis=2)
        mean = max(float(gray[inside].mean()), 0.02)
        shading = np.clip(gray / mean, 0.3, 2.0)[..., None]
        for _ in range(10):
            tone = self._color(rng)
            if np.abs(tone - piece.color[inside].mean(axis=0)).max() > 0.15:
                break
        painted = np.clip(tone * shading, 0, 1) * piece.alpha[..., None]
        weight = share[..., None]
        piece.color = (1 - weight) * piece.color + weight * painted

    def _add(self, piece: _Piece, rendered, camera, pose, anchor, rng) -> np.ndarray:
        """Put a block on the surface."""
        from pad_inspection.rendering.renderer import SplatScene

        half = self._sides(rng)
        outward = anchor - self.scene.center
        axis = int(np.argmax(np.abs(outward) / np.maximum(np.ptp(self.scene.box, axis=0), 1e-9)))
        if rng.random() < 0.3:
            axis = int(rng.integers(3))
        middle = anchor.copy()
        middle[axis] += np.sign(outward[axis] or 1.0) * half[axis] * rng.uniform(0.3, 1.0)
        block = _block(middle, half, self._color(rng), self._gaussians.sh.shape[1], rng)
        both = _join(self._gaussians, block)
        marks = np.zeros(len(both), bool)
        marks[len(self._gaussians) :] = True
        share = self._share(both, marks, camera, pose)
        black = _join(_recolored(self._gaussians), block)
        view = SplatScene(black, **self._options).render(camera, pose)
        weight = share[..., None]
        piece.color = np.clip((1 - weight) * piece.color + np.minimum(view.image, weight), 0, 1)
        piece.alpha = share + (1 - share) * piece.alpha
        piece.share = share
        return np.where(share > 0.5, view.depth, rendered.depth)


def premultiplied(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colour times opacity, float32 (H, W, 3), 0 to 1, of a picture uint8 (H, W, 3) on white."""
    color = images.to_float(image) - (1 - alpha[..., None])
    return np.clip(color, 0, alpha[..., None])


def without_glare(
    color: np.ndarray, alpha: np.ndarray, rendered: RenderedView
) -> tuple[np.ndarray, np.ndarray]:
    """A photograph on white with the model's colour where it shows the white room's reflection.

    Seen at a grazing angle any glossy face mirrors the white background, so strongly that the
    photograph says nothing of the piece; without an alpha channel such a face is lost altogether.
    The model knows it from other views, and no line mirrors a white room. Glints and differences
    as thin as the border of the silhouette stay as they are.

    Args:
        color: float32 (H, W, 3), of the photograph, premultiplied, 0 to 1.
        alpha: float32 (H, W), of the photograph.
        rendered: the model in the same pose.

    Returns:
        Colour, premultiplied, and alpha, float32.
    """
    import cv2

    on_white = (color + (1 - alpha[..., None])).min(axis=2)
    expected = (rendered.image + (1 - rendered.alpha[..., None])).min(axis=2)
    solid = rendered.alpha > 0.9
    glare = (solid & (on_white > _WHITE) & (on_white > expected + _GLARE)).astype(np.uint8)
    square = np.ones((_GLARE_PX, _GLARE_PX), np.uint8)
    glare = cv2.morphologyEx(glare, cv2.MORPH_OPEN, square)
    glare = solid & (cv2.dilate(glare, square, iterations=2) > 0)
    filled = np.where(glare[..., None], rendered.image, color)
    return filled.astype(np.float32), np.where(glare, rendered.alpha, alpha).astype(np.float32)


def random_light(
    color: np.ndarray,
    alpha: np.ndarray,
    depth: np.ndarray,
    camera: Camera,
    rng: np.random.Generator,
    variation: float = 1.0,
) -> np.ndarray:
    """Other light on a piece that lies otherwise than in the photograph.

    Its brightness is changed by a random smooth function of the surface normal, and a gloss is
    added around a random normal.

    Args:
        color: float32 (H, W, 3), premultiplied, 0 to 1.
        alpha: float32 (H, W).
        depth: float32 (H, W), m, NaN where nothing is.
        camera: of the picture.
        rng: source of everything random.
        variation: how much the light varies, 0 = not at all.

    Returns:
        float32 (H, W, 3), premultiplied.
    """
    nothing = np.zeros((*alpha.shape, 3), np.float32)
    normal = np.nan_to_num(surface_normals(RenderedView(nothing, alpha, depth), camera))
    x, y, z = normal[..., 0], normal[..., 1], normal[..., 2]
    bases = np.stack([x, y, z, x * y, y * z, x * z, x * x - y * y])
    strength = rng.uniform(0.05, 0.35)
    field = variation * np.tensordot(rng.normal(0, strength, len(bases)), bases, 1)
    gain = np.exp(field - np.median(field[alpha > 0.5]) if (alpha > 0.5).any() else field)
    gain = np.clip(gain * np.exp(variation * rng.normal(0, 0.12)), 0.3, 2.2)[..., None]
    tint = 1 + variation * rng.normal(0, 0.015, 3)
    relit = color * gain * tint
    if rng.random() < 0.5:
        toward = rng.normal(size=3)
        toward /= np.linalg.norm(toward)
        lobe = np.clip(normal @ toward, 0, 1) ** rng.uniform(4, 40)
        relit = relit + variation * rng.uniform(0.05, 0.4) * (lobe * alpha)[..., None]
    return np.clip(relit, 0, alpha[..., None]).astype(np.float32)


def put_on_line(color: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A piece on clutter with a contact shadow, its mirror image, defocus and sensor noise.

    Args:
        color: float32 (H, W, 3), premultiplied, 0 to 1.
        alpha: float32 (H, W).
        rng: source of everything random.

    Returns:
        uint8 (H, W, 3).
    """
    import cv2

    height, width = alpha.shape
    size = max(height, width)
    behind = images.to_float(synthetic_background(rng, height, width))
    _draw_bands_behind(behind, color, alpha, rng)
    down = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(down), np.sin(down)])
    if rng.random() < 0.7:
        behind = _mirror(behind, color, alpha, direction, rng)
    offset = direction * rng.uniform(0, 0.05) * size
    move = np.float32([[1, 0, offset[0]], [0, 1, offset[1]]])
    shadow = cv2.GaussianBlur(
        cv2.warpAffine(alpha, move, (width, height)), (0, 0), rng.uniform(0.006, 0.04) * size
    )
    behind = behind * (1 - rng.uniform(0.1, 0.7) * shadow[..., None])
    mixed = color + (1 - alpha[..., None]) * behind
    if rng.random() < 0.5:
        mixed = images.blur(mixed.astype(np.float32), rng.uniform(0.2, 0.7))
    noise = rng.standard_normal(mixed.shape, np.float32)
    mixed = mixed * 255 + rng.uniform(0.3, 2.0) * noise
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def _draw_bands_behind(behind, color, alpha, rng) -> None:
    """Rails and edges that end at the piece's outline, often in its own colours.

    They look most like added parts, so that a network has to meet many.
    """
    rows, columns = np.nonzero((alpha > 0.4) & (alpha < 0.95))
    if not len(rows):
        return
    opaque = color[alpha > 0.95]
    for _ in range(int(rng.choice([0, 1, 2], p=[0.4, 0.4, 0.2]))):
        i = int(rng.integers(len(rows)))
        tone = np.full(3, rng.uniform(0.02, 0.6))
        if len(opaque) and rng.random() < 0.5:
            tone = opaque[int(rng.integers(len(opaque)))] * rng.uniform(0.7, 1.2)
        draw_band(behind, (columns[i], rows[i]), np.clip(tone, 0, 1), rng)


def _mirror(behind, color, alpha, direction, rng) -> np.ndarray:
    """The background with a blurred mirror image of the piece below it, as on a metal belt."""
    import cv2

    height, width = alpha.shape
    rows, columns = np.nonzero(alpha > 0.5)
    if not len(rows):
        return behind
    points = np.stack([columns, rows], axis=1) + 0.5
    edge = float(np.quantile(points @ direction, rng.uniform(0.85, 1.0)))
    # reflection about the line of points p with p . direction = edge
    linear = np.eye(2) - 2 * np.outer(direction, direction)
    matrix = np.hstack([linear, (2 * edge * direction)[:, None]]).astype(np.float32)
    sigma = rng.uniform(0.5, 5)
    flipped = cv2.GaussianBlur(cv2.warpAffine(color, matrix, (width, height)), (0, 0), sigma)
    cover = cv2.GaussianBlur(cv2.warpAffine(alpha, matrix, (width, height)), (0, 0), sigma)
    strength = rng.uniform(0.1, 0.6)
    return behind * (1 - strength * cover[..., None]) + strength * flipped


def _subset(gaussians: Gaussians, keep: np.ndarray) -> Gaussians:
    """Some of the Gaussians."""
    return Gaussians(
        gaussians.means[keep],
        gaussians.quats[keep],
        gaussians.scales[keep],
        gaussians.opacities[keep],
        gaussians.sh[keep],
    )


def _join(first: Gaussians, second: Gaussians) -> Gaussians:
    """Both sets of Gaussians."""
    names = ('means', 'quats', 'scales', 'opacities', 'sh')
    return Gaussians(
        *(
            np.concatenate([getattr(first, n), getattr(second, n)]).astype(np.float32)
            for n in names
        )
    )


def _recolored(gaussians: Gaussians) -> Gaussians:
    """The Gaussians in black."""
    sh = np.zeros_like(gaussians.sh)
    sh[:, 0] = -0.5 / _SH_DC
    return Gaussians(gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, sh)


def _block(
    middle: np.ndarray, half: np.ndarray, color: np.ndarray, num_bases: int, rng
) -> Gaussians:
    """Flat Gaussians on the faces of a block, each face in its own brightness."""
    spacing = max(float(half.min()) / 4, float(half.max()) / 10)
    means, scales, colors = [], [], []
    for axis in range(3):
        u, v = (i for i in range(3) if i != axis)
        grid_u = np.arange(-half[u] + spacing / 2, half[u], spacing)
        grid_v = np.arange(-half[v] + spacing / 2, half[v], spacing)
        for side in (-1, 1):
            points = np.zeros((len(grid_u) * len(grid_v), 3))
            points[:, u], points[:, v] = (g.ravel() for g in np.meshgrid(grid_u, grid_v))
            points[:, axis] = side * half[axis]
            scale = np.full_like(points, spacing * 0.6)
            scale[:, axis] = spacing * 0.05
            means.append(points + middle)
            scales.append(scale)
            shade = rng.uniform(0.6, 1.3)
            colors.append(np.tile(np.clip(color * shade, 0, 1), (len(points), 1)))
    means, scales, colors = (np.concatenate(a) for a in (means, scales, colors))
    count = len(means)
    sh = np.zeros((count, num_bases, 3), np.float32)
    sh[:, 0] = (colors - 0.5) / _SH_DC
    quats = np.tile(np.float32([1, 0, 0, 0]), (count, 1))
    return Gaussians(
        means.astype(np.float32), quats, scales.astype(np.float32),
        np.full(count, 0.95, np.float32), sh,
    )  # fmt: skip
