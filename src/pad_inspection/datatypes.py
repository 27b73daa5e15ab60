"""Values that cross module boundaries: frozen dataclasses of numpy arrays with checked shapes.

Letters in shapes: H W image, N items, M correspondences, D channels, K spherical-harmonics bases.
Transforms are named ``b_from_a`` and take points of frame a to frame b.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np


def _checked(name: str, value, dtype, shape: tuple[int | None, ...]) -> np.ndarray:
    """Array of the wanted dtype and shape (None = any size), or a ValueError that names it."""
    array = np.asarray(value, dtype=dtype)
    fits = array.ndim == len(shape) and all(
        want is None or got == want for got, want in zip(array.shape, shape)
    )
    if not fits:
        raise ValueError(f'{name} has shape {array.shape}, wanted {shape} (None = any)')
    return array


class Verdict(IntEnum):
    """Outcome for an image or an object; the values are those of pad_msgs/InspectionResult."""

    UNDETERMINED = 0
    PASS = 1
    REJECT = 2


class Reason(IntEnum):
    """Why a verdict was given; the values are those of pad_msgs/InspectionResult."""

    NONE = 0
    ANOMALY = 1
    MODEL_NOT_LOADED = 100
    FRAME_DROPPED = 101
    DEADLINE_MISSED = 102
    IMAGE_INVALID = 103
    NOT_LOCALIZED = 104
    VIEW_NOT_COVERED = 105
    NODE_LOST = 106
    NO_PIECE = 107
    CONFLICT = 108
    INTERNAL_ERROR = 999


class PoseStatus(StrEnum):
    """Outcome of localisation; a pose is valid only with LOCALIZED."""

    NOT_ATTEMPTED = 'not_attempted'
    LOCALIZED = 'localized'
    NO_OBJECT = 'no_object'
    TOO_FEW_MATCHES = 'too_few_matches'
    POSE_REJECTED = 'pose_rejected'


@dataclass(frozen=True)
class Camera:
    """Pinhole camera with OpenCV distortion.

    Attributes:
        width: image width, px.
        height: image height, px.
        K: float64 (3, 3), px. The centre of the first pixel is at (0.5, 0.5), as in COLMAP and
            gsplat; OpenCV and ROS CameraInfo put it at (0, 0): see geometry.camera_from_opencv.
        distortion: float64 (5,), OpenCV's k1 k2 p1 p2 k3; zeros for a rectified image.
    """

    width: int
    height: int
    K: np.ndarray
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(5))

    def __post_init__(self):
        object.__setattr__(self, 'K', _checked('Camera.K', self.K, np.float64, (3, 3)))
        object.__setattr__(
            self, 'distortion', _checked('Camera.distortion', self.distortion, np.float64, (5,))
        )
        if self.width < 1 or self.height < 1:
            raise ValueError(f'camera size {self.width}x{self.height} px, wanted at least 1x1')
        if not np.isfinite(self.K).all() or not np.isfinite(self.distortion).all():
            raise ValueError('camera matrix or distortion holds NaN or infinity')
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0:
            raise ValueError(
                f'focal lengths {self.K[0, 0]:g}, {self.K[1, 1]:g} px, wanted both above 0 '
                '(is the camera calibrated?)'
            )


@dataclass(frozen=True)
class Rigid3:
    """Rigid transform: x_b = rotation @ x_a + translation for a variable named ``b_from_a``.

    Attributes:
        rotation: float64 (3, 3), orthonormal, determinant +1.
        translation: float64 (3,), m.
    """

    rotation: np.ndarray
    translation: np.ndarray

    def __post_init__(self):
        rotation = _checked('Rigid3.rotation', self.rotation, np.float64, (3, 3))
        translation = _checked('Rigid3.translation', self.translation, np.float64, (3,))
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) or (
            np.linalg.det(rotation) < 0
        ):
            raise ValueError('Rigid3.rotation is not a rotation (orthonormal, determinant +1)')
        if not np.isfinite(translation).all():
            raise ValueError('Rigid3.translation holds NaN or infinity')
        object.__setattr__(self, 'rotation', rotation)
        object.__setattr__(self, 'translation', translation)


@dataclass(frozen=True)
class Frame:
    """One camera image with what is known about it.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        camera: intrinsics of this image; its size equals the image's.
        stamp_ns: acquisition time, ns.
        camera_name: which camera took it.
        object_id: which piece it shows, '' when unknown.
        is_grey: the camera sent no colour; the three channels are one.
        allow_grey: a grey image may be compared with a model in colour (grey_images.py).
    """

    image: np.ndarray
    camera: Camera
    stamp_ns: int = 0
    camera_name: str = 'camera'
    object_id: str = ''
    is_grey: bool = False
    allow_grey: bool = False

    def __post_init__(self):
        image = self.image
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            raise ValueError(
                f'Frame.image is {getattr(image, "dtype", type(image))}, wanted uint8'
            )
        _checked('Frame.image', image, np.uint8, (self.camera.height, self.camera.width, 3))


@dataclass(frozen=True)
class LocalFeatures:
    """Keypoints of one image.

    Attributes:
        keypoints: float32 (N, 2) x, y in px, first pixel centre at (0.5, 0.5).
        descriptors: float32 (N, D), unit length.
        scores: float32 (N,), detector's response, higher is better.
    """

    keypoints: np.ndarray
    descriptors: np.ndarray
    scores: np.ndarray

    def __post_init__(self):
        n = len(self.keypoints)
        for name, shape in (('keypoints', (n, 2)), ('descriptors', (n, None)), ('scores', (n,))):
            object.__setattr__(
                self,
                name,
                _checked(f'LocalFeatures.{name}', getattr(self, name), np.float32, shape),
            )


@dataclass(frozen=True)
class PoseEstimate:
    """Result of localising one image.

    Attributes:
        status: cam_from_object is valid only with PoseStatus.LOCALIZED.
        cam_from_object: pose, or None.
        points2d: float64 (M, 2), px, the correspondences given to RANSAC.
        points3d: float64 (M, 3), m, object frame.
        inliers: bool (M,).
        reprojection_error_px: RMS over the inliers, NaN when there are none.
        confidence: 0 to 1, how well the pose explains the image; NaN when not verified.
        covariance: (6, 6) or None; order x y z (m), then rotation about x y z (rad), camera frame.
        message: for people; why it failed.
    """

    status: PoseStatus
    cam_from_object: Rigid3 | None = None
    points2d: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    points3d: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    inliers: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    reprojection_error_px: float = float('nan')
    confidence: float = float('nan')
    covariance: np.ndarray | None = None
    message: str = ''

    def __post_init__(self):
        if (self.status == PoseStatus.LOCALIZED) != (self.cam_from_object is not None):
            raise ValueError(f'status {self.status} does not go with pose {self.cam_from_object}')
        m = len(self.points2d)
        for name, dtype, shape in (
            ('points2d', np.float64, (m, 2)),
            ('points3d', np.float64, (m, 3)),
            ('inliers', bool, (m,)),
        ):
            object.__setattr__(
                self, name, _checked(f'PoseEstimate.{name}', getattr(self, name), dtype, shape)
            )

    @property
    def num_inliers(self) -> int:
        """Number of correspondences that agree with the pose."""
        return int(self.inliers.sum())


@dataclass(frozen=True)
class Gaussians:
    """A fitted splat model, all values after activation, float32, object frame.

    Attributes:
        means: (N, 3), m.
        quats: (N, 4), wxyz, unit length.
        scales: (N, 3), standard deviations, m.
        opacities: (N,), 0 to 1.
        sh: (N, K, 3), spherical-harmonics coefficients of the colour, K = (degree + 1)^2.
    """

    means: np.ndarray
    quats: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray
    sh: np.ndarray

    def __post_init__(self):
        n = len(self.means)
        shapes = {
            'means': (n, 3),
            'quats': (n, 4),
            'scales': (n, 3),
            'opacities': (n,),
            'sh': (n, None, 3),
        }
        for name, shape in shapes.items():
            array = _checked(f'Gaussians.{name}', getattr(self, name), np.float32, shape)
            object.__setattr__(self, name, array)
        if self.sh.shape[1] not in (1, 4, 9, 16):
            raise ValueError(f'Gaussians.sh has {self.sh.shape[1]} bases, wanted 1, 4, 9 or 16')

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics, 0 to 3."""
        return int(np.sqrt(self.sh.shape[1])) - 1


