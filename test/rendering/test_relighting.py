import dataclasses

import numpy as np
import pytest

from helpers.fit_views import RADIUS_M, ball
from pad_inspection import images
from pad_inspection.datatypes import Camera
from pad_inspection.geometry import look_at
from pad_inspection.rendering.relighting import relight, surface_normals
from pad_inspection.rendering.renderer import SplatScene

SIZE = 96


@pytest.fixture(scope='module')
def camera():
    focal = 3.0 * SIZE
    return Camera(SIZE, SIZE, [[focal, 0, SIZE / 2], [0, focal, SIZE / 2], [0, 0, 1]])


@pytest.fixture(scope='module')
def pose():
    center = np.array([0.01, -0.02, 0.005])
    return look_at(center + [0.3, 0, 0.05], center)


@pytest.fixture(scope='module')
def rendered(camera, pose):
    fine = ball(6000)
    fine = dataclasses.replace(fine, scales=np.full((6000, 3), RADIUS_M / 40))
    return SplatScene(fine, 'cpu', 1).render(camera, pose)


def sphere_normals(camera, pose):
    """Normals of the ball in the camera's frame, and where they are well inside of it."""
    center = pose.rotation @ np.array([0.01, -0.02, 0.005]) + pose.translation
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(camera.K).T
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    along = rays @ center
    inside = along**2 - center @ center + RADIUS_M**2
    hit = rays * (along - np.sqrt(np.maximum(inside, 0)))[..., None]
    return (hit - center) / RADIUS_M, inside > (0.6 * RADIUS_M) ** 2


def lit(rendered, light):
    """The render with its colour multiplied by light (H, W), on white, as a picture."""
    image = rendered.image * light[..., None] + (1 - rendered.alpha[..., None])
    return images.to_uint8(image)


def error(rendered, query, where):
    shown = rendered.image + (1 - rendered.alpha[..., None])
    return np.abs(shown - images.to_float(query))[where].mean()


def test_normals_of_a_ball(rendered, camera, pose):
    wanted, inside = sphere_normals(camera, pose)
    normals = surface_normals(rendered, camera)
    cosine = (normals * wanted)[inside].sum(axis=1)
    assert np.degrees(np.arccos(np.median(cosine))) < 12
    assert np.isnan(normals[0, 0]).all()


def test_a_lamp_from_the_side_is_followed(rendered, camera, pose):
    normals, inside = sphere_normals(camera, pose)
    query = lit(rendered, np.clip(0.7 + 0.5 * normals[..., 0], 0, 1.2))
    relit = relight(rendered, camera, query)
    assert error(relit, query, inside) < 0.3 * error(rendered, query, inside)
    np.testing.assert_array_equal(relit.alpha, rendered.alpha)
    assert (relit.image >= 0).all() and (relit.image <= relit.alpha[..., None] + 1e-6).all()


def test_white_gloss_is_followed(rendered, camera, pose):
    normals, inside = sphere_normals(camera, pose)
    gloss = np.clip(0.1 + 0.1 * normals[..., 1], 0, 1)[..., None] * rendered.alpha[..., None]
    query = images.to_uint8(rendered.image + gloss + (1 - rendered.alpha[..., None]))
    relit = relight(rendered, camera, query)
    assert error(relit, query, inside) < 0.3 * error(rendered, query, inside)


def test_the_same_light_changes_nearly_nothing(rendered, camera):
    relit = relight(rendered, camera, lit(rendered, np.ones(rendered.alpha.shape)))
    assert np.abs(relit.image - rendered.image).max() < 0.02


def test_a_changed_part_is_not_explained_away(rendered, camera, pose):
    _, inside = sphere_normals(camera, pose)
    query = lit(rendered, np.full(rendered.alpha.shape, 0.8))
    middle = slice(SIZE // 2 - 5, SIZE // 2 + 5)
    query[middle, middle] = (20, 160, 20)
    relit = relight(rendered, camera, query)
    changed = np.zeros(rendered.alpha.shape, bool)
    changed[middle, middle] = True
    before = error(rendered, query, changed)
    assert error(relit, query, changed) > 0.8 * before
    assert error(relit, query, inside & ~changed) < 0.02


def test_a_tiny_object_stays_as_it_is(rendered, camera):
    tiny = dataclasses.replace(rendered, alpha=np.zeros_like(rendered.alpha))
    query = np.zeros((SIZE, SIZE, 3), np.uint8)
    assert relight(tiny, camera, query) is tiny


def test_another_size_is_refused(rendered, camera):
    with pytest.raises(ValueError, match='same height'):
        relight(rendered, camera, np.zeros((10, 12, 3), np.uint8))
