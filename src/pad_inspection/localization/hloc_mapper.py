"""Triangulation by hloc, an optional peer: same input and output as sfm.triangulate.

hloc verifies the matches by its own two-view estimation and lets COLMAP triangulate. It reads
keypoints and matches from HDF5 files of its own layout, which are written here.

Source: Sarlin et al., "From Coarse to Fine: Robust Hierarchical Localization at Large Scale",
CVPR 2019.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import numpy as np

from pad_inspection.localization.sfm import SfmImage, model_without_points, triangulation_options

_NEEDED = ('hloc', 'h5py')
# hloc adds this to the keypoints that it reads, for detectors that count from (0, 0).
_HLOC_SHIFT_PX = 0.5


def check_hloc() -> None:
    """Raise an ImportError that says how to get hloc when it cannot be imported."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f'{" and ".join(missing)} cannot be imported: mapping.mapper = hloc needs hloc '
            '(github.com/cvg/Hierarchical-Localization) and h5py in this environment; the mapper '
            'pycolmap needs neither'
        )


def triangulate_with_hloc(
    sfm_images: list[SfmImage],
    matches: dict[tuple[int, int], np.ndarray],
    min_angle_deg: float,
    model_dir: Path,
):
    """Points with fixed cameras by hloc; arguments and result as sfm.triangulate.

    Raises:
        ImportError: hloc is not installed.
        ValueError: no points came out.
    """
    check_hloc()
    from hloc import triangulation

    names = [image.file_name for image in sfm_images]
    with tempfile.TemporaryDirectory(prefix='pad_hloc_') as temporary:
        work = Path(temporary)
        (work / 'cameras').mkdir()
        model_without_points(sfm_images).write(work / 'cameras')
        _write_features(work / 'features.h5', sfm_images)
        used = {pair: found for pair, found in matches.items() if len(found)}
        _write_matches(work / 'matches.h5', sfm_images, used)
        pairs = work / 'pairs.txt'
        pairs.write_text(''.join(f'{names[i]} {names[j]}\n' for i, j in used))
        reconstruction = triangulation.main(
            Path(model_dir),
            work / 'cameras',
            Path(model_dir),
            pairs,
            work / 'features.h5',
            work / 'matches.h5',
            # its check against known poses leaves the kind of the pair's geometry open, and
            # COLMAP then ignores every pair
            estimate_two_view_geometries=True,
            mapper_options=triangulation_options(min_angle_deg),
        )
    (Path(model_dir) / 'database.db').unlink(missing_ok=True)
    if not reconstruction.num_points3D():
        raise ValueError('hloc triangulated no point at all; try the mapper pycolmap')
    return reconstruction


def _write_features(path: Path, sfm_images: list[SfmImage]) -> None:
    """Keypoints in hloc's layout: a group for each image."""
    import h5py

    with h5py.File(path, 'w', libver='latest') as file:
        for image in sfm_images:
            group = file.create_group(image.file_name)
            group['keypoints'] = (image.keypoints - _HLOC_SHIFT_PX).astype(np.float32)


def _write_matches(
    path: Path, sfm_images: list[SfmImage], matches: dict[tuple[int, int], np.ndarray]
) -> None:
    """Matches in hloc's layout: for each keypoint of the first image that of the second, or -1."""
    import h5py

    with h5py.File(path, 'w', libver='latest') as file:
        for (i, j), found in matches.items():
            first, second = (sfm_images[k].file_name.replace('/', '-') for k in (i, j))
            partner = np.full(len(sfm_images[i].keypoints), -1, np.int32)
            partner[found[:, 0]] = found[:, 1]
            group = file.create_group(f'{first}/{second}')
            group['matches0'] = partner
            group['matching_scores0'] = (partner >= 0).astype(np.float16)
