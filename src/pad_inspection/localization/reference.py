"""What localisation knows of a product: features of the reference views and their 3D points."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from pad_inspection.datatypes import Camera, LocalFeatures, Rigid3
from pad_inspection.geometry import camera_center, from_matrix
from pad_inspection.images import MAX_PIXELS
from pad_inspection.localization.crops import CropFrame
from pad_inspection.npz_files import read_npz

NO_POINT = -1
_FORMAT = 1
# What a damaged file raises on reading.
_DAMAGE = (ValueError, KeyError, TypeError, MemoryError)
# name in the file -> type
_ARRAYS = {
    'format': np.int64,
    'features': np.str_,
    'crop_px': np.int64,
    'names': np.str_,
    'image_sizes': np.int64,
    'intrinsics': np.float64,
    'poses': np.float64,
    'frames': np.float64,
    'counts': np.int64,
    'keypoints': np.float32,
    'descriptors': np.float16,
    'scores': np.float16,
    'point_ids': np.int32,
    'points': np.float32,
}
# as _ARRAYS, of what a model may lack
_OPTIONAL_ARRAYS = {'global_descriptors': np.float16}


@dataclass(frozen=True, eq=False)
class ReferenceModel:
    """Reference views with local features; C views, T keypoints in all views, P points.

    Attributes:
        features: name of the local features.
        crop_px: side of the crops that the keypoints lie in.
        names: (C,) names of the views.
        image_sizes: int64 (C, 2), width and height, px.
        intrinsics: float64 (C, 3, 3), px.
        poses: float64 (C, 3, 4), cam_from_object, m.
        frames: float64 (C, 2, 3), image_from_crop, px.
        counts: int64 (C,), keypoints of each view.
        keypoints: float32 (T, 2), px of the crop, view after view.
        descriptors: float16 (T, D), unit length.
        scores: float16 (T,).
        point_ids: int32 (T,), row of ``points``, or NO_POINT.
        points: float32 (P, 3), m, object frame.
        global_descriptors: float16 (C, G), unit length, of the whole views, or None where
            retrieval needs none.
    """

    features: str
    crop_px: int
    names: tuple[str, ...]
    image_sizes: np.ndarray
    intrinsics: np.ndarray
    poses: np.ndarray
    frames: np.ndarray
    counts: np.ndarray
    keypoints: np.ndarray
    descriptors: np.ndarray
    scores: np.ndarray
    point_ids: np.ndarray
    points: np.ndarray
    global_descriptors: np.ndarray | None = None

    def __post_init__(self):
        views, total = len(self.names), int(np.sum(self.counts))
        wanted = {
            'image_sizes': (views, 2),
            'intrinsics': (views, 3, 3),
            'poses': (views, 3, 4),
            'frames': (views, 2, 3),
            'counts': (views,),
            'keypoints': (total, 2),
            'descriptors': (total, _columns(self.descriptors)),
            'scores': (total,),
            'point_ids': (total,),
            'points': (len(self.points), 3),
        }
        dtypes = _ARRAYS
        if self.global_descriptors is not None:
            wanted['global_descriptors'] = (views, _columns(self.global_descriptors))
            dtypes = _ARRAYS | _OPTIONAL_ARRAYS
        for name, shape in wanted.items():
            array = np.asarray(getattr(self, name), dtypes[name])
            if array.shape != shape:
                raise ValueError(
                    f'reference model: {name} has shape {array.shape}, wanted {shape}'
                )
            object.__setattr__(self, name, array)
        if views < 1 or len(self.points) < 1:
            raise ValueError(f'reference model of {views} views and {len(self.points)} points')
        width, height = self.image_sizes.astype(np.float64).T
        if self.image_sizes.min() < 1 or (width * height).max() > MAX_PIXELS:
            raise ValueError(f'reference model: a view is empty or has over {MAX_PIXELS} pixels')
        if np.any(self.counts < 0):
            raise ValueError('reference model: a view has a negative number of keypoints')
        if total and not (
            NO_POINT <= self.point_ids.min() and self.point_ids.max() < len(self.points)
        ):
            raise ValueError('reference model: a keypoint names a point that there is not')
        for name in wanted:
            # scores only rank
            if name != 'scores' and not np.isfinite(getattr(self, name)).all():
                raise ValueError(f'reference model: {name} holds NaN or infinity')

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_points3d(self) -> int:
        """Number of 3D points."""
        return len(self.points)

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 (C + 1,): first keypoint of each view, and the end."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @cached_property
    def center(self) -> np.ndarray:
        """Middle of the object, (3,) m: median of the points."""
        return np.median(self.points.astype(np.float64), axis=0)

    @cached_property
    def radius(self) -> float:
        """Distance from the centre that holds 99% of the points, m."""
        return float(np.quantile(np.linalg.norm(self.points - self.center, axis=1), 0.99))

    @cached_property
    def directions(self) -> np.ndarray:
        """float64 (C, 3), unit vectors from the object's centre to the cameras."""
        rays = np.stack([camera_center(self.cam_from_object(i)) for i in range(len(self))])
        rays = rays - self.center
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)

    @cached_property
    def apparent_radius(self) -> tuple[float, float]:
        """Smallest and largest radius of the object over its distance, in the reference views."""
        distances = [
            np.linalg.norm(camera_center(self.cam_from_object(i)) - self.center)
            for i in range(len(self))
        ]
        return self.radius / max(distances), self.radius / min(distances)

    def camera(self, view: int) -> Camera:
        """Camera of a view."""
        width, height = self.image_sizes[view]
        return Camera(int(width), int(height), self.intrinsics[view])

    def cam_from_object(self, view: int) -> Rigid3:
        """Pose of a view."""
        return from_matrix(self.poses[view])

    @property
    def views(self) -> list[tuple[Camera, Rigid3]]:
        """Camera and pose of every view."""
        return [(self.camera(i), self.cam_from_object(i)) for i in range(len(self))]

    def frame(self, view: int) -> CropFrame:
        """Where the crop of a view lies in its image."""
        return CropFrame(self.frames[view], self.crop_px)

    def local_features(self, view: int) -> LocalFeatures:
        """Features of a view; keypoints in px of its crop."""
        part = slice(self.starts[view], self.starts[view + 1])
        return LocalFeatures(self.keypoints[part], self.descriptors[part], self.scores[part])

    def points_of(self, view: int) -> np.ndarray:
        """int32 (N,): row of ``points`` of each keypoint of a view, or NO_POINT."""
        return self.point_ids[self.starts[view] : self.starts[view + 1]]

    def without(self, names: set[str]) -> ReferenceModel:
        """Copy without some views, to test localisation on views that it does not know.

        The 3D points stay as they are.

        Raises:
            ValueError: no view would be left.
        """
        kept = [i for i, name in enumerate(self.names) if name not in names]
        if not kept:
            raise ValueError(f'none of the {len(self)} reference views would be left')
        rows = np.concatenate([np.arange(self.starts[i], self.starts[i + 1]) for i in kept])
        by_view = ('image_sizes', 'intrinsics', 'poses', 'frames', 'counts')
        by_keypoint = ('keypoints', 'descriptors', 'scores', 'point_ids')
        if self.global_descriptors is not None:
            by_view += ('global_descriptors',)
        return replace(
            self,
            names=tuple(self.names[i] for i in kept),
            **{name: getattr(self, name)[kept] for name in by_view},
            **{name: getattr(self, name)[rows] for name in by_keypoint},
        )

    def save(self, path: Path) -> None:
        """Write an .npz file (plain arrays, no pickle)."""
        values = {'format': _FORMAT, **{f.name: getattr(self, f.name) for f in fields(self)}}
        dtypes = _ARRAYS | _OPTIONAL_ARRAYS
        arrays = {n: np.asarray(values[n], dtypes[n]) for n in dtypes if values[n] is not None}
        with open(path, 'wb') as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, path: Path) -> ReferenceModel:
        """Read what save wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged or of another format; the message names the file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f'reference model {path} does not exist')
        try:
            arrays = read_npz(path)
            optional = [name for name in _OPTIONAL_ARRAYS if name in arrays]
            values = {name: arrays[name] for name in [*_ARRAYS, *optional]}
            if int(values['format']) != _FORMAT:
                raise ValueError(f'format {int(values["format"])}, wanted {_FORMAT}')
            del values['format']
            values['features'] = str(values['features'])
            values['crop_px'] = int(values['crop_px'])
            values['names'] = tuple(str(name) for name in values['names'])
            return cls(**values)
        except _DAMAGE as error:
            raise ValueError(f'{path} holds no reference model: {error}') from error


def _columns(array: np.ndarray) -> int | None:
    """Columns of a matrix, or None of anything else."""
    return np.shape(array)[1] if np.ndim(array) == 2 else None
