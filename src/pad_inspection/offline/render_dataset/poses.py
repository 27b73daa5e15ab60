"""How a rigid object can lie on a plane: stable faces of its convex hull, with probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_inspection.geometry import rotation_from_axis_angle

# Hull triangles whose normals differ by less count as one face.
_SAME_FACE_COS = np.cos(np.radians(1.0))


@dataclass(frozen=True)
class StablePose:
    """One way to lie.

    Attributes:
        rotation: world_from_object (3, 3); the world's z is up. Any turn about z is as stable.
        probability: share of random drops that end here, 0 to 1.
    """

    rotation: np.ndarray
    probability: float


def stable_poses(
    points: np.ndarray, center_of_mass: np.ndarray, min_probability: float = 0.03
) -> list[StablePose]:
    """Find the stable poses of the convex hull of points, most probable first.

    A hull face is stable when the centre of mass is above it. Each face gets the solid angle under
    which the centre of mass sees it; what falls on an unstable face rolls over the edge that the
    centre of mass is farthest beyond, until a stable one is reached.

    Args:
        points: (N, 3), m.
        center_of_mass: (3,), m, inside the hull.
        min_probability: poses that are rarer are left out; the others are scaled to sum to 1.

    Raises:
        ValueError: the points have no hull with a stable face (fewer than 4, or all in a plane).

    Source: Goldberg et al. (1999), Part pose statistics: quasi-static rolling from face to face.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError) as error:
        raise ValueError(f'{len(points)} points have no convex hull with a volume') from error
    face_of, normals = _faces(hull)
    count = len(normals)
    angle = np.zeros(count)
    for simplex, face in zip(hull.simplices, face_of):
        angle[face] += _solid_angle(points[simplex] - center_of_mass)
    beyond, next_face = _farthest_edges(hull, face_of, normals, points, center_of_mass)
    probability = np.zeros(count)
    for face in range(count):
        at, seen = face, set()
        while beyond[at] > 0 and at not in seen:
            seen.add(at)
            at = next_face[at]
        probability[at] += angle[face]
    probability /= probability.sum()
    kept = [
        k for k in np.argsort(-probability, kind='stable') if probability[k] >= min_probability
    ]
    total = probability[kept].sum()
    return [StablePose(_rotation_down(normals[k]), float(probability[k] / total)) for k in kept]


def upright(poses: list[StablePose]) -> StablePose:
    """The pose whose object z axis points up most."""
    return max(poses, key=lambda pose: pose.rotation[2, 2])


def _faces(hull) -> tuple[np.ndarray, np.ndarray]:
    """Face number of each hull triangle (T,), and outward normals of the faces (F, 3)."""
    triangle_normals = hull.equations[:, :3]
    face_of = np.full(len(triangle_normals), -1)
    normals = []
    for start in range(len(triangle_normals)):
        if face_of[start] >= 0:
            continue
        number, stack = len(normals), [start]
        face_of[start] = number
        normals.append(triangle_normals[start])
        while stack:
            for other in hull.neighbors[stack.pop()]:
                # compared with the first triangle: a rounded shape must not become one face
                same = triangle_normals[other] @ triangle_normals[start] > _SAME_FACE_COS
                if face_of[other] < 0 and same:
                    face_of[other] = number
                    stack.append(other)
    return face_of, np.asarray(normals)


def _farthest_edges(hull, face_of, normals, points, center) -> tuple[np.ndarray, np.ndarray]:
    """How far the centre of mass is beyond each face's edges (m), and the face over that edge."""
    beyond = np.full(len(normals), -np.inf)
    next_face = np.zeros(len(normals), int)
    for index, simplex in enumerate(hull.simplices):
        face = face_of[index]
        for corner in range(3):
            # qhull: neighbour k lies opposite to corner k
            neighbor = face_of[hull.neighbors[index][corner]]
            if neighbor == face:
                continue
            a, b = points[np.delete(simplex, corner)]
            outward = np.cross(b - a, normals[face])
            if outward @ (points[simplex[corner]] - a) > 0:
                outward = -outward
            distance = (center - a) @ outward / np.linalg.norm(outward)
            if distance > beyond[face]:
                beyond[face], next_face[face] = distance, neighbor
    return beyond, next_face


def _solid_angle(triangle: np.ndarray) -> float:
    """Solid angle (sr) of a triangle (3, 3) seen from the origin (Van Oosterom and Strackee)."""
    lengths = np.linalg.norm(triangle, axis=1)
    a, b, c = triangle
    denominator = lengths.prod() + a @ b * lengths[2] + a @ c * lengths[1] + b @ c * lengths[0]
    return 2 * abs(float(np.arctan2(abs(np.linalg.det(triangle)), denominator)))


def _rotation_down(normal: np.ndarray) -> np.ndarray:
    """The shortest rotation (3, 3) that turns a unit vector straight down."""
    down = np.array([0.0, 0.0, -1.0])
    axis = np.cross(normal, down)
    sine, cosine = np.linalg.norm(axis), normal @ down
    if sine < 1e-9:
        return np.eye(3) if cosine > 0 else np.diag([1.0, -1.0, -1.0])
    return rotation_from_axis_angle(axis / sine * np.arctan2(sine, cosine))
