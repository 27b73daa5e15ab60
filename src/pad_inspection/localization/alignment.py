"""What a pose implies: where the object is in the picture, and which views look like it."""

from __future__ import annotations

import numpy as np

from pad_inspection import geometry, images
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.localization.crops import CropFrame
from pad_inspection.localization.reference import NO_POINT, ReferenceModel

# The object may appear smaller or larger than in any reference view by this factor.
_SIZE_SLACK = 4.0
# Largest difference of the turns of views that one crop is matched with.
_SAME_TURN_DEG = 35.0
# Cells along the object's size.
_CELLS = 16
# Points are grown to a silhouette by this share of the object's size.
_POINT_GROWTH = 0.04


def nearest_views(
    reference: ReferenceModel, pose: Rigid3, camera: Camera, count: int
) -> tuple[list[int], CropFrame]:
    """Reference views from about the direction of a pose, and the crop that looks like them.

    Args:
        reference: the views.
        pose: cam_from_object of the query.
        camera: of the query.
        count: at most so many views.

    Returns:
        Indices of the views, nearest first, and the frame of a crop of the query in which the
        object lies, turns and measures as in the crop of the nearest view.
    """
    ray = geometry.camera_center(pose) - reference.center
    order = np.argsort(-(reference.directions @ (ray / np.linalg.norm(ray))), kind='stable')
    nearest = int(order[0])
    first_turn = turn_deg(pose, reference.cam_from_object(nearest))
    views: list[int] = []
    for view in order.tolist():
        difference = turn_deg(pose, reference.cam_from_object(view)) - first_turn
        if abs((difference + 180) % 360 - 180) < _SAME_TURN_DEG:
            views.append(view)
        if len(views) == count:
            break
    ids = reference.points_of(nearest)
    points = reference.points[ids[ids != NO_POINT]].astype(np.float64)
    if len(points) < 2:
        points = reference.points.astype(np.float64)
    view_camera, view_pose = reference.camera(nearest), reference.cam_from_object(nearest)
    own = reference.frame(nearest).to_crop(geometry.project_object(view_camera, view_pose, points))
    pixels = geometry.project_object(camera, pose, points)
    return views, CropFrame(similarity(own, pixels), reference.crop_px)


def spread(reference: ReferenceModel, pose: Rigid3, camera: Camera, points2d: np.ndarray) -> int:
    """Number of cells, 1/16 of the object's size at a pose wide, that hold points (M, 2) px."""
    distance = np.linalg.norm(geometry.transform(pose, reference.center[None])[0])
    cell_px = 2 * reference.radius / distance * camera.K[0, 0] / _CELLS
    return len(np.unique(np.floor(points2d / cell_px), axis=0))


def silhouette(reference: ReferenceModel, pose: Rigid3, camera: Camera) -> np.ndarray:
    """Roughly where the object is at a pose, bool (H, W): its points, grown together."""
    pixels = geometry.project_object(camera, pose, reference.points)
    inside = (pixels >= 0).all(axis=1) & (pixels < [camera.width, camera.height]).all(axis=1)
    mask = np.zeros((camera.height, camera.width), bool)
    x, y = pixels[inside].astype(int).T
    mask[y, x] = True
    distance = np.linalg.norm(geometry.transform(pose, reference.center[None])[0])
    size_px = 2 * reference.radius / distance * camera.K[0, 0]
    return images.dilate(mask, int(np.clip(_POINT_GROWTH * size_px, 2, 40)))


def turn_deg(pose: Rigid3, view_pose: Rigid3) -> float:
    """In-plane turn of the picture at ``pose`` against that of a reference view."""
    relative = pose.rotation @ view_pose.rotation.T
    return float(
        np.degrees(np.arctan2(relative[1, 0] - relative[0, 1], relative[0, 0] + relative[1, 1]))
    )


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Turn, scale and shift (2, 3) that take points (N, 2) best to others, by least squares.

    Source: Umeyama, IEEE TPAMI 1991, in the plane as complex numbers.
    """
    a, b = source @ [1, 1j], target @ [1, 1j]
    middle_a, middle_b = a.mean(), b.mean()
    factor = np.vdot(a - middle_a, b - middle_b) / np.vdot(a - middle_a, a - middle_a)
    shift = middle_b - factor * middle_a
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def bounds_fault(pose: Rigid3, camera: Camera, reference: ReferenceModel) -> str:
    """What is impossible about a pose; '' when nothing."""
    center = geometry.transform(pose, reference.center[None])[0]
    if center[2] <= reference.radius:
        return 'the pose puts the object behind the camera or around it'
    apparent = reference.radius / np.linalg.norm(center)
    smallest, largest = reference.apparent_radius
    if not smallest / _SIZE_SLACK < apparent < largest * _SIZE_SLACK:
        return (
            f'the pose puts the object at {np.linalg.norm(center):.3g} m, the reference views saw '
            f'it from {reference.radius / largest:.3g} to {reference.radius / smallest:.3g} m'
        )
    x, y = geometry.project(camera, center[None])[0]
    if not (0 <= x < camera.width and 0 <= y < camera.height):
        return (
            f'the pose puts the middle of the object outside of the image, at ({x:.0f}, {y:.0f})'
        )
    return ''
