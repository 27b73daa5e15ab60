"""A small real inspector for tests of the node graph: finds red pixels, needs no network.

Its bundle is a folder with model.json: {"model_id", "threshold", "delay_s", "load_s", "color"}.
Intact pieces of helpers.small_dataset are grey and blue (or green); defects are red. A piece of
any other colour is found only by who is told where it is.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pad_inspection.bundle import BundleError, BundleVersionError
from pad_inspection.datatypes import (
    AnomalyRegion,
    Inspection,
    PoseEstimate,
    PoseStatus,
    Reason,
    Rigid3,
    Verdict,
)
from pad_inspection.geometry import project_object, unproject
from pad_inspection.images import mask_bbox
from pad_inspection.observation import ModelInfo

MIN_OBJECT_PX = 20
# Of the background.
GREY = 120


def write_bundle(
    path: Path,
    *,
    model_id='small',
    threshold=5.0,
    delay_s=0.0,
    load_s=0.0,
    version='1.0',
    color='blue',
):
    """Write a bundle that SmallInspector reads."""
    path.mkdir(parents=True, exist_ok=True)
    content = {
        'model_id': model_id,
        'threshold': threshold,
        'delay_s': delay_s,
        'load_s': load_s,
        'version': version,
        'color': color,
    }
    (path / 'model.json').write_text(json.dumps(content))
    return path


class SmallInspector:
    """Same interface as pipeline.Inspector."""

    scene = SimpleNamespace(center=np.zeros(3))

    def __init__(self, content):
        self._content = content

    @classmethod
    def from_bundle(cls, path, config=None):
        del config
        file = Path(path) / 'model.json'
        if not file.is_file():
            raise FileNotFoundError(f'{file} does not exist')
        try:
            content = json.loads(file.read_text())
        except ValueError as error:
            raise BundleError(f'{file} is damaged: {error}') from error
        if content['version'] != '1.0':
            raise BundleVersionError(f'{file} has version {content["version"]}')
        time.sleep(content['load_s'])
        return cls(content)

    def warm_up(self):
        pass

    @property
    def info(self):
        return ModelInfo(
            model_id=self._content['model_id'],
            model_version='1',
            format_version='1.0',
            sha256='00' * 32,
            num_reference_images=1,
            num_points3d=2,
            num_gaussians=3,
            anomaly_threshold=self._content['threshold'],
            object_threshold=1.0,
            score_min=0.0,
            score_max=1.0,
            render_backend='cpu',
        )

    def _pose(self, found, camera):
        """Pose of a piece that is seen straight ahead, 0.3 m away."""
        pixel = np.argwhere(found)[:, ::-1].mean(axis=0) + 0.5
        center = unproject(camera, pixel[None], np.array([0.3]))[0]
        return Rigid3(np.eye(3), center)

    def inspect(self, frame, cam_from_object=None):
        time.sleep(self._content['delay_s'])
        origin = {
            'camera_name': frame.camera_name,
            'object_id': frame.object_id,
            'stamp_ns': frame.stamp_ns,
            'query': frame.image,
        }
        r, g, b = np.moveaxis(frame.image.astype(int), -1, 0)
        mine, other = (g, b) if self._content['color'] == 'green' else (b, g)
        red, colored = (r > g + 80) & (r > b + 80), (mine > r + 80) & (mine > other + 80)
        found = red | colored
        if cam_from_object is not None:
            found = np.abs(frame.image.astype(int) - GREY).max(axis=2) > 30
            ((u, v),) = np.floor(project_object(frame.camera, cam_from_object, np.zeros((1, 3))))
            inside = 0 <= u < frame.camera.width and 0 <= v < frame.camera.height
            if not inside or not found[int(v), int(u)]:
                message = 'no piece where it should be'
                pose = PoseEstimate(PoseStatus.POSE_REJECTED, message=message)
                return Inspection(
                    Verdict.UNDETERMINED, Reason.NOT_LOCALIZED, message, pose=pose, **origin
                )
        elif colored.sum() < MIN_OBJECT_PX:
            message = f'no {self._content["color"]} piece'
            pose = PoseEstimate(PoseStatus.NO_OBJECT, message=message)
            return Inspection(
                Verdict.UNDETERMINED, Reason.NOT_LOCALIZED, message, pose=pose, **origin
            )
        score, threshold = float(red.sum()), float(self._content['threshold'])
        rejected = score >= threshold
        scores = np.where(found, red.astype(np.float32), np.float32(np.nan))
        regions = ()
        if rejected:
            regions = (AnomalyRegion(mask_bbox(red), int(red.sum()), 1.0, 1.0, (0.0, 0.0, 0.0)),)
        return Inspection(
            Verdict.REJECT if rejected else Verdict.PASS,
            Reason.ANOMALY if rejected else Reason.NONE,
            pose=PoseEstimate(
                PoseStatus.LOCALIZED,
                self._pose(found, frame.camera) if cam_from_object is None else cam_from_object,
                confidence=0.9,
            ),
            score=score,
            threshold=threshold,
            inspected_fraction=1.0,
            anomaly_map=scores,
            reference=np.where(red[..., None], np.uint8([30, 30, 200]), frame.image),
            object_mask=found.astype(np.float32),
            rendered_alpha=found.astype(np.float32),
            regions=regions,
            timings_ms={'compare': 1.5},
            **origin,
        )


class JoiningInspector(SmallInspector):
    """One whose maps can be joined, with a real joiner of a small ball."""

    def __init__(self, content):
        from helpers.splats import random_gaussians
        from pad_inspection.calibration import Calibration
        from pad_inspection.config import InspectionConfig
        from pad_inspection.joined_views import ViewJoiner
        from pad_inspection.rendering.renderer import SplatScene

        super().__init__(content)
        self.config = InspectionConfig()
        self.calibration = Calibration(5.0, 1.0, joined_image_threshold=0.25)
        ball = random_gaussians(500, degree=0, radius=0.05, size=0.005)
        scene = SplatScene(ball, device='cpu', threads=1)
        self.joiner = ViewJoiner(scene, ball, self.config.comparison)

    def inspect(self, frame, cam_from_object=None):
        found = super().inspect(frame, cam_from_object)
        return replace(found, camera=frame.camera)


class DyingInspector(SmallInspector):
    """One that ends its thread at a defect, as a library may that calls exit()."""

    def inspect(self, frame, cam_from_object=None):
        found = super().inspect(frame, cam_from_object)
        if found.verdict == Verdict.REJECT:
            raise SystemExit('out of the library')
        return found


class TellingInspector(SmallInspector):
    """One whose model id says which options of the inspection were set."""

    @classmethod
    def load(cls, path, overrides, check, trusted_keys):
        del check, trusted_keys
        made = cls.from_bundle(path)
        made._content['model_id'] = str(overrides)
        return made


class UntellableInspector(SmallInspector):
    """One whose rejects no message can hold, and whose pictures of good pieces cannot be shown."""

    def inspect(self, frame, cam_from_object=None):
        found = super().inspect(frame, cam_from_object)
        if found.verdict == Verdict.REJECT:
            return replace(found, piece_views=-1)
        return replace(found, reference=np.zeros(3, np.complex64))
