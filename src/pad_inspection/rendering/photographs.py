"""Photographs of good pieces, seen from the pose of a query: references beside the render.

Splats smooth fine texture and gloss. A photograph from a nearby direction shows both as they are:
its pixels are moved to where the query's camera would see that surface, by the splats' depth.
Where a photograph does not show the surface the render stands in.

The idea of comparing with good pictures of the nearest poses is that of pose-near memory banks
(PatchCore, Roth et al., CVPR 2022, has the bank without poses); here patches are compared only
with the same place of the surface, which the pose tells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Camera, RenderedView, Rigid3
from pad_inspection.geometry import (
    camera_center,
    compose,
    from_matrix,
    invert,
    project,
    scale_camera,
    to_matrix,
    transform,
    unproject,
)
from pad_inspection.npz_files import read_npz

if TYPE_CHECKING:
    from pad_inspection.bundle import Bundle
    from pad_inspection.rendering.renderer import SplatScene

FILE = 'photographs.npz'
_QUALITY = 95
_DAMAGE = (ValueError, KeyError, TypeError, MemoryError)
# Pixels at the silhouette are mixed with the background: they are left to the render.
_OPAQUE = 0.9
_MARGIN_PX = 2
# Depths that differ by more, in radii of the object, are those of two surfaces.
_SAME_SURFACE = 0.024
# Overexposed pixels of a photograph (0 to 255) are left to the render.
_WHITE = 250
# Larger photographs are scaled down: the comparison sees the object at a few hundred px.
_MOST_PX = 800
# Pictures and depths in memory, 4.5 MB each at most.
_MOST_KEPT = 48


@dataclass(frozen=True, eq=False)
class Photographs:
    """Good pictures on white with their poses.

    Attributes:
        names: (C,) of the views.
        cameras: (C,) without distortion.
        poses: (C,) cam_from_object, m.
        encoded: (C,) each a JPEG file in memory.
    """

    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    poses: tuple[Rigid3, ...]
    encoded: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of_views(cls, views: Iterable) -> Photographs:
        """The photographs of training views (dataset.TrainingView), at most 800 px large."""
        rows = []
        for view in views:
            picture, camera = images.undistort(view.load()[0], view.camera)
            factor = _MOST_PX / max(camera.width, camera.height)
            if factor < 1:
                width = max(1, round(camera.width * factor))
                height = max(1, round(camera.height * factor))
                picture = images.resize(picture, width, height)
                camera = scale_camera(camera, width, height)
            rows.append((view.name, camera, view.cam_from_object, _encode(picture)))
        return cls(*map(tuple, zip(*rows, strict=True)))

    def without(self, names: set[str]) -> Photographs:
        """Copy without some views; what is left may be empty."""
        kept = [i for i, name in enumerate(self.names) if name not in names]
        fields = (self.names, self.cameras, self.poses, self.encoded)
        return Photographs(*(tuple(field[i] for i in kept) for field in fields))

    def picture(self, index: int) -> np.ndarray:
        """One photograph, uint8 (H, W, 3)."""
        name = f'photograph {self.names[index]}'
        return images.decode_rgb(self.encoded[index], name, self.cameras[index])

    def save(self, folder: Path) -> None:
        """Write the file of a bundle."""
        arrays = {
            'names': np.array(self.names, np.str_),
            'sizes': np.array([[c.width, c.height] for c in self.cameras], np.int64),
            'intrinsics': np.stack([c.K for c in self.cameras]),
            'poses': np.stack([to_matrix(pose)[:3] for pose in self.poses]),
            'lengths': np.array([len(data) for data in self.encoded], np.int64),
            'encoded': np.frombuffer(b''.join(self.encoded), np.uint8),
        }
        with open(Path(folder) / FILE, 'wb') as stream:
            np.savez(stream, **arrays)

    @classmethod
    def load(cls, path: Path) -> Photographs:
        """Read what save wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged; the message names the file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f'photographs {path} do not exist (pad build writes them)')
        try:
            file = read_npz(path)
            if not 1 <= file['sizes'].min(initial=1) <= file['sizes'].max(initial=1) <= _MOST_PX:
                raise ValueError(f'a photograph is empty or larger than {_MOST_PX} px')
            ends = np.cumsum(file['lengths'])
            encoded = file['encoded'].tobytes()
            found = cls(
                tuple(map(str, file['names'])),
                tuple(
                    Camera(int(width), int(height), K)
                    for (width, height), K in zip(file['sizes'], file['intrinsics'], strict=True)
                ),
                tuple(from_matrix(matrix) for matrix in file['poses']),
                tuple(
                    encoded[end - length : end]
                    for end, length in zip(ends, file['lengths'], strict=True)
                ),
            )
            if not len(found.names) == len(found.cameras) == len(found.poses) == len(ends):
                raise ValueError('the lists differ in length')
            if len(found) and int(ends[-1]) != len(encoded):
                raise ValueError(f'{len(encoded)} bytes of pictures, wanted {int(ends[-1])}')
            return found
        except _DAMAGE as error:
            raise ValueError(f'{path} holds no photographs: {error}') from error


