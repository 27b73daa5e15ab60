"""Align a pose with a picture photometrically, and say how well the model explains the picture.

Levenberg-Marquardt on the difference of the rendered and the real picture inside the rendered
silhouette. Rendered depth says how each pixel moves with the pose, so that a step costs one
render. The light of the line is not that of the training pictures, so local means are taken out
and each channel has its own gain; a defect must not pull the pose, so differences are weighted
robustly. The pose turns about the object's centre: about the camera, turning and shifting would be
nearly the same motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pad_inspection import images
from pad_inspection.config import RefinementConfig
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import (
    crop_camera,
    project_object,
    rotation_from_axis_angle,
    scale_camera,
)
from pad_inspection.rendering.pose_anchors import Matches, Rim, find_rim, middle_of, motion_flow
from pad_inspection.rendering.renderer import SplatScene

# Pixels that are hardly covered say more of the background than of the object.
_SOLID_ALPHA = 0.9
_CROP_MARGIN_PX = 8
# The silhouettes are compared up to this share of the object's size away from the drawn one.
_NEAR_SHARE = 0.2
_LEAST_PIXELS = 100
# Side of the window whose mean is subtracted.
_DETAIL_PX = 25
# Differences below this are noise of the camera.
_LEAST_SCALE = 0.01
# A step shorter than this is the last one; px of the picture that is aligned to.
_CONVERGED_PX = 0.02
_COARSE_CONVERGED_PX = 0.1
# Largest motion in one step, px.
_TRUST_PX = 4.0
_START_DAMPING = 1e-3
_MAX_DAMPING = 1e3
# Pixels steeper than this share of all are edges.
_EDGE_QUANTILE = 0.95
_SEGMENT_THRESHOLD = 0.5
_VERIFY_SIZE_PX = 160
# Neighbouring pixels err alike (shading, a mirror image): so many of them count as one.
_PIXEL_SHARE = 0.01


@dataclass(frozen=True)
class RefinedPose:
    """A refined pose and how well it explains the picture.

    Attributes:
        cam_from_object: the pose.
        steps: number of steps that were taken.
        agreement: correlation of render and picture inside the silhouette, -1 to 1.
        silhouette_iou: overlap with the segmented object, 0 to 1, NaN without a segmentation.
        sharpness: slope of the picture's edges inside the silhouette over that of the render's, at
            equal contrast; about 1 for a sharp picture, NaN where nothing is drawn.
    """

    cam_from_object: Rigid3
    steps: int
    agreement: float
    silhouette_iou: float
    sharpness: float = float('nan')


@dataclass(frozen=True)
class _Crop:
    """The part of a picture that shows the object.

    Attributes:
        image: float32 (H, W, 3), 0 to 1.
        camera: of the crop.
    """

    image: np.ndarray
    camera: Camera


def refine_pose(
    scene: SplatScene,
    image: np.ndarray,
    object_probability: np.ndarray | None,
    camera: Camera,
    cam_from_object: Rigid3,
    config: RefinementConfig,
    matches: Matches | None = None,
) -> RefinedPose:
    """Refine a pose that is some pixels off.

    Args:
        scene: the model.
        image: uint8 (H, W, 3), rectified.
        object_probability: float32 (H, W), segmentation, or None.
        camera: of the image, without distortion.
        cam_from_object: where to start.
        config: number of steps, and the factor by which the first half of them is coarser.
        matches: what the pose rests on, or None.

    Raises:
        ValueError: the image is not of the camera's size.
    """
    _check(image, camera)
    pose, taken = cam_from_object, 0
    anchors = [] if matches is None else [matches]
    if config.max_steps and config.coarse_factor > 1:
        pose, taken = _align(
            scene, image, camera, pose, anchors, config.max_steps // 2, config.coarse_factor
        )
    if config.max_steps > taken:
        rim = find_rim(scene, object_probability, camera, pose)
        anchors += [] if rim is None else [rim]
        pose, more = _align(scene, image, camera, pose, anchors, config.max_steps - taken, 1)
        taken += more
    return RefinedPose(pose, taken, *_explain(scene, image, object_probability, camera, pose))


def verify_pose(
    scene: SplatScene,
    image: np.ndarray,
    object_probability: np.ndarray | None,
    camera: Camera,
    cam_from_object: Rigid3,
) -> tuple[float, float]:
    """How well a pose explains a picture, at reduced size: to choose between hypotheses.

    Args:
        scene: the model.
        image: uint8 (H, W, 3), rectified.
        object_probability: float32 (H, W), segmentation, or None.
        camera: of the image, without distortion.
        cam_from_object: the pose.

    Returns:
        Agreement (-1 to 1) and silhouette IoU (0 to 1, NaN without a segmentation), as in
        RefinedPose.

    Raises:
        ValueError: the image is not of the camera's size.
    """
    _check(image, camera)
    factor = _VERIFY_SIZE_PX / max(camera.width, camera.height)
    if factor < 1:
        camera = scale_camera(
            camera, max(1, round(camera.width * factor)), max(1, round(camera.height * factor))
        )
        size = (camera.width, camera.height)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        if object_probability is not None:
            object_probability = cv2.resize(
                object_probability.astype(np.float32), size, interpolation=cv2.INTER_AREA
            )
    return _explain(scene, image, object_probability, camera, cam_from_object)[:2]


def _check(image: np.ndarray, camera: Camera) -> None:
    if np.shape(image) != (camera.height, camera.width, 3):
        raise ValueError(
            f'image has shape {np.shape(image)}, wanted {(camera.height, camera.width, 3)}'
        )


def _object_box(
    scene: SplatScene, camera: Camera, pose: Rigid3
) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 of the object in the image with a margin; None when it is outside."""
    corners = np.array(np.meshgrid(*scene.box.T)).reshape(3, -1).T
    pixels = project_object(camera, pose, corners)
    if not np.isfinite(pixels).all():
        return None
    low = np.floor(pixels.min(axis=0)).astype(int) - _CROP_MARGIN_PX
    high = np.ceil(pixels.max(axis=0)).astype(int) + _CROP_MARGIN_PX
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, (camera.width, camera.height))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    return int(x0), int(y0), int(x1), int(y1)


