"""What normal views taught: thresholds, statistics, pose limits. Stored in the bundle.

``calibration.json`` holds the numbers, ``calibration.npz`` what there is one of for each Gaussian.
calibration_checks.py says which numbers can be those of a calibration.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from pad_inspection.bundle import Bundle, BundleError, read_json
from pad_inspection.calibration_checks import check_calibration, check_for_options
from pad_inspection.config import InspectionConfig
from pad_inspection.npz_files import read_npz

JSON_NAME = 'calibration.json'
NPZ_NAME = 'calibration.npz'
_MAX_JSON_BYTES = 16 << 20
_MAX_RESIDUAL_BYTES = 256 << 20


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
            visible_places=0,
            joined_pixel_threshold=0.0,
            joined_image_threshold=0.0,
            level_statistics=self.level_statistics if keep_statistics else None,
        )

    def save(self, folder: Path) -> None:
        """Write the two files into a folder.

        Raises:
            ValueError: it could not be loaded again, see calibration_checks.
        """
        check_calibration(self)
        values = asdict(self)
        expected = values.pop('expected_residual')
        (Path(folder) / JSON_NAME).write_text(json.dumps(values, indent=1) + '\n')
        if expected is not None:
            np.savez_compressed(Path(folder) / NPZ_NAME, expected_residual=np.float16(expected))

    @classmethod
    def load(cls, path: Path, residual_path: Path | None = None) -> Calibration:
        """Read what ``save`` wrote.

        Args:
            path: calibration.json.
            residual_path: calibration.npz, or None: there are no residuals.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file is damaged, or a value cannot be that of a calibration (see
                calibration_checks.check_calibration).
        """
        values, _ = read_json(path, _MAX_JSON_BYTES)
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - (known - {'expected_residual'}))
        if unknown:
            raise ValueError(f'{path} has unknown keys {unknown}')
        try:
            values['normal_scores'] = tuple(values.get('normal_scores', ()))
            calibration = cls(**values)
        except TypeError as error:
            raise ValueError(f'{path} is not a calibration: {error}') from error
        if residual_path is not None:
            residual = _read_residual(residual_path)
            calibration = replace(calibration, expected_residual=residual)
        try:
            check_calibration(calibration)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error
        return calibration

    @classmethod
    def of_bundle(cls, bundle: Bundle, config: InspectionConfig) -> Calibration:
        """The calibration of a bundle.

        Args:
            bundle: the bundle.
            config: what it was calibrated with.

        Raises:
            BundleError: see load; or no such calibration comes from these options.
        """
        path = bundle.file(JSON_NAME)
        try:
            calibration = cls.load(path, bundle.find(NPZ_NAME))
            check_for_options(calibration, config)
        except ValueError as error:
            raise BundleError(str(error)) from error
        return calibration


def _read_residual(path: Path) -> np.ndarray:
    """Mean normal residual of each Gaussian, float32 (N,)."""
    try:
        arrays = read_npz(path, _MAX_RESIDUAL_BYTES)
        residual = arrays['expected_residual']
        if residual.ndim != 1 or residual.dtype.kind != 'f':
            raise ValueError(f'expected_residual is {residual.dtype} {residual.shape}')
    except (ValueError, KeyError) as error:
        raise ValueError(f'{path} is not a calibration: {error}') from error
    return residual.astype(np.float32)
