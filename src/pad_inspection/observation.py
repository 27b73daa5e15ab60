"""What the steps of an inspection hand on to one another, and what is known of a loaded model."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from pad_inspection.datatypes import Camera, PoseEstimate, RenderedView


@dataclass(frozen=True)
class ModelInfo:
    """What people and programs want to know of a loaded model."""

    model_id: str
    model_version: str
    format_version: str
    sha256: str
    num_reference_images: int
    num_points3d: int
    num_gaussians: int
    anomaly_threshold: float
    object_threshold: float
    score_min: float
    score_max: float
    render_backend: str
    normal_scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Observation:
    """What one image shows against the model, before any threshold.

    Attributes:
        pose: result of localisation; the rest is None unless it is LOCALIZED.
        query: uint8 (H, W, 3), rectified.
        camera: of the query, without distortion.
        object_mask: float32 (H, W), segmentation, or None.
        rendered: the model at the pose, or None.
        reference: uint8 (H, W, 3), or None.
        anomaly_map: float32 (H, W), NaN = not compared, or None.
        levels: what the comparison found on each level, for calibration, or None.
        silhouette_iou, agreement, sharpness: how well the render explains the image, as in
            RefinedPose.
        inspected_fraction: share of the object inside the image, 0 to 1.
        timings_ms: milliseconds of each step.
    """

    pose: PoseEstimate
    query: np.ndarray
    camera: Camera
    object_mask: np.ndarray | None = None
    rendered: RenderedView | None = None
    reference: np.ndarray | None = None
    anomaly_map: np.ndarray | None = None
    levels: object | None = None
    silhouette_iou: float = float('nan')
    agreement: float = float('nan')
    sharpness: float = float('nan')
    inspected_fraction: float = 0.0
    timings_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RefinedPose:
    """A pose with how well its render explains the image.

    Attributes:
        pose: LOCALIZED, or why there is none.
        agreement: correlation of render and image inside the silhouette, NaN without a pose.
        silhouette_iou: of the rendered and the segmented silhouette, NaN when not known.
        sharpness: see rendering.pose_refiner, NaN when not known.
    """

    pose: PoseEstimate
    agreement: float = float('nan')
    silhouette_iou: float = float('nan')
    sharpness: float = float('nan')


class Clock:
    """Milliseconds of named steps.

    CUDA works on after a call has returned. The times are right all the same, for every step ends
    with numpy arrays: copying them from the GPU waits until it is done.
    """

    def __init__(self):
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str):
        """Time what is done inside of the with block."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.timings_ms[step] = (time.perf_counter() - begin) * 1e3
