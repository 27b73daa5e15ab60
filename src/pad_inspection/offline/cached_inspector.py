"""An Inspector that keeps the results of its slow steps on disk.

Methods that differ in how they compare share segmentation, localisation and refinement, and a run
that was stopped goes on where it was. A result is found by a digest of all that it depends on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pad_inspection.datatypes import Camera, PoseEstimate, PoseStatus
from pad_inspection.geometry import from_matrix, to_matrix
from pad_inspection.observation import Observation, RefinedPose
from pad_inspection.pipeline import Inspector

Arrays = dict[str, np.ndarray]


class StepStore:
    """Arrays of named steps in a folder, one file each."""

    def __init__(self, folder: Path):
        self._folder = Path(folder)

    def get(self, step: str, key: str, compute: Callable[[], Arrays]) -> tuple[Arrays, float]:
        """The stored arrays, or those that are computed now and stored.

        Returns:
            The arrays, and the milliseconds that computing them took.
        """
        path = self._folder / step / f'{key}.npz'
        if path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                arrays = dict(stored)
            return arrays, float(arrays.pop('ms'))
        begin = time.perf_counter()
        arrays = compute()
        ms = (time.perf_counter() - begin) * 1e3
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f'.{os.getpid()}.part')
        with open(part, 'wb') as stream:
            np.savez_compressed(stream, **arrays, ms=ms)
        os.replace(part, path)
        return arrays, ms


class CachedInspector(Inspector):
    """An Inspector whose segmentation, localisation and refinement are looked up first.

    The times that it reports are those of computing, also for what was looked up.
    """

    def __init__(self, reference, gaussians, *args, store: StepStore, **kwargs):
        """As Inspector.

        Args:
            reference: see Inspector.
            gaussians: see Inspector.
            *args: see Inspector.
            store: where results are kept.
            **kwargs: see Inspector.
        """
        super().__init__(reference, gaussians, *args, **kwargs)
        self._store = store
        # on CUDA results differ a little and times a lot; on the CPU the name of the device is
        # left out, so that results that were stored before networks had one are still found
        where = () if self.device == 'cpu' else (self.device,)
        self._reference_digest = _digest(
            *reference.names, reference.poses, reference.descriptors, reference.points,
            reference.global_descriptors, *where,
        )  # fmt: skip
        self._gaussians_digest = _digest(gaussians.means, gaussians.opacities, gaussians.sh)
        decoder = self.networks.segmentation
        weights = [] if decoder is None else [v.numpy() for v in decoder.state_dict().values()]
        self._segmentation_digest = _digest(self.config.segmentation, *weights, *where)
        self._stored_ms: dict[str, float] = {}

    def observe(self, frame, cam_from_object=None) -> Observation:
        """See Inspector."""
        self._stored_ms = {}
        seen = super().observe(frame, cam_from_object)
        return dataclasses.replace(seen, timings_ms={**seen.timings_ms, **self._stored_ms})

    def segment(self, query):
        """See Inspector."""
        if self._segmenter is None:
            return None
        key = _digest(query, self._segmentation_digest)
        compute = super().segment
        return self._get('segment', key, lambda: {'probability': compute(query)})['probability']

    def localize(self, query, probability, camera: Camera) -> list[PoseEstimate]:
        """See Inspector."""
        key = _digest(
            query, probability, camera.K, self._reference_digest,
            self.config.segmentation, self.config.localization,
        )  # fmt: skip
        compute = super().localize

        def arrays() -> Arrays:
            found = compute(query, probability, camera)
            return {'count': np.array(len(found)), **_join(map(_pose_arrays, found))}

        stored = self._get('localize', key, arrays)
        return [_pose_of(stored, f'{i}/') for i in range(int(stored['count']))]

    def refine(self, hypotheses, query, probability, camera: Camera) -> RefinedPose:
        """See Inspector."""
        if all(h.cam_from_object is None for h in hypotheses):
            return super().refine(hypotheses, query, probability, camera)
        poses = [to_matrix(h.cam_from_object) for h in hypotheses if h.cam_from_object is not None]
        key = _digest(
            query, probability, camera.K, np.stack(poses), self._gaussians_digest,
            self._reference_digest, self.config.localization, self.config.refinement,
        )  # fmt: skip
        compute = super().refine

        def arrays() -> Arrays:
            refined = compute(hypotheses, query, probability, camera)
            explained = np.array([refined.agreement, refined.silhouette_iou, refined.sharpness])
            return {'explained': explained, **_join([_pose_arrays(refined.pose)])}

        stored = self._get('refine', key, arrays)
        return RefinedPose(_pose_of(stored, '0/'), *map(float, stored['explained']))

    def _get(self, step: str, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """Look a step up and note its time."""
        arrays, self._stored_ms[step] = self._store.get(step, key, compute)
        return arrays


def _digest(*parts: Any) -> str:
    """SHA-256 of arrays, strings, configurations and None, hexadecimal."""
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            state.update(f'{part.dtype}{part.shape}'.encode())
            state.update(np.ascontiguousarray(part).data)
        elif dataclasses.is_dataclass(part):
            state.update(json.dumps(dataclasses.asdict(part), sort_keys=True).encode())
        else:
            state.update(repr(part).encode())
    return state.hexdigest()


def _pose_arrays(pose: PoseEstimate) -> Arrays:
    """A pose as arrays."""
    known = pose.cam_from_object is not None
    return {
        'status': np.array(pose.status.value),
        'message': np.array(pose.message),
        'matrix': to_matrix(pose.cam_from_object) if known else np.zeros((0, 4)),
        'points2d': pose.points2d,
        'points3d': pose.points3d,
        'inliers': pose.inliers,
        'numbers': np.array([pose.reprojection_error_px, pose.confidence]),
    }


def _pose_of(arrays: Arrays, prefix: str) -> PoseEstimate:
    """The inverse of _pose_arrays."""
    matrix = arrays[f'{prefix}matrix']
    reprojection_error_px, confidence = map(float, arrays[f'{prefix}numbers'])
    return PoseEstimate(
        PoseStatus(arrays[f'{prefix}status'].item()),
        from_matrix(matrix) if len(matrix) else None,
        arrays[f'{prefix}points2d'],
        arrays[f'{prefix}points3d'],
        arrays[f'{prefix}inliers'],
        reprojection_error_px,
        confidence,
        message=str(arrays[f'{prefix}message']),
    )


def _join(items) -> Arrays:
    """The arrays of several things, numbered."""
    return {f'{i}/{name}': value for i, item in enumerate(items) for name, value in item.items()}