class PhotographWarper:
    """Shows photographs as another camera would see them. Not thread-safe."""

    def __init__(self, photographs: Photographs, scene: SplatScene):
        """Keep the photographs; pictures and depths are made when they are first needed.

        Args:
            photographs: with the poses of their views.
            scene: the model, for the surface.
        """
        self._photographs = photographs
        self._scene = scene
        rays = np.array([camera_center(pose) for pose in photographs.poses]).reshape(-1, 3)
        rays = rays - scene.center
        self._directions = rays / np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-12)
        self._prepared: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def nearest(self, cam_from_object: Rigid3, count: int) -> list[int]:
        """Photographs from the most similar directions, at most ``count``, the nearest first."""
        toward = camera_center(cam_from_object) - self._scene.center
        similarity = self._directions @ toward
        return [int(i) for i in np.argsort(-similarity, kind='stable')[:count]]

    def references(
        self, rendered: RenderedView, camera: Camera, cam_from_object: Rigid3, count: int
    ) -> list[RenderedView]:
        """The render with the pixels of the nearest photographs where they show the surface.

        Args:
            rendered: the model at the pose.
            camera: of the query.
            cam_from_object: pose of the query.
            count: of photographs.

        Returns:
            One view for each photograph; opacity and depth are those of the render.
        """
        box = images.mask_bbox(rendered.alpha > _OPAQUE)
        if box is None:
            return []
        x0, y0, x1, y1 = box
        x, y = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
        depth = rendered.depth[y0:y1, x0:x1]
        alpha = rendered.alpha[y0:y1, x0:x1]
        known = (alpha > _OPAQUE) & np.isfinite(depth)
        pixels = np.stack([x.ravel(), y.ravel()], axis=1)
        points = unproject(camera, pixels, np.where(known, depth, 1.0).ravel())
        result = []
        for index in self.nearest(cam_from_object, count):
            color, shown = self._seen_from(index, points, cam_from_object, depth.shape)
            shown &= known
            image = rendered.image.copy()
            window = image[y0:y1, x0:x1]
            window[shown] = (color * alpha[..., None])[shown]
            result.append(dataclasses.replace(rendered, image=image))
        return result

    def _seen_from(
        self, index: int, points_in_cam: np.ndarray, cam_from_object: Rigid3, shape
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colours float32 (h, w, 3), 0 to 1, of points in a photograph; where it shows them."""
        import cv2

        photographs = self._photographs
        camera = photographs.cameras[index]
        there_from_here = compose(photographs.poses[index], invert(cam_from_object))
        points = transform(there_from_here, points_in_cam)
        distance = points[:, 2].reshape(shape)
        points[:, 2] = np.maximum(points[:, 2], 1e-6)
        # remap counts from the middle of the first pixel
        place = (project(camera, points) - 0.5).astype(np.float32).reshape(*shape, 2)
        place = np.clip(place, -1e4, 1e4)
        picture, surface = self._picture_and_surface(index)
        color = cv2.remap(picture, place, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        found = cv2.remap(
            surface, place, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=-1
        )
        shown = (found > 0) & (np.abs(found - distance) < _SAME_SURFACE * self._scene.radius)
        return images.to_float(color), shown

    def _picture_and_surface(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """A photograph uint8 (H, W, 3) and the depth float32 (H, W) of what it shows, else -1."""
        if index not in self._prepared:
            photographs = self._photographs
            picture = photographs.picture(index)
            _, alpha, depth = self._scene.draw(
                photographs.cameras[index], photographs.poses[index], depth=True
            )
            usable = ~images.dilate(alpha < _OPAQUE, _MARGIN_PX)
            usable &= (picture.min(axis=2) < _WHITE) & np.isfinite(depth)
            surface = np.where(usable, depth, -1).astype(np.float32)
            if len(self._prepared) >= _MOST_KEPT:
                del self._prepared[next(iter(self._prepared))]
            self._prepared[index] = picture, surface
        return self._prepared[index]


def create_warper(
    photographs: Photographs | None, bundle: Bundle | None, scene: SplatScene, count: int
) -> PhotographWarper | None:
    """What shows photographs in the pose of a query.

    Args:
        photographs: of good pieces; None = those of the bundle.
        bundle: the model's, or None.
        scene: the model.
        count: how many a query is compared with.

    Returns:
        None when ``count`` is 0: the render alone is compared.

    Raises:
        ValueError: photographs are wanted and there are none, or they are damaged.
    """
    if count == 0:
        return None
    if photographs is None and bundle is not None:
        photographs = Photographs.load(bundle.file(FILE))
    if photographs is None or len(photographs) == 0:
        raise ValueError(
            f'comparison.num_photographs is {count} and the model has no photographs: build it '
            'again, or set the option to 0'
        )
    return PhotographWarper(photographs, scene)


def _encode(picture: np.ndarray) -> bytes:
    """A picture uint8 (H, W, 3) as JPEG with full colour resolution."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode('.jpg', np.ascontiguousarray(picture[..., ::-1]), options)[1].tobytes()
