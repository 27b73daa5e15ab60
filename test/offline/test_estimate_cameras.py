import numpy as np
import pytest

from helpers.small_map import DEMO
from pad_inspection.config import LocalizationConfig, MappingConfig, from_dict
from pad_inspection.dataset import read_training_views
from pad_inspection.geometry import camera_center
from pad_inspection.offline.build_model import ModelTooPoorError
from pad_inspection.offline.estimate_cameras import Scale, estimate_cameras, longest_extent


def test_longest_extent_of_a_rod_ignores_strays():
    rng = np.random.default_rng(0)
    rod = rng.uniform(-0.5, 0.5, (5000, 1)) * np.array([[0.0, 0.6, 0.8]])  # 1 m long
    strays = np.array([[9.0, 9, 9], [-9, 9, 9]])
    assert longest_extent(np.concatenate([rod, strays])) == pytest.approx(1.0, rel=0.02)


def test_scale_wants_exactly_one_length():
    with pytest.raises(ValueError, match='exactly one'):
        Scale()
    with pytest.raises(ValueError, match='exactly one'):
        Scale(object_length_m=0.1, camera_distance=('a', 'b', 0.2))
    with pytest.raises(ValueError, match=r'a length of -1 m'):
        Scale(object_length_m=-1)


def test_too_few_photographs_are_refused(tmp_path):
    views = read_training_views(DEMO)[:2]
    with pytest.raises(ModelTooPoorError, match='2 photographs, wanted at least 3'):
        estimate_cameras(
            [v.path for v in views], views[0].camera, Scale(0.1), MappingConfig(),
            LocalizationConfig(), tmp_path,
        )  # fmt: skip


@pytest.mark.slow
def test_cameras_of_neighbouring_views_come_out_as_they_were(tmp_path):
    """Twelve views around one of the demo class, with their poses withheld."""
    views = read_training_views(DEMO)
    centers = np.stack([camera_center(v.cam_from_object) for v in views])
    near = np.argsort(-(centers @ centers[20]))[:12]
    chosen = [views[i] for i in sorted(near)]
    spacing = float(np.linalg.norm(centers[near[0]] - centers[near[8]]))
    scale = Scale(camera_distance=(views[near[0]].name, views[near[8]].name, spacing))
    found = estimate_cameras(
        [v.path for v in chosen], views[0].camera, scale,
        from_dict(MappingConfig, {'min_points': 100}), LocalizationConfig(), tmp_path,
    )  # fmt: skip
    assert len(found.views) >= 8
    assert found.report['registered'] + len(found.unregistered) == 12
    true = {v.name: v.cam_from_object for v in chosen}
    for first, second in zip(found.views[:-1], found.views[1:]):
        # relative turns do not depend on the object frame
        got = second.cam_from_object.rotation @ first.cam_from_object.rotation.T
        wanted = true[second.name].rotation @ true[first.name].rotation.T
        angle = np.degrees(np.arccos(np.clip((np.trace(got @ wanted.T) - 1) / 2, -1, 1)))
        assert angle < 4.0
