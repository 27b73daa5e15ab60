"""Rigid transforms, projection, axis conventions, quaternion order and the pixel origin.

The only place where conventions are converted:

* object and world frames are right-handed, metres; camera frames are OpenCV's (x right, y down,
  z forward); NeRF and Blender cameras are OpenGL's (y up, z backward);
* quaternions are wxyz here (ROS uses xyzw);
* the centre of the first pixel is (0.5, 0.5) here, as in COLMAP and gsplat ((0, 0) in OpenCV, in
  ROS CameraInfo and in most keypoint detectors).
"""

from __future__ import annotations

import numpy as np

from pad_inspection.datatypes import Camera, Rigid3

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0])


def identity() -> Rigid3:
    """The transform that changes nothing."""
    return Rigid3(np.eye(3), np.zeros(3))


def compose(c_from_b: Rigid3, b_from_a: Rigid3) -> Rigid3:
    """Return c_from_a."""
    return Rigid3(
        c_from_b.rotation @ b_from_a.rotation,
        c_from_b.rotation @ b_from_a.translation + c_from_b.translation,
    )


def invert(b_from_a: Rigid3) -> Rigid3:
    """Return a_from_b."""
    return Rigid3(b_from_a.rotation.T, -b_from_a.rotation.T @ b_from_a.translation)


def transform(b_from_a: Rigid3, points_in_a: np.ndarray) -> np.ndarray:
    """Take points (N, 3) of frame a to frame b."""
    return np.asarray(points_in_a) @ b_from_a.rotation.T + b_from_a.translation


def to_matrix(b_from_a: Rigid3) -> np.ndarray:
    """Return the homogeneous float64 (4, 4) matrix."""
    matrix = np.eye(4)
    matrix[:3, :3] = b_from_a.rotation
    matrix[:3, 3] = b_from_a.translation
    return matrix


def from_matrix(matrix: np.ndarray) -> Rigid3:
    """Return the transform of a (3, 4) or (4, 4) matrix; its rotation is made orthonormal.

    Raises:
        ValueError: the matrix has another shape, or its left part is not a rotation up to 1%.
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape not in ((3, 4), (4, 4)):
        raise ValueError(f'a transform matrix has shape {matrix.shape}, wanted (3, 4) or (4, 4)')
    u, s, vt = np.linalg.svd(matrix[:3, :3])
    if np.abs(s - 1).max() > 1e-2 or np.linalg.det(u @ vt) < 0:
        raise ValueError('the left 3x3 of a transform matrix is not a rotation')
    return Rigid3(u @ vt, matrix[:3, 3])


def cam_from_world_of_opengl(world_from_gl_camera: np.ndarray) -> Rigid3:
    """Convert a NeRF/Blender camera-to-world matrix (4, 4) to cam_from_world (OpenCV axes)."""
    world_from_cam = np.array(world_from_gl_camera, np.float64)
    if world_from_cam.shape not in ((3, 4), (4, 4)):
        raise ValueError(f'a camera matrix has shape {world_from_cam.shape}, wanted (4, 4)')
    world_from_cam[:3, :3] = world_from_cam[:3, :3] @ OPENGL_FROM_OPENCV
    return invert(from_matrix(world_from_cam))


def opengl_of_cam_from_world(cam_from_world: Rigid3) -> np.ndarray:
    """Inverse of cam_from_world_of_opengl: the float64 (4, 4) camera-to-world with OpenGL axes."""
    matrix = to_matrix(invert(cam_from_world))
    matrix[:3, :3] = matrix[:3, :3] @ OPENGL_FROM_OPENCV
    return matrix


def camera_center(cam_from_object: Rigid3) -> np.ndarray:
    """Position of the camera, (3,) m, in the object frame."""
    return -cam_from_object.rotation.T @ cam_from_object.translation


def project(camera: Camera, points_in_cam: np.ndarray) -> np.ndarray:
    """Project points (N, 3) m to pixels (N, 2), without distortion; NaN behind the camera."""
    points = np.asarray(points_in_cam, np.float64)
    z = np.where(points[:, 2] > 1e-9, points[:, 2], np.nan)
    xy = points[:, :2] / z[:, None]
    return xy @ camera.K[:2, :2].T + camera.K[:2, 2]


def project_object(camera: Camera, cam_from_object: Rigid3, points: np.ndarray) -> np.ndarray:
    """Project points (N, 3) m of the object frame to pixels (N, 2)."""
    return project(camera, transform(cam_from_object, points))


def unproject(camera: Camera, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Points (N, 3) m in the camera frame of pixels (N, 2) at depth (N,) m."""
    pixels = np.asarray(pixels, np.float64)
    homogeneous = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)
    return homogeneous @ np.linalg.inv(camera.K).T * np.asarray(depth, np.float64)[:, None]


