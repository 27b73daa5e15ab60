"""How large is the object: the unit of a model from photographs, from something that is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import camera_center, project_object
from pad_inspection.nerf_files import error_text, read_json

# The object's length spans this share of the points at both ends, so that strays do not count.
_END_SHARE = 0.002
# A clicked point whose rays miss each other by more than this was clicked wrongly, px.
_MAX_CLICK_ERROR_PX = 6.0


@dataclass(frozen=True)
class PickedPoint:
    """A point of the object that was marked in photographs.

    Attributes:
        pixels: photograph's name -> (2,) px.
    """

    pixels: dict[str, np.ndarray]

    def scaled(self, factor: float) -> PickedPoint:
        """The same point in photographs of ``factor`` times the size."""
        return PickedPoint({name: factor * pixel for name, pixel in self.pixels.items()})


@dataclass(frozen=True)
class KnownScale:
    """What is known of lengths; exactly one of them is given.

    Attributes:
        object_length_m: distance of the two points of the object that are farthest apart.
        camera_spacing: names of two photographs, and the distance of their cameras, m.
        point_distance: two marked points and their distance, m.
    """

    object_length_m: float | None = None
    camera_spacing: tuple[str, str, float] | None = None
    point_distance: tuple[PickedPoint, PickedPoint, float] | None = None

    def __post_init__(self):
        given = [self.object_length_m, self.camera_spacing, self.point_distance]
        count = sum(value is not None for value in given)
        if count != 1:
            raise ValueError(
                f'{count} known lengths, wanted exactly one: the length of the object, the '
                'distance of two cameras, or the distance of two marked points'
            )
        for length in (
            self.object_length_m,
            self.camera_spacing and self.camera_spacing[2],
            self.point_distance and self.point_distance[2],
        ):
            if length is not None and not 0 < length < np.inf:
                raise ValueError(f'a known length is {length}, wanted more than 0 m')


def metres_per_unit(
    known: KnownScale,
    camera: Camera,
    poses: dict[str, Rigid3],
    points: np.ndarray,
    hull: np.ndarray,
) -> float:
    """Scale of a model.

    Args:
        known: a length.
        camera: of the photographs.
        poses: cam_from_object by photograph's name, model units.
        points: (P, 3) of the model.
        hull: (N, 3) points of the shape that the silhouettes leave; used for the length.

    Raises:
        ValueError: the length refers to photographs without a camera, or contradicts the model.
    """
    if known.object_length_m is not None:
        return known.object_length_m / longest_extent(np.concatenate([hull, points]))
    if known.camera_spacing is not None:
        first, second, distance = known.camera_spacing
        a, b = (camera_center(_pose(poses, name)) for name in (first, second))
        spacing = float(np.linalg.norm(a - b))
        if spacing < 1e-9:
            raise ValueError(f'{first} and {second} were taken from the same place')
        return distance / spacing
    first, second, distance = known.point_distance
    a, b = (triangulate_picked(point, camera, poses) for point in (first, second))
    return distance / float(np.linalg.norm(a - b))


def longest_extent(points: np.ndarray) -> float:
    """Distance of the two points (N, 3) that are farthest apart, without strays."""
    from scipy.spatial import ConvexHull

    corners = points[ConvexHull(points).vertices]
    distances = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    i, j = np.unravel_index(np.argmax(distances), distances.shape)
    axis = (corners[j] - corners[i]) / distances[i, j]
    low, high = np.quantile(points @ axis, [_END_SHARE, 1 - _END_SHARE])
    return float(high - low)


def triangulate_picked(point: PickedPoint, camera: Camera, poses: dict[str, Rigid3]) -> np.ndarray:
    """Where a marked point lies, (3,), model units.

    Raises:
        ValueError: it is marked in fewer than two photographs with a camera, or the marks do not
            meet in one point.

    Source: Hartley and Zisserman, Multiple View Geometry, 2003, section 12.2.
    """
    marks = {name: pixel for name, pixel in point.pixels.items() if name in poses}
    if len(marks) < 2:
        raise ValueError(
            f'a point is marked in {len(marks)} photographs that have a camera, wanted 2 or more '
            f'(marked: {sorted(point.pixels)})'
        )
    rows = []
    for name, pixel in marks.items():
        pose = poses[name]
        matrix = camera.K @ np.column_stack([pose.rotation, pose.translation])
        rows += [pixel[0] * matrix[2] - matrix[0], pixel[1] * matrix[2] - matrix[1]]
    homogeneous = np.linalg.svd(np.array(rows))[2][-1]
    found = homogeneous[:3] / homogeneous[3]
    for name, pixel in marks.items():
        error = np.linalg.norm(project_object(camera, poses[name], found[None])[0] - pixel)
        if not error < _MAX_CLICK_ERROR_PX:
            raise ValueError(
                f'the marks of a point do not meet: {error:.1f} px off in {name}, wanted less '
                f'than {_MAX_CLICK_ERROR_PX:g}'
            )
    return found


def read_point_distance(path: Path) -> tuple[PickedPoint, PickedPoint, float]:
    """Read {"distance_m": 0.05, "a": {"IMG_1": [x, y], ...}, "b": {...}}, px of the photographs.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not hold that.
    """
    content = read_json(path)
    try:
        first, second = (
            PickedPoint({k: np.array(v, float).reshape(2) for k, v in content[key].items()})
            for key in ('a', 'b')
        )
        return first, second, float(content['distance_m'])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f'{path} holds no two marked points (wanted distance_m, a and b): {error_text(error)}'
        ) from error


def _pose(poses: dict[str, Rigid3], name: str) -> Rigid3:
    if name not in poses:
        raise ValueError(
            f'the photograph {name!r} has no camera; those that have one: {sorted(poses)[:5]} ...'
        )
    return poses[name]
