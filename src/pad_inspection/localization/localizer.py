"""Pose of the object in a query image: crop, turn, retrieve, match, PnP, align, match again.

A query is whitened outside of its object mask and cropped; turned copies are matched to the
reference views that look like it; PnP gives hypotheses. Each hypothesis then tells where the
object is and how it is turned, so the crop is cut again to look like its nearest reference views,
which gives more and better matches. When few matches agree, the mask is doubted and the whole
image is tried. Nothing substitutes a guess: a failure is a status with a message.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from pad_inspection import geometry, images
from pad_inspection.config import LocalizationConfig
from pad_inspection.datatypes import Camera, PoseEstimate, PoseStatus
from pad_inspection.localization import crops
from pad_inspection.localization.alignment import bounds_fault, nearest_views, silhouette, spread
from pad_inspection.localization.features import create_extractor
from pad_inspection.localization.matching import create_matcher
from pad_inspection.localization.pnp import Pose, solve_pnp
from pad_inspection.localization.reference import NO_POINT, ReferenceModel
from pad_inspection.localization.retrieval import Retrieved, create_retrieval
from pad_inspection.localization.threads import torch_threads

# The background stays visible so far around the mask, px of the crop: masks miss thin parts, and a
# white edge that runs through the object is worse than some background.
_MASK_MARGIN_PX = 12
# A smaller object (px of the image) has nothing to match.
_MIN_AREA_PX = 64
# Poses of which one is turned by less, and moved on the picture by less, are the same.
_SAME_ANGLE_DEG = 10.0
_SAME_SHIFT = 0.15
# A hypothesis needs so many inliers to be aligned, which may double them...
_MIN_START_INLIERS = 6
# ... and this share of the inliers of the best one to be worth verifying.
_RIVAL_SHARE = 0.35
# Views that an aligned crop is matched with.
_ALIGNED_VIEWS = 5
# With fewer inliers, or fewer of all matches, the mask is doubted and the whole image is tried.
_CONVINCING_INLIERS = 100
_CONVINCING_SHARE = 0.3


@dataclass(frozen=True)
class _Correspondences:
    """Keypoints of the query with the 3D points that they match."""

    points2d: np.ndarray  # float64 (M, 2), px
    points3d: np.ndarray  # float64 (M, 3), m

    @classmethod
    def join(cls, parts: list[_Correspondences]) -> _Correspondences:
        """All of several."""
        if not parts:
            return cls(np.zeros((0, 2)), np.zeros((0, 3)))
        return cls(
            np.concatenate([p.points2d for p in parts]),
            np.concatenate([p.points3d for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.points2d)

    def select(self, chosen: np.ndarray) -> _Correspondences:
        """Those of a bool mask (M,)."""
        return _Correspondences(self.points2d[chosen], self.points3d[chosen])


@dataclass(frozen=True)
class _Hypothesis:
    """A pose with what it rests on."""

    pose: Pose
    correspondences: _Correspondences


class Localizer:
    """Finds the pose of one product in images. Deterministic; not thread-safe.

    Attributes:
        timings_ms: milliseconds of each stage of the latest call.
    """

    def __init__(self, reference: ReferenceModel, config: LocalizationConfig, device: str = 'cpu'):
        """Load the networks and stack the reference descriptors.

        Args:
            reference: what is known of the product.
            config: options; features and crop size must be those of the reference.
            device: torch device of the networks.

        Raises:
            ValueError: the reference was made with other features, another crop size, or without
                what the retrieval needs.
            FileNotFoundError: weights are missing.
        """
        for name, has, wanted in (
            ('features', reference.features, config.features),
            ('crop_px', reference.crop_px, config.crop_px),
        ):
            if has != wanted:
                raise ValueError(
                    f'the model was built with localization.{name} = {has!r}, the configuration '
                    f'says {wanted!r}: build it again or change the configuration'
                )
        self._reference = reference
        self._config = config
        self._extractor = create_extractor(config, device)
        self._matcher = create_matcher(config, device)
        self._retrieval = create_retrieval(reference, config, device)
        # float32 once, not at each query
        self._features = [reference.local_features(view) for view in range(len(reference))]
        self.timings_ms: dict[str, float] = {}

    def localize(
        self, image: np.ndarray, object_probability: np.ndarray | None, camera: Camera
    ) -> list[PoseEstimate]:
        """Poses that explain the image, best first.

        Args:
            image: uint8 (H, W, 3) RGB, without distortion.
            object_probability: float32 (H, W), 0 to 1, or None = the object may be anywhere.
            camera: intrinsics of the image, without distortion.

        Returns:
            At most ``max_hypotheses`` different poses, each with status LOCALIZED, by falling
            number of inliers; or one estimate whose status and message say why there is none.

        Raises:
            ValueError: image, mask and camera have different sizes, or the camera has distortion.
        """
        _check_query(image, object_probability, camera)
        self.timings_ms = {}
        with torch_threads(1):
            return self._localize(image, object_probability, camera)

    def _localize(self, image, probability, camera: Camera) -> list[PoseEstimate]:
        """As localize, after the checks."""
        clock = _Clock(self.timings_ms)
        mask = None if probability is None else probability > 0.5
        if mask is not None and mask.sum() < _MIN_AREA_PX:
            return [
                _failure(
                    PoseStatus.NO_OBJECT,
                    f'{int(mask.sum())} px of the image are object, wanted {_MIN_AREA_PX}',
                )
            ]
        hypotheses, failure = self._attempt(image, mask, camera, clock)
        if mask is not None and not _convincing(hypotheses):
            unmasked, _ = self._attempt(image, None, camera, clock)
            hypotheses = hypotheses + unmasked
        return self._judged(hypotheses, camera) or [failure]

    def _attempt(
        self, image: np.ndarray, mask: np.ndarray | None, camera: Camera, clock: _Clock
    ) -> tuple[list[_Hypothesis], PoseEstimate]:
        """Hypotheses from the masked part of an image, and what to say if none holds."""
        turned = self._turned_crops(image, mask)
        clock.stop('crop')
        features = [self._extractor.extract(crop) for crop in turned]
        clock.stop('extract')
        wanted = self._config.min_inliers
        count = max(len(f.keypoints) for f in features)
        if count < wanted:
            message = (
                f'{count} keypoints on the object, wanted {wanted}: it is blurred, without '
                'texture, or badly lit'
            )
            return [], _failure(PoseStatus.TOO_FEW_MATCHES, message)
        retrieved = self._retrieval.retrieve(turned, features, self._config.num_retrieved)
        clock.stop('retrieve')
        found = self._lift(turned, features, retrieved)
        clock.stop('match')
        if len(found) < wanted:
            message = f'{len(found)} matches with the reference views, wanted {wanted}'
            return [], _failure(PoseStatus.TOO_FEW_MATCHES, message, found)
        hypotheses = self._hypotheses(found, camera)
        clock.stop('pnp')
        hypotheses = [self._aligned(image, mask, camera, h) for h in hypotheses]
        clock.stop('align')
        return hypotheses, self._rejection(hypotheses, found, camera)

    def _turned_crops(self, image: np.ndarray, mask: np.ndarray | None) -> list[crops.Crop]:
        """Crops around the object, one for each in-plane turn."""
        height, width = image.shape[:2]
        if mask is None:
            square, near = (width / 2, height / 2, float(max(width, height))), None
        else:
            square = crops.square_around(mask)
            near = images.dilate(mask, self._margin_px(square[2]))
        white = crops.whiten(image, near)
        one = self._extractor.stands_turns and not self._retrieval.needs_turns
        count = 1 if one else self._config.num_rotations
        frames = [
            crops.frame_of(square, self._config.crop_px, 360.0 * i / count) for i in range(count)
        ]
        return [crops.cut(white, near, frame) for frame in frames]

    def _margin_px(self, side_px: float) -> int:
        """Margin around the mask in px of the image, for a crop of ``side_px`` of the image."""
        return max(2, round(_MASK_MARGIN_PX * side_px / self._config.crop_px))

    def _lift(self, turned, features, retrieved: list[Retrieved]) -> _Correspondences:
        """Matches of crops with reference views, as 2D-3D correspondences."""
        parts, used = [], set()
        for item in retrieved:
            query = features[item.turn]
            pairs = self._matcher.match(query, self._features[item.view])
            ids = self._reference.points_of(item.view)[pairs[:, 1]]
            # the same keypoint and the same point, seen through several views, count once
            fresh = [
                row
                for row, (index, point) in enumerate(zip(pairs[:, 0].tolist(), ids.tolist()))
                if point != NO_POINT
                and (key := (item.turn, index, point)) not in used
                and not used.add(key)
            ]
            parts.append(
                _Correspondences(
                    turned[item.turn].frame.to_image(query.keypoints[pairs[fresh, 0]]),
                    self._reference.points[ids[fresh]].astype(np.float64),
                )
            )
        return _Correspondences.join(parts)

    def _hypotheses(self, found: _Correspondences, camera: Camera) -> list[_Hypothesis]:
        """Different poses by repeated PnP, each on what the ones before left unexplained."""
        hypotheses: list[_Hypothesis] = []
        rest = found
        fewest = max(_MIN_START_INLIERS, self._config.min_inliers // 2)
        for _ in range(self._config.max_hypotheses):
            pose = self._solve(rest, camera, fewest)
            if pose is None or pose.num_inliers < fewest:
                break
            hypotheses.append(_Hypothesis(pose, rest))
            fewest = max(fewest, int(_RIVAL_SHARE * hypotheses[0].pose.num_inliers))
            rest = rest.select(~pose.inliers)
        return hypotheses

    def _solve(self, found: _Correspondences, camera: Camera, fewest: int) -> Pose | None:
        """PnP for a pose with at least so many inliers; others may be missed."""
        return solve_pnp(
            found.points2d,
            found.points3d,
            camera,
            threshold_px=self._config.ransac_threshold_px,
            seed=self._config.seed,
            min_inlier_ratio=float(np.clip(fewest / max(1, len(found)), 0.02, 0.9)),
        )

    def _aligned(self, image, mask, camera: Camera, hypothesis: _Hypothesis) -> _Hypothesis:
        """The hypothesis after matching a crop cut like its nearest views; as it was if worse."""
        pose = hypothesis.pose.cam_from_object
        if bounds_fault(pose, camera, self._reference):
            return hypothesis
        views, frame = nearest_views(self._reference, pose, camera, _ALIGNED_VIEWS)
        near = silhouette(self._reference, pose, camera)
        if mask is not None:
            near |= images.dilate(mask, self._margin_px(frame.scale * frame.size_px))
        crop = crops.cut(crops.whiten(image, near), near, frame)
        features = self._extractor.extract(crop)
        found = self._lift([crop], [features], [Retrieved(0, view, 0) for view in views])
        better = self._solve(found, camera, hypothesis.pose.num_inliers // 2)
        if better is None or better.num_inliers < hypothesis.pose.num_inliers:
            return hypothesis
        return _Hypothesis(better, found)

    def _rejection(
        self, hypotheses: list[_Hypothesis], found: _Correspondences, camera: Camera
    ) -> PoseEstimate:
        """Why the best hypothesis does not hold, for the case that none does."""
        message = f'no pose agrees with the {len(found)} matches'
        if hypotheses:
            best = max(hypotheses, key=lambda h: h.pose.num_inliers)
            found, count = best.correspondences, best.pose.num_inliers
            places = self._spread(best, camera)
            message = bounds_fault(best.pose.cam_from_object, camera, self._reference) or (
                f'{count} of {len(found)} matches, in {places} places, agree with the best pose; '
                f'wanted {self._config.min_inliers} in {self._config.min_spread} places'
            )
        return _failure(PoseStatus.POSE_REJECTED, message, found)

    def _judged(self, hypotheses: list[_Hypothesis], camera: Camera) -> list[PoseEstimate]:
        """Estimates of the different hypotheses that hold, best first."""
        kept: list[_Hypothesis] = []
        fewest = self._config.min_inliers
        for hypothesis in sorted(hypotheses, key=lambda h: -h.pose.num_inliers):
            pose = hypothesis.pose
            if pose.num_inliers < fewest:
                break
            if bounds_fault(pose.cam_from_object, camera, self._reference):
                continue
            if self._spread(hypothesis, camera) < self._config.min_spread:
                continue
            if not any(self._same(pose, other.pose) for other in kept):
                kept.append(hypothesis)
                fewest = max(fewest, int(_RIVAL_SHARE * kept[0].pose.num_inliers))
        return [
            PoseEstimate(
                PoseStatus.LOCALIZED,
                h.pose.cam_from_object,
                h.correspondences.points2d,
                h.correspondences.points3d,
                h.pose.inliers,
                h.pose.rms_px,
                covariance=h.pose.covariance,
            )
            for h in kept[: self._config.max_hypotheses]
        ]

    def _spread(self, hypothesis: _Hypothesis, camera: Camera) -> int:
        """In how many places of the object the inliers of a hypothesis lie."""
        pose = hypothesis.pose
        inliers = hypothesis.correspondences.points2d[pose.inliers]
        return spread(self._reference, pose.cam_from_object, camera, inliers)

    def _same(self, first: Pose, second: Pose) -> bool:
        """Whether two poses differ by less than refinement bridges."""
        a, b = first.cam_from_object, second.cam_from_object
        shift = geometry.transform(a, self._reference.center[None]) - geometry.transform(
            b, self._reference.center[None]
        )
        return (
            geometry.rotation_angle_deg(a, b) < _SAME_ANGLE_DEG
            and np.linalg.norm(shift[0, :2]) < _SAME_SHIFT * self._reference.radius
        )


class _Clock:
    """Adds up milliseconds of stages in a dict."""

    def __init__(self, timings_ms: dict[str, float]):
        self._timings_ms = timings_ms
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        """Count the time since the last stop for a stage."""
        now = time.perf_counter()
        self._timings_ms[stage] = self._timings_ms.get(stage, 0.0) + (now - self._last) * 1e3
        self._last = now


def _convincing(hypotheses: list[_Hypothesis]) -> bool:
    """Whether the best hypothesis rests on so many matches that the mask need not be doubted."""
    if not hypotheses:
        return False
    best = max(hypotheses, key=lambda h: h.pose.num_inliers)
    count = best.pose.num_inliers
    return count >= _CONVINCING_INLIERS and (
        count >= _CONVINCING_SHARE * len(best.correspondences)
    )


def _failure(
    status: PoseStatus, message: str, found: _Correspondences | None = None
) -> PoseEstimate:
    """An estimate without a pose."""
    if found is None:
        return PoseEstimate(status, message=message)
    return PoseEstimate(
        status,
        points2d=found.points2d,
        points3d=found.points3d,
        inliers=np.zeros(len(found), bool),
        message=message,
    )


def _check_query(image: np.ndarray, probability: np.ndarray | None, camera: Camera) -> None:
    """Raise a ValueError when image, mask and camera do not go together."""
    wanted = (camera.height, camera.width)
    if image.dtype != np.uint8 or image.shape != (*wanted, 3):
        raise ValueError(f'image is {image.dtype} {image.shape}, wanted uint8 {(*wanted, 3)}')
    if probability is not None and probability.shape != wanted:
        raise ValueError(f'object probability has shape {probability.shape}, wanted {wanted}')
    if np.any(camera.distortion):
        raise ValueError('the query camera has distortion: rectify the image first')
