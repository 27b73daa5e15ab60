"""The online flow: from a camera image to an Inspection, as a list of named, timed steps.

    rectify -> segment -> localize -> refine -> render -> inpaint -> compose -> compare -> decide

A step that fails ends the flow with verdict UNDETERMINED and its reason; nothing substitutes a
guess. The core knows no ROS: the nodes and `pad inspect` call the same Inspector.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pad_inspection import geometry, images, pose_trust
from pad_inspection.bundle import Bundle, open_bundle
from pad_inspection.bundle_config import calibrated_config, sections_changed
from pad_inspection.bundle_signature import require_signature
from pad_inspection.calibration import Calibration
from pad_inspection.calibration_checks import check_visible_places
from pad_inspection.config import InspectionConfig
from pad_inspection.datatypes import (
    Camera,
    Frame,
    Gaussians,
    Inspection,
    PoseEstimate,
    PoseStatus,
    Reason,
    RenderedView,
    Rigid3,
    Verdict,
)
from pad_inspection.decision import decide_view
from pad_inspection.grey_images import grey_fault, model_has_colour
from pad_inspection.observation import Clock, ModelInfo, Observation, RefinedPose

if TYPE_CHECKING:
    from pad_inspection.networks.product_networks import ProductNetworks
    from pad_inspection.rendering.photographs import Photographs

logger = logging.getLogger(__name__)


class Inspector:
    """Inspects frames with one model. Not thread-safe: one thread owns it.

    Attributes:
        device: torch device of splats and networks, 'cpu' or 'cuda'.
        places: surface.SurfacePlaces of the model, None where views are not joined there.
    """

    def __init__(
        self,
        reference,
        gaussians: Gaussians,
        calibration: Calibration,
        config: InspectionConfig,
        bundle: Bundle | None = None,
        share: Inspector | None = None,
        networks: ProductNetworks | None = None,
        photographs: Photographs | None = None,
    ):
        """Load networks and put the model on its device.

        Args:
            reference: localization.reference.ReferenceModel.
            gaussians: the splat model.
            calibration: thresholds and statistics.
            config: all options.
            bundle: where the parts come from, for ``info``.
            share: an inspector of the same thread whose networks are used again where the
                options are the same.
            networks: what was trained for this product; None = those of the bundle.
            photographs: of good pieces; None = those of the bundle.

        Raises:
            FileNotFoundError: weights of a chosen network are not there.
            NoCudaError: 'cuda' was asked for and there is no CUDA device.
            ValueError: a network that was not trained for this product is to be used, or
                photographs are to be compared and there are none.
        """
        from pad_inspection.background.inpainting import create_inpainter
        from pad_inspection.background.segmentation import create_segmenter
        from pad_inspection.comparison import Comparator
        from pad_inspection.joined_views import create_joiner
        from pad_inspection.localization.localizer import Localizer
        from pad_inspection.networks.product_networks import ProductNetworks
        from pad_inspection.rendering.backends import torch_device
        from pad_inspection.rendering.light_transfer import create_light_transfer
        from pad_inspection.rendering.photographs import create_warper
        from pad_inspection.rendering.renderer import SplatScene
        from pad_inspection.surface import create_places

        networks = networks or ProductNetworks.of_bundle(bundle)
        self.networks = networks
        self.config = config
        self.calibration = calibration
        self._bundle = bundle
        self._reference = reference
        self.gaussians = gaussians
        self._has_colour = model_has_colour(gaussians)
        device = self.device = torch_device(config.rendering.device)
        comparison, segmentation = config.comparison, config.segmentation
        uncertainty = calibration.expected_residual if comparison.uncertainty_weight > 0 else None
        self.scene = SplatScene(gaussians, device, config.rendering.threads, uncertainty)
        if share is not None and share.device != device:
            share = None
        if share is not None and share.config.segmentation == segmentation:
            self._segmenter = share._segmenter
        else:
            self._segmenter = create_segmenter(segmentation, networks.segmentation, device=device)
        if (
            share is not None
            and share._reference is reference
            and share.config.localization == config.localization
        ):
            self._localizer = share._localizer
        else:
            self._localizer = Localizer(reference, config.localization, device)
        self._warper = create_warper(photographs, bundle, self.scene, comparison.num_photographs)
        self._light_transfer = create_light_transfer(self.scene, comparison.match_light)
        self.places = create_places(gaussians, comparison.surface_spacing)
        self.joiner = create_joiner(self.scene, gaussians, comparison)
        self._inpainter = create_inpainter(config.background, device)
        statistics = calibration.level_statistics
        self._comparator = Comparator(comparison, statistics, networks.comparison, device)

    @classmethod
    def from_bundle(
        cls, path: Path, config: InspectionConfig | None = None, trusted_keys: Sequence[Path] = ()
    ) -> Inspector:
        """Load a bundle.

        Args:
            path: folder of the bundle.
            config: None = as the bundle was calibrated. Thresholds are kept only while the
                options that change scores are those of the bundle; else every verdict is
                UNDETERMINED and only scores are given.
            trusted_keys: public keys, one of which must have signed the bundle; none = any goes.

        Raises:
            FileNotFoundError: the bundle, a key or weights are missing.
            BundleError: the bundle is damaged, of another version, or not signed.
        """
        from pad_inspection.localization.reference import ReferenceModel
        from pad_inspection.rendering.gaussians import read_ply

        bundle = open_bundle(path)
        if trusted_keys:
            require_signature(bundle, trusted_keys)
        calibrated = calibrated_config(bundle)
        config = calibrated if config is None else config
        calibration = Calibration.of_bundle(bundle, calibrated)
        changed = sections_changed(bundle, calibrated, config)
        if changed:
            logger.warning('no thresholds: %s differ from the calibration', ', '.join(changed))
            calibration = calibration.without_thresholds(
                keep_statistics='comparison' not in changed
            )
        reference = ReferenceModel.load(bundle.file('features.npz'))
        splats = read_ply(bundle.file('gaussians.ply'))
        inspector = cls(reference, splats, calibration, config, bundle)
        check_visible_places(calibration, inspector.places, inspector.scene, reference.views)
        return inspector

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        manifest = {} if self._bundle is None else self._bundle.manifest
        return ModelInfo(
            model_id=str(manifest.get('model_id', '')),
            model_version=str(manifest.get('model_version', '')),
            format_version=str(manifest.get('format_version', '')),
            sha256='' if self._bundle is None else self._bundle.sha256,
            num_reference_images=len(self._reference),
            num_points3d=self._reference.num_points3d,
            num_gaussians=len(self.gaussians),
            anomaly_threshold=self.calibration.image_threshold,
            object_threshold=self.calibration.object_threshold,
            score_min=self.calibration.score_min,
            score_max=self.calibration.score_max,
            render_backend=self.scene.device_name,
            normal_scores=self.calibration.normal_scores,
        )

    def object_points(self, count: int = 600) -> np.ndarray:
        """Points (N, 3) m spread over the object's surface, the same ones at each call."""
        means = self.gaussians.means[self.gaussians.opacities > 0.3].astype(np.float64)
        chosen = np.random.default_rng(0).permutation(len(means))[:count]
        return means[np.sort(chosen)]

    def warm_up(self) -> None:
        """Run every network once on a reference view, so that the first frame is not slow."""
        camera, pose = self._reference.camera(0), self._reference.cam_from_object(0)
        rendered = self.scene.render(camera, pose)
        picture = images.to_uint8(rendered.image + (1 - rendered.alpha[..., None]))
        self.inspect(Frame(picture, camera, allow_grey=True))

    def inspect(self, frame: Frame, cam_from_object: Rigid3 | None = None) -> Inspection:
        """Inspect one frame. Expected failures are statuses; nothing is raised for a picture.

        Args:
            frame: the image.
            cam_from_object: where the object should be, when other cameras know it; it is refined
                and verified like any other hypothesis. None = find it in the image.
        """
        origin = {
            'camera_name': frame.camera_name,
            'object_id': frame.object_id,
            'stamp_ns': frame.stamp_ns,
        }
        reason, message = Reason.IMAGE_INVALID, grey_fault(frame, self._has_colour)
        if not message:
            try:
                return self._judge(self.observe(frame, cam_from_object), origin)
            except Exception as error:  # a line must go on; the result says what happened
                logger.exception('inspection failed')
                reason, message = Reason.INTERNAL_ERROR, f'{type(error).__name__}: {error}'
        return Inspection(Verdict.UNDETERMINED, reason, message, query=frame.image, **origin)

    def observe(self, frame: Frame, cam_from_object: Rigid3 | None = None) -> Observation:
        """Everything up to the anomaly map.

        Args:
            frame: the image.
            cam_from_object: a pose to start the refinement from, or None = localise.
        """
        clock = Clock()
        with clock('rectify'):
            query, camera = images.undistort(frame.image, frame.camera)
        with clock('segment'):
            probability = self.segment(query)
        seen = Observation(
            PoseEstimate(PoseStatus.NOT_ATTEMPTED), query, camera, probability,
            timings_ms=clock.timings_ms,
        )  # fmt: skip

        if cam_from_object is None:
            with clock('localize'):
                hypotheses = self.localize(query, probability, camera)
        else:
            hypotheses = [PoseEstimate(PoseStatus.LOCALIZED, cam_from_object)]
        with clock('refine'):
            refined = self.refine(hypotheses, query, probability, camera)
        pose = self._verified(refined, camera)
        seen = dataclasses.replace(
            seen,
            pose=pose,
            agreement=refined.agreement,
            silhouette_iou=refined.silhouette_iou,
            sharpness=refined.sharpness,
        )
        if pose.cam_from_object is None:
            return seen

        with clock('render'):
            rendered = self.scene.render(camera, pose.cam_from_object)
        with clock('inpaint'):
            query, background = self._background(query, probability, rendered)
        with clock('compose'):
            views = [rendered, *self._photographed(rendered, camera, pose.cam_from_object)]
            if self._light_transfer is not None:
                where = camera, pose.cam_from_object
                light = self._light_transfer.match(rendered, *where, query)
                views = [light.on(view) for view in views]
            rendered = views[0]
            reference, *alternatives = (self._compose(view, background) for view in views)
        with clock('compare'):
            levels = self._comparator.compare_levels(
                query, reference, rendered.alpha, probability, background, alternatives
            )
            anomaly_map = self._comparator.combine(levels, rendered.uncertainty)
        return dataclasses.replace(
            seen,
            query=query,
            rendered=rendered,
            reference=reference,
            anomaly_map=anomaly_map,
            levels=levels,
            inspected_fraction=self._inspected_fraction(camera, pose.cam_from_object),
        )

    def segment(self, query: np.ndarray) -> np.ndarray | None:
        """Probability of object, float32 (H, W), of a rectified picture, or None: no network."""
        return None if self._segmenter is None else self._segmenter.segment(query)

    def localize(
        self, query: np.ndarray, probability: np.ndarray | None, camera: Camera
    ) -> list[PoseEstimate]:
        """Poses that local features give, best first; never empty."""
        if probability is None:
            return self._localizer.localize(query, None, camera)
        segmentation = self.config.segmentation
        fraction = float((probability > segmentation.threshold).mean())
        if fraction >= segmentation.min_area_fraction:
            return self._localizer.localize(query, probability, camera)
        # a plain object on a belt of its own colour is not segmented, but it can be recognised
        found = self._localizer.localize(query, None, camera)
        if found[0].cam_from_object is not None:
            return found
        message = (
            f'no object in the picture: {fraction:.2%} of it was segmented, '
            f'wanted {segmentation.min_area_fraction:.2%}, and none was recognised'
        )
        return [PoseEstimate(PoseStatus.NO_OBJECT, message=message)]

    def refine(
        self,
        hypotheses: list[PoseEstimate],
        query: np.ndarray,
        probability: np.ndarray | None,
        camera: Camera,
    ) -> RefinedPose:
        """The hypothesis that explains the image best, refined; not verified yet."""
        from pad_inspection.rendering.pose_anchors import Matches
        from pad_inspection.rendering.pose_refiner import refine_pose, verify_pose

        localized = [h for h in hypotheses if h.cam_from_object is not None]
        if not localized:
            return RefinedPose(hypotheses[0])
        if len(localized) > 1:
            explained = [
                pose_trust.evidence(
                    h, *verify_pose(self.scene, query, probability, camera, h.cam_from_object)
                )
                for h in localized
            ]
            least = max(explained) - pose_trust.RIVAL_EVIDENCE
            localized = [h for h, value in zip(localized, explained) if value >= least]
        refined = []
        for hypothesis in localized:
            chosen = hypothesis.inliers
            found = refine_pose(
                self.scene, query, probability, camera, hypothesis.cam_from_object,
                self.config.refinement,
                Matches(hypothesis.points2d[chosen], hypothesis.points3d[chosen]),
            )  # fmt: skip
            pose = dataclasses.replace(hypothesis, cam_from_object=found.cam_from_object)
            refined.append(
                RefinedPose(pose, found.agreement, found.silhouette_iou, found.sharpness)
            )
        return max(
            refined, key=lambda r: pose_trust.evidence(r.pose, r.agreement, r.silhouette_iou)
        )

    def _verified(self, refined: RefinedPose, camera: Camera) -> PoseEstimate:
        """The pose with its confidence if it is to be trusted, else why it is not."""
        pose = refined.pose
        if pose.cam_from_object is None:
            return pose
        fault = pose_trust.pose_fault(refined, self.config, self.calibration)
        if fault and len(pose.points2d):
            _, alpha = self.scene.draw(camera, pose.cam_from_object)
            coverage = pose_trust.match_coverage(alpha, pose.points2d[pose.inliers])
            fault = pose_trust.pose_fault(refined, self.config, self.calibration, coverage)
        if fault:
            return dataclasses.replace(
                pose,
                status=PoseStatus.POSE_REJECTED,
                cam_from_object=None,
                confidence=float('nan'),
                message=fault,
            )
        confidence = pose_trust.pose_confidence(
            pose,
            refined.agreement,
            refined.silhouette_iou,
            self.calibration,
            self.config.localization.ransac_threshold_px,
        )
        return dataclasses.replace(pose, confidence=confidence)

    def _background(
        self, query: np.ndarray, probability: np.ndarray | None, rendered: RenderedView
    ) -> tuple[np.ndarray, np.ndarray]:
        """The query to compare and its background without the object."""
        from pad_inspection.regions import hole_mask

        rendering, segmentation = self.config.rendering, self.config.segmentation
        silhouette = rendered.alpha > rendering.silhouette_alpha
        segmented = silhouette if probability is None else probability > segmentation.threshold
        if self._inpainter is None:
            # without background handling a method sees pictures whose background was removed
            white = np.full_like(query, 255)
            return np.where(segmented[..., None], query, white), white
        dilation_px = self.config.background.dilation_px
        hole = hole_mask(rendered.alpha, probability, self.config.comparison, dilation_px)
        return query, self._inpainter.inpaint(query, hole)

    def _photographed(
        self, rendered: RenderedView, camera: Camera, cam_from_object: Rigid3
    ) -> list[RenderedView]:
        """The render with the surface of photographs from the nearest directions."""
        if self._warper is None:
            return []
        count = self.config.comparison.num_photographs
        return self._warper.references(rendered, camera, cam_from_object, count)

    def _compose(self, rendered: RenderedView, background: np.ndarray) -> np.ndarray:
        """What a good piece would look like in this image."""
        from pad_inspection.background.composition import compose_reference

        return compose_reference(
            rendered,
            background,
            self.config.background,
            silhouette_alpha=self.config.rendering.silhouette_alpha,
        )

    def _inspected_fraction(self, camera: Camera, cam_from_object: Rigid3) -> float:
        """Share of the object's surface points that project into the image."""
        points = self.gaussians.means[self.gaussians.opacities > 0.3]
        pixels = geometry.project_object(camera, cam_from_object, points)
        inside = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=1)
        return float(inside.mean()) if len(inside) else 0.0

    def _judge(self, seen: Observation, origin: dict) -> Inspection:
        """Score and verdict of an observation."""
        common = {
            'pose': seen.pose,
            'query': seen.query,
            'object_mask': seen.object_mask,
            **origin,
        }
        if seen.anomaly_map is None:
            message = seen.pose.message or f'localisation: {seen.pose.status}'
            return Inspection(
                Verdict.UNDETERMINED,
                Reason.NOT_LOCALIZED,
                message,
                timings_ms=seen.timings_ms,
                **common,
            )
        begin = time.perf_counter()
        score = self.image_score(seen)
        threshold = self.calibration.image_threshold * self.config.decision.margin
        if math.isfinite(threshold):
            verdict, reason, message = decide_view(
                score, threshold, seen.inspected_fraction, self.config.decision
            )
        else:
            verdict, reason = Verdict.UNDETERMINED, Reason.MODEL_NOT_LOADED
            message = 'the model has no threshold for these options; build it with them'
        regions, surface = (), None
        if math.isfinite(self.calibration.pixel_threshold):
            regions = self._regions(seen)
        limit = self.calibration.surface_threshold * self.config.decision.margin
        if limit > 0 and self.places is not None:
            surface = self.evidence(seen) / np.float32(limit)
        timings = {**seen.timings_ms, 'decide': (time.perf_counter() - begin) * 1e3}
        return Inspection(
            verdict,
            reason,
            message,
            score=score,
            threshold=threshold,
            inspected_fraction=seen.inspected_fraction,
            anomaly_map=seen.anomaly_map,
            reference=seen.reference,
            rendered_alpha=seen.rendered.alpha,
            regions=regions,
            surface=surface,
            visible_places=0 if surface is None else self.calibration.visible_places,
            camera=seen.camera,
            timings_ms=timings,
            **common,
        )

    def image_score(self, seen: Observation) -> float:
        """Anomaly score of an observation that has a map; 0 when nothing could be compared."""
        from pad_inspection.comparison import image_score

        return image_score(seen.anomaly_map, self.config.comparison)

    def evidence(self, seen: Observation) -> np.ndarray:
        """What the map of an observation says against each place: surface.SurfacePlaces."""
        where = self.scene, seen.camera, seen.pose.cam_from_object
        return self.places.evidence(*where, seen.anomaly_map)

    def _regions(self, seen: Observation):
        """Regions above the pixel threshold with their surface points."""
        from pad_inspection.regions import find_regions

        return find_regions(
            seen.anomaly_map,
            self.calibration.pixel_threshold,
            self.config.comparison.min_region_px,
            depth=seen.rendered.depth,
            camera=seen.camera,
            cam_from_object=seen.pose.cam_from_object,
        )