def _crop(
    scene: SplatScene, image: np.ndarray, camera: Camera, pose: Rigid3, factor: int
) -> _Crop | None:
    """The picture around the object, at 1/factor of its size."""
    box = _object_box(scene, camera, pose)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    part = np.ascontiguousarray(image[y0:y1, x0:x1])
    cropped = crop_camera(camera, x0, y0, x1 - x0, y1 - y0)
    if factor > 1:
        width, height = max(1, (x1 - x0) // factor), max(1, (y1 - y0) // factor)
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
        cropped = scale_camera(cropped, width, height)
    return _Crop(part.astype(np.float32) / 255, cropped)


def _moved(pose: Rigid3, center: np.ndarray, motion: np.ndarray) -> Rigid3:
    """A pose after turning by motion[:3] rad about the object's centre and shifting it.

    motion[3:] is the shift in units of the centre's distance, in the camera frame.
    """
    turn = rotation_from_axis_angle(motion[:3])
    middle = pose.rotation @ center + pose.translation
    shifted = middle + motion[3:] * np.linalg.norm(middle)
    rotation = turn @ pose.rotation
    return Rigid3(rotation, shifted - rotation @ center)


def _unit_motion(scene: SplatScene, camera: Camera, pose: Rigid3) -> np.ndarray:
    """Motion (6,) that moves the object's rim by about one pixel."""
    distance = np.linalg.norm(pose.rotation @ scene.center + pose.translation)
    focal = float(np.sqrt(camera.K[0, 0] * camera.K[1, 1]))
    relative = max(scene.radius / distance, 1e-6)
    turn = 1 / (focal * relative)
    return np.array([turn, turn, turn, 1 / focal, 1 / focal, 1 / (focal * relative)])


def _solid(alpha: np.ndarray) -> np.ndarray:
    """Bool (H, W): inside of the silhouette, without its rim."""
    solid = (alpha > _SOLID_ALPHA).astype(np.uint8)
    return cv2.erode(solid, np.ones((3, 3), np.uint8), borderValue=0).astype(bool)


def _match_light(color: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Gain and offset (2, 3) of each channel that take colour to target (3, M), weight (3, M)."""
    total = np.maximum(weight.sum(axis=1), 1e-6)
    mean_c = (weight * color).sum(axis=1) / total
    mean_t = (weight * target).sum(axis=1) / total
    variance = (weight * color * color).sum(axis=1) / total - mean_c**2
    covariance = (weight * color * target).sum(axis=1) / total - mean_c * mean_t
    # a plain surface says nothing about the gain: it is drawn to 1
    gain = np.clip((covariance + 1e-4) / (variance + 1e-4), 0.2, 5.0)
    return np.stack([gain, mean_t - gain * mean_c])


def _details(picture: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """Picture (H, W, 3) minus its local mean inside of the silhouette.

    Sheen on plastic differs between the line and the training pictures, but it is smooth; edges
    stay.
    """
    size = (_DETAIL_PX, _DETAIL_PX)
    weight = solid.astype(np.float32)
    share = cv2.blur(weight, size, borderType=cv2.BORDER_CONSTANT)
    mean = cv2.blur(picture * weight[..., None], size, borderType=cv2.BORDER_CONSTANT)
    return (picture - mean / np.maximum(share, 1e-3)[..., None]) * weight[..., None]


class _Match:
    """The model at a pose against a picture: differences of details at the object's pixels."""

    def __init__(self, scene: SplatScene, crop: _Crop, pose: Rigid3):
        color, alpha, depth = scene.draw(crop.camera, pose, depth=True)
        solid = _solid(alpha)
        drawn, target = _details(color, solid), _details(crop.image, solid)
        # differences across the silhouette's rim are not of the object
        inner = cv2.erode(solid.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)
        self._rows, self._columns = np.nonzero(inner)
        self._camera, self._pose, self._center = crop.camera, pose, scene.center
        self._depth = depth[self._rows, self._columns]
        picked, wanted = self._at(drawn), self._at(target)
        self.robust = np.ones_like(picked)
        self.scale = _LEAST_SCALE
        gain = np.ones(3, np.float32)
        for _ in range(3 if len(self) else 0):
            gain = _match_light(picked, wanted, self.robust)[0].astype(np.float32)
            self.values = picked * gain[:, None] - wanted
            # Geman-McClure with a scale from the median: large differences count for nothing
            self.scale = max(1.4826 * float(np.median(np.abs(self.values))), _LEAST_SCALE)
            self.robust = 1 / (1 + (self.values / (2 * self.scale)) ** 2) ** 2
        # Mean slope of both pictures: steps converge at second order (Benhimane & Malis 2004,
        # Real-time image-based tracking of planes using efficient second-order minimization)
        self._mean = 0.5 * (drawn * gain + target)

    def _at(self, picture: np.ndarray) -> np.ndarray:
        """Values (3, M) at the chosen pixels."""
        return np.ascontiguousarray(picture[self._rows, self._columns].T)

    def __len__(self) -> int:
        return len(self._rows)

    def cost(self, scale: float) -> float:
        """Robust cost with a given scale: twice the squares over their variance."""
        squared = (self.values / (2 * scale)) ** 2
        share = 3 * _PIXEL_SHARE * len(self)
        return 4 * share * float((squared / (1 + squared)).mean())

    def _flow(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How the points that the pixels show move in x and y, (M, 6) px per ``unit`` each."""
        K = self._camera.K
        z = self._depth
        x = ((self._columns + 0.5 - K[0, 2]) / K[0, 0]).astype(np.float32) * z
        y = ((self._rows + 0.5 - K[1, 2]) / K[1, 1]).astype(np.float32) * z
        return motion_flow(np.stack([x, y, z]), K, middle_of(self._pose, self._center), unit)

    def normal_equations(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Matrix (6, 6) and gradient (6,) of the weighted squares by motion in ``unit``.

        A surface point moves with the object and takes its colour along, so that a pixel changes
        by minus the picture's slope times the motion of the point that it shows.
        """
        slope_x = self._at(cv2.Scharr(self._mean, cv2.CV_32F, 1, 0, scale=1 / 32))
        slope_y = self._at(cv2.Scharr(self._mean, cv2.CV_32F, 0, 1, scale=1 / 32))
        du, dv = self._flow(unit)
        weighted_x, weighted_y = self.robust * slope_x, self.robust * slope_y
        xx = (weighted_x * slope_x).sum(axis=0)[:, None]
        xy = (weighted_x * slope_y).sum(axis=0)[:, None]
        yy = (weighted_y * slope_y).sum(axis=0)[:, None]
        matrix = du.T @ (xx * du + xy * dv) + dv.T @ (xy * du + yy * dv)
        pull_x = (weighted_x * self.values).sum(axis=0)
        pull_y = (weighted_y * self.values).sum(axis=0)
        gradient = -(du.T @ pull_x + dv.T @ pull_y)
        weight = 2 * _PIXEL_SHARE / self.scale**2
        return weight * matrix.astype(np.float64), weight * gradient.astype(np.float64)


def _align(
    scene: SplatScene,
    image: np.ndarray,
    camera: Camera,
    pose: Rigid3,
    anchors: Sequence[Matches | Rim],
    steps: int,
    factor: int,
) -> tuple[Rigid3, int]:
    """Levenberg-Marquardt; the pose and the number of steps (renders) taken."""
    crop = _crop(scene, image, camera, pose, factor)
    if crop is None:
        return pose, 0
    unit = _unit_motion(scene, crop.camera, pose)
    converged_px = _CONVERGED_PX if factor == 1 else _COARSE_CONVERGED_PX
    damping = _START_DAMPING
    now = _Match(scene, crop, pose)
    system = None
    for taken in range(steps):
        if len(now) < _LEAST_PIXELS or damping > _MAX_DAMPING:
            return pose, taken
        if system is None:
            parts = [now.normal_equations(unit)]
            parts += [a.normal_equations(camera, pose, scene.center, unit) for a in anchors]
            system = tuple(map(sum, zip(*parts, strict=True)))
        matrix, gradient = system
        damped = matrix + np.diag(damping * np.diag(matrix) + 1e-9)
        motion = -np.linalg.solve(damped, gradient)
        motion *= min(1.0, _TRUST_PX / max(float(np.abs(motion).max()), 1e-9))
        candidate = _moved(pose, scene.center, motion * unit)
        then = _Match(scene, crop, candidate)
        moved_px = float(np.abs(motion).max())
        before = now.cost(now.scale) + sum(a.cost(camera, pose) for a in anchors)
        after = then.cost(now.scale) + sum(a.cost(camera, candidate) for a in anchors)
        if len(then) >= _LEAST_PIXELS and after < before:
            pose, now, system = candidate, then, None
            damping = max(damping / 10, 1e-6)
        else:
            damping *= 10
        if moved_px < converged_px:
            return pose, taken + 1
    return pose, steps


def _explain(
    scene: SplatScene,
    image: np.ndarray,
    object_probability: np.ndarray | None,
    camera: Camera,
    pose: Rigid3,
) -> tuple[float, float, float]:
    """Agreement, silhouette IoU and sharpness at a pose."""
    color, alpha = scene.draw(camera, pose)
    iou = float('nan')
    if object_probability is not None:
        drawn = alpha > _SEGMENT_THRESHOLD
        # a segmentation that runs on along a rail or a groove says nothing against the pose
        near = images.dilate(drawn, round(_NEAR_SHARE * np.sqrt(drawn.sum())))
        segmented = (object_probability > _SEGMENT_THRESHOLD) & near
        iou = float((drawn & segmented).sum() / max(int((drawn | segmented).sum()), 1))
    inside = _solid(alpha)
    if inside.sum() < _LEAST_PIXELS // 4:
        return -1.0, 0.0 if object_probability is not None else iou, float('nan')
    picture = image.astype(np.float32) / 255
    agreement = _correlation(color[inside], picture[inside])
    return agreement, iou, _slope(picture, inside) / max(_slope(color, inside), 1e-6)


def _slope(picture: np.ndarray, inside: np.ndarray) -> float:
    """Slope of the steepest edges of a picture (H, W, 3) over its contrast, inside of a mask."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    slopes = [cv2.Scharr(gray, cv2.CV_32F, x, 1 - x, scale=1 / 32)[inside] for x in (0, 1)]
    contrast = max(float(gray[inside].std()), 1e-6)
    return float(np.quantile(np.hypot(*slopes), _EDGE_QUANTILE)) / contrast


def _correlation(drawn: np.ndarray, target: np.ndarray) -> float:
    """Correlation of colours (M, 3), without the tenth that fits worst (a defect, a glare).

    All channels are taken together, each about its own mean, so that plain grey parts are
    compared as well as coloured ones.
    """
    drawn, target = drawn.T.copy(), target.T.copy()
    kept = np.ones(drawn.shape[1], bool)
    for _ in range(2):
        gain, offset = _match_light(drawn[:, kept], target[:, kept], np.ones((3, kept.sum())))
        error = np.abs(drawn * gain[:, None] + offset[:, None] - target).sum(axis=0)
        kept = error <= np.quantile(error, 0.9)
    a = drawn[:, kept] - drawn[:, kept].mean(axis=1, keepdims=True)
    b = target[:, kept] - target[:, kept].mean(axis=1, keepdims=True)
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / norm) if norm > 1e-9 else 0.0