def scale_camera(camera: Camera, width: int, height: int) -> Camera:
    """Camera of the same picture resized to width x height px."""
    ratio = np.diag([width / camera.width, height / camera.height, 1.0])
    return Camera(width, height, ratio @ camera.K, camera.distortion)


def crop_camera(camera: Camera, x0: float, y0: float, width: int, height: int) -> Camera:
    """Camera of the crop whose upper left corner is at (x0, y0) px."""
    K = camera.K.copy()
    K[0, 2] -= x0
    K[1, 2] -= y0
    return Camera(width, height, K, camera.distortion)


def camera_from_opencv(width: int, height: int, K: np.ndarray, distortion=None) -> Camera:
    """Camera of an OpenCV or ROS matrix (first pixel centre at 0, 0).

    Args:
        width: px.
        height: px.
        K: (3, 3), px, OpenCV's origin.
        distortion: up to 5 plumb_bob coefficients; fewer are filled with zeros.

    Raises:
        ValueError: more than 5 coefficients that are not zero (another distortion model).
    """
    K = np.array(K, np.float64)
    if K.shape == (3, 3):
        K[:2, 2] += 0.5
    coefficients = np.asarray([] if distortion is None else distortion, np.float64).ravel()
    if np.any(coefficients[5:]):
        raise ValueError(
            f'{coefficients.size} distortion coefficients, wanted at most 5 (plumb_bob: k1 k2 p1 '
            'p2 k3); rectify the image first'
        )
    padded = np.zeros(5)
    padded[: min(5, coefficients.size)] = coefficients[:5]
    return Camera(width, height, K, padded)


def opencv_matrix(camera: Camera) -> np.ndarray:
    """K (3, 3) with OpenCV's pixel origin (first pixel centre at 0, 0)."""
    K = camera.K.copy()
    K[:2, 2] -= 0.5
    return K


def rotation_from_quat(quat_wxyz: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of a quaternion (4,) wxyz of any length above 0."""
    w, x, y, z = np.asarray(quat_wxyz, np.float64) / np.linalg.norm(quat_wxyz)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quat_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Quaternion (4,) wxyz, w >= 0, of a rotation (3, 3).

    Source: Bar-Itzhack (2000), eigenvector of the quaternion matrix; stable for any angle.
    """
    r = np.asarray(rotation, np.float64)
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], 0, 0, 0],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], 0, 0],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], 0],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], np.trace(r)],
        ]
    )
    _, vectors = np.linalg.eigh(k)
    x, y, z, w = vectors[:, -1]
    quat = np.array([w, x, y, z])
    return quat if w >= 0 else -quat


def rotation_from_axis_angle(vector: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) about ``vector`` (3,) by its length in rad (Rodrigues)."""
    vector = np.asarray(vector, np.float64)
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


def rotation_angle_deg(a_from_c: Rigid3, b_from_c: Rigid3) -> float:
    """Angle between two orientations, degrees."""
    relative = a_from_c.rotation @ b_from_c.rotation.T
    # atan2 of the antisymmetric part stays exact for tiny angles, where arccos of the trace rounds
    sine = np.linalg.norm(
        [
            relative[2, 1] - relative[1, 2],
            relative[0, 2] - relative[2, 0],
            relative[1, 0] - relative[0, 1],
        ]
    )
    return float(np.degrees(np.arctan2(sine, np.trace(relative) - 1)))


def pose_error_px(
    camera: Camera, estimate: Rigid3, truth: Rigid3, points_in_object: np.ndarray
) -> float:
    """Mean distance in px between the projections of points (N, 3) m under two poses."""
    difference = project_object(camera, estimate, points_in_object) - project_object(
        camera, truth, points_in_object
    )
    distance = np.linalg.norm(difference, axis=1)
    return float(np.nanmean(distance)) if np.isfinite(distance).any() else float('inf')


def look_at(eye: np.ndarray, target: np.ndarray, up=(0.0, 0.0, 1.0)) -> Rigid3:
    """cam_from_world of a camera at ``eye`` that looks at ``target`` (both (3,) m)."""
    forward = np.asarray(target, np.float64) - np.asarray(eye, np.float64)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, np.asarray(up, np.float64))
    if np.linalg.norm(right) < 1e-6:
        right = np.cross(forward, [1.0, 0.0, 0.0])
    right = right / np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Rigid3(rotation, -rotation @ np.asarray(eye, np.float64))


def directions_around(count: int) -> np.ndarray:
    """Unit vectors (count, 3) that cover the sphere evenly: a Fibonacci lattice.

    Source: Gonzalez (2010), Measurement of Areas on a Sphere Using Fibonacci and
    Latitude-Longitude Lattices, Mathematical Geosciences 42.
    """
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, k * np.pi * (1 + 5**0.5)
    around = np.sqrt(1 - z * z)
    return np.stack([around * np.cos(angle), around * np.sin(angle), z], axis=1)
