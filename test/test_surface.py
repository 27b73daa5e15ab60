import math
from dataclasses import replace

import numpy as np
import pytest

from helpers.splats import random_gaussians, test_camera, view
from pad_inspection.rendering.renderer import SplatScene
from pad_inspection.surface import SurfacePlaces, create_places, surface_score

NAN = float('nan')


@pytest.fixture(scope='module')
def model():
    gaussians = random_gaussians(4000, degree=0, radius=0.05, size=0.004)
    # a ball whose far side is hidden
    directions = gaussians.means / np.linalg.norm(gaussians.means, axis=1, keepdims=True)
    gaussians = replace(
        gaussians, means=directions * np.float32(0.05), opacities=np.full(4000, 0.95)
    )
    return gaussians, SplatScene(gaussians, device='cpu', threads=1)


def test_places_cover_the_surface_evenly(model):
    gaussians, _ = model
    places = SurfacePlaces(gaussians, 0.2)
    far = [np.linalg.norm(places.positions - mean, axis=1).min() for mean in gaussians.means]
    assert max(far) < 0.2 * 0.05
    assert 4 * math.pi / 0.2**2 / 2 < len(places) < 4 * math.pi / 0.2**2 * 4


def test_places_do_not_depend_on_what_a_file_rounds(model):
    gaussians, _ = model
    rounded = replace(gaussians, opacities=gaussians.opacities - np.float32(0.7))
    assert (SurfacePlaces(gaussians, 0.2).positions == SurfacePlaces(rounded, 0.2).positions).all()


def test_no_spacing_is_no_places(model):
    assert create_places(model[0], 0.0) is None


def test_a_defect_is_found_at_its_place_from_several_sides(model):
    gaussians, scene = model
    places, camera = SurfacePlaces(gaussians, 0.1), test_camera(160, focal=360)
    spot = 0.05 * np.array([np.cos(0.5), np.sin(0.5), 0.0])
    found = []
    for azimuth in (0.0, 30.0, 60.0):
        pose = view(azimuth, height=0.0)
        points = scene.render(camera, pose)
        rows, columns = np.mgrid[:160, :160] + 0.5
        pixels = np.stack([columns, rows], axis=-1)
        rays = np.concatenate([(pixels - camera.K[:2, 2]) / camera.K.diagonal()[:2],
                               np.ones((160, 160, 1))], axis=-1)  # fmt: skip
        surface = (rays * points.depth[..., None] - pose.translation) @ pose.rotation
        with np.errstate(invalid='ignore'):
            defect = np.linalg.norm(surface - spot, axis=-1) < 0.008
        anomaly_map = np.where(points.alpha > 0.5, np.where(defect, 1.0, 0.1), NAN)
        found.append(places.evidence(scene, camera, pose, anomaly_map.astype(np.float32)))
    for azimuth, evidence in zip((0.0, 30.0, 60.0), found):
        assert evidence.dtype == np.float32 and evidence.shape == (len(places),)
        best = places.positions[np.nanargmax(evidence)]
        assert np.linalg.norm(best - spot) < 0.012
        angle = np.radians(azimuth)
        behind = places.positions @ [np.cos(angle), np.sin(angle), 0.0] < -0.6 * 0.05
        assert np.isnan(evidence[behind]).all()
    # the Gaussians are as large as the defect, so that it is mixed with what is around it
    assert 0.3 < surface_score(found, 1.0) < 1.0


def test_places_give_their_values_back_to_the_gaussians(model):
    gaussians, _ = model
    places = SurfacePlaces(gaussians, 0.1)
    height = places.positions[:, 2].copy()
    height[places.positions[:, 0] < 0] = NAN
    back = places.on_gaussians(height)
    assert back.dtype == np.float32 and back.shape == (4000,)
    front = gaussians.means[:, 0] > 0.01
    assert np.abs(back[front] - gaussians.means[front, 2]).max() < 0.1 * 0.05
    assert np.isnan(back[gaussians.means[:, 0] < -0.01]).all()


def test_the_views_that_say_most_of_a_place_are_averaged():
    views = [np.array([1.0, NAN, 3.0]), np.array([2.0, NAN, NAN]), np.array([3.0, 3.0, NAN])]
    assert surface_score(views, 0.34) == 2.5  # two at least
    assert surface_score(views, 1.0) == 2.0
    # what one view alone sees counts half
    assert surface_score([views[0], views[1] * NAN], 0.34) == 1.5
    assert surface_score(views[:1], 0.34) == 3.0
    six = [np.array([float(k)]) for k in range(6)]
    assert surface_score(six, 0.5) == 4.0


@pytest.mark.parametrize('views', [[], [np.array([])], [np.full(3, NAN)]])
def test_without_evidence_there_is_no_score(views):
    assert math.isnan(surface_score(views, 0.34))


def test_a_view_of_another_model_does_not_count():
    views = [np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.array([9.0, 9.0, 9.0])]
    assert surface_score(views, 0.34) == 2.0