@dataclass(frozen=True)
class RenderedView:
    """What the model shows from one pose.

    Attributes:
        image: float32 (H, W, 3), RGB, premultiplied by alpha, 0 to 1.
        alpha: float32 (H, W), accumulated opacity, 0 to 1.
        depth: float32 (H, W), m along the optical axis, NaN where nothing is.
        uncertainty: float32 (H, W) or None, expected normal residual (alpha-weighted).
    """

    image: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray
    uncertainty: np.ndarray | None = None

    def __post_init__(self):
        h, w = np.shape(self.alpha)
        for name, shape in (('image', (h, w, 3)), ('alpha', (h, w)), ('depth', (h, w))):
            array = _checked(f'RenderedView.{name}', getattr(self, name), np.float32, shape)
            object.__setattr__(self, name, array)


@dataclass(frozen=True)
class AnomalyRegion:
    """One connected region of the anomaly map above the pixel threshold.

    Attributes:
        bbox: x0, y0, x1, y1 in px, half-open.
        area_px: number of pixels.
        max_score: highest score in the region.
        mean_score: mean score in the region.
        peak_in_object: (3,) m, surface point under the highest score, or None off the surface.
    """

    bbox: tuple[int, int, int, int]
    area_px: int
    max_score: float
    mean_score: float
    peak_in_object: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Inspection:
    """Everything one image gave.

    Attributes:
        verdict: PASS, REJECT or UNDETERMINED.
        reason: why.
        message: for people.
        pose: result of localisation.
        score: image-level anomaly score, NaN when not scored.
        threshold: score >= threshold rejects; NaN when not scored.
        inspected_fraction: share of the rendered silhouette that was compared, 0 to 1.
        anomaly_map: float32 (H, W), NaN where nothing was compared; None when not scored.
        reference: uint8 (H, W, 3), what a good piece would look like here, or None.
        query: uint8 (H, W, 3), the (rectified) image that was compared, or None.
        object_mask: float32 (H, W), segmentation of the query, or None.
        rendered_alpha: float32 (H, W), or None.
        regions: by falling max_score.
        surface: float32 (P,), what the view says against each place of the surface (surface.py),
            over its threshold; NaN = place not seen; None when views are not joined.
        visible_places: places of the surface that the model's own views see, 0 = not known.
        camera: of the query, without distortion; None when nothing was compared.
        joined_map: float32 (H, W), anomaly_map with what the other views of the piece show at the
            same places (joined_views.py); None when they were not joined.
        joined_score: image-level score of joined_map, NaN without.
        piece_score: highest joined_score of the piece's judged views over the model's limit for
            it, from as many views as ``piece_views``; NaN where they were not joined.
        piece_views: views of the piece that were joined for piece_score.
        timings_ms: milliseconds of each step, in order.
        camera_name, object_id, stamp_ns: as in the Frame.
    """

    verdict: Verdict
    reason: Reason
    message: str = ''
    pose: PoseEstimate = field(default_factory=lambda: PoseEstimate(PoseStatus.NOT_ATTEMPTED))
    score: float = float('nan')
    threshold: float = float('nan')
    inspected_fraction: float = 0.0
    anomaly_map: np.ndarray | None = None
    reference: np.ndarray | None = None
    query: np.ndarray | None = None
    object_mask: np.ndarray | None = None
    rendered_alpha: np.ndarray | None = None
    regions: tuple[AnomalyRegion, ...] = ()
    surface: np.ndarray | None = None
    visible_places: int = 0
    camera: Camera | None = None
    joined_map: np.ndarray | None = None
    joined_score: float = float('nan')
    piece_score: float = float('nan')
    piece_views: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)
    camera_name: str = ''
    object_id: str = ''
    stamp_ns: int = 0

    @property
    def best_map(self) -> np.ndarray | None:
        """The joined map where there is one, else the view's own."""
        return self.anomaly_map if self.joined_map is None else self.joined_map

    def __post_init__(self):
        decided = self.verdict != Verdict.UNDETERMINED
        if decided and not np.isfinite(self.score):
            raise ValueError(f'verdict {self.verdict.name} needs a finite score, got {self.score}')
        if self.verdict == Verdict.PASS and self.reason != Reason.NONE:
            raise ValueError(f'a PASS has no reason, got {self.reason.name}')
        if self.verdict != Verdict.PASS and self.reason == Reason.NONE:
            raise ValueError(f'{self.verdict.name} needs a reason')
