"""What normal views taught: thresholds, statistics, pose limits. Stored in the bundle.

``calibration.json`` holds the numbers, ``calibration.npz`` what there is one of for each Gaussian.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

JSON_NAME = 'calibration.json'
NPZ_NAME = 'calibration.npz'


@dataclass(frozen=True)
class Calibration:
    """Everything that comes from normal validation data.

    Attributes:
        image_threshold: image score at and above which a view is rejected.
        pixel_threshold: map score at and above which a pixel belongs to a region.
        object_threshold: limit on an object's score, see decision.object_score.
        surface_threshold: highest evidence at a place of the surface that a normal view gives; 0
            where views are not joined there.
        visible_places: places of the surface that the model's own views see, 0 = not known: what
            the views of an object must have seen is measured against them.
        joined_pixel_threshold: as pixel_threshold, of maps that the views of a piece are joined in
            (joined_views.py); 0 where it is not known.
        joined_image_threshold: limit on the highest image score among the joined maps of a piece;
            0 where it is not known.
        score_min, score_max: range of normal map scores; for colours only.
        min_inliers, min_silhouette_iou, min_agreement: poses below any of them are rejected.
        sure_agreement: least agreement of the normal views; a pose that reaches it stands even
            where the segmentation disagrees, for that fails more often than the render.
        min_sharpness: less sharp pictures (see RefinedPose) are rejected: blur hides defects
            before it hides the pose. Bundles that were built without it use the default.
        num_normals: normal views that were scored.
        false_reject_bound: with 95% confidence at most this share of normal views is rejected.
        wanted_false_reject_rate: what was asked for.
        level_statistics: JSON-able statistics of the feature levels on normal views.
        normal_scores: sorted image scores of the normal views.
        sources: how many normal views came from where.
        expected_residual: float32 (N,) mean normal residual of each Gaussian, or None.
    """

    image_threshold: float
    pixel_threshold: float
    object_threshold: float = 1.0
    surface_threshold: float = 0.0
    visible_places: int = 0
    joined_pixel_threshold: float = 0.0
    joined_image_threshold: float = 0.0
    score_min: float = 0.0
    score_max: float = 1.0
    min_inliers: int = 0
    min_silhouette_iou: float = 0.0
    min_agreement: float = -1.0
    sure_agreement: float = 1.0
    min_sharpness: float = 0.6
    num_normals: int = 0
    false_reject_bound: float = 1.0
    wanted_false_reject_rate: float = 0.05
    level_statistics: dict[str, Any] | None = None
    normal_scores: tuple[float, ...] = ()
    sources: dict[str, int] = field(default_factory=dict)
    expected_residual: np.ndarray | None = None

    def without_thresholds(self, *, keep_statistics: bool) -> Calibration:
        """The same for options that it was not made with: no threshold holds.

        Args:
            keep_statistics: whether the levels are still the same.
        """
        return replace(
            self,
            image_threshold=math.nan,
            pixel_threshold=math.nan,
            surface_threshold=0.0,
            joined_pixel_threshold=0.0,
            joined_image_threshold=0.0,
            level_statistics=self.level_statistics if keep_statistics else None,
        )

    def save(self, folder: Path) -> None:
        """Write the two files into a folder."""
        values = asdict(self)
        expected = values.pop('expected_residual')
        (Path(folder) / JSON_NAME).write_text(json.dumps(values, indent=1) + '\n')
        if expected is not None:
            np.savez_compressed(Path(folder) / NPZ_NAME, expected_residual=np.float16(expected))

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """Read the two files of a folder.

        Raises:
            ValueError: a file is not readable, a key is unknown, or a threshold is not a number.
        """
        path = Path(folder) / JSON_NAME
        try:
            values = json.loads(path.read_text())
            values['normal_scores'] = tuple(values.get('normal_scores', ()))
            calibration = cls(**values)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f'{path} is not a calibration: {error}') from error
        for name in ('image_threshold', 'pixel_threshold', 'object_threshold', 'min_sharpness'):
            value = getattr(calibration, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise ValueError(f'{path}: {name} is {value!r}, wanted a number above 0')
        npz = Path(folder) / NPZ_NAME
        if npz.is_file():
            with np.load(npz, allow_pickle=False) as arrays:
                expected = arrays['expected_residual'].astype(np.float32)
            object.__setattr__(calibration, 'expected_residual', expected)
        return calibration
