import dataclasses

import numpy as np
import pytest

from helpers.fit_views import RADIUS_M, ball
from pad_inspection import images
from pad_inspection.datatypes import Camera, Gaussians
from pad_inspection.geometry import look_at, project_object
from pad_inspection.rendering.light_transfer import LightTransfer, create_light_transfer
from pad_inspection.rendering.renderer import SplatScene
from pad_inspection.rendering.surface_normals import surface_normals

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
def scene():
    fine = ball(6000)
    fine = dataclasses.replace(fine, scales=np.full((6000, 3), RADIUS_M / 40))
    return SplatScene(fine, 'cpu', 1)


@pytest.fixture(scope='module')
def rendered(scene, camera, pose):
    return scene.render(camera, pose)


@pytest.fixture(scope='module')
def relight(scene, camera, pose):
    transfer = LightTransfer(scene)

    def relit(rendered, query):
        return transfer.match(rendered, camera, pose, query).on(rendered)

    return relit


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


def test_a_lamp_from_the_side_is_followed(rendered, camera, pose, relight):
    normals, inside = sphere_normals(camera, pose)
    query = lit(rendered, np.clip(0.7 + 0.5 * normals[..., 0], 0, 1.2))
    relit = relight(rendered, query)
    assert error(relit, query, inside) < 0.3 * error(rendered, query, inside)
    np.testing.assert_array_equal(relit.alpha, rendered.alpha)
    assert (relit.image >= 0).all() and (relit.image <= relit.alpha[..., None] + 1e-6).all()


def test_white_gloss_is_followed(rendered, camera, pose, relight):
    normals, inside = sphere_normals(camera, pose)
    gloss = np.clip(0.1 + 0.1 * normals[..., 1], 0, 1)[..., None] * rendered.alpha[..., None]
    query = images.to_uint8(rendered.image + gloss + (1 - rendered.alpha[..., None]))
    relit = relight(rendered, query)
    assert error(relit, query, inside) < 0.3 * error(rendered, query, inside)


def test_the_same_light_changes_nearly_nothing(rendered, relight):
    relit = relight(rendered, lit(rendered, np.ones(rendered.alpha.shape)))
    assert np.abs(relit.image - rendered.image).max() < 0.02


def test_a_changed_part_is_not_explained_away(rendered, camera, pose, relight):
    _, inside = sphere_normals(camera, pose)
    query = lit(rendered, np.full(rendered.alpha.shape, 0.8))
    middle = slice(SIZE // 2 - 5, SIZE // 2 + 5)
    query[middle, middle] = (20, 160, 20)
    relit = relight(rendered, query)
    changed = np.zeros(rendered.alpha.shape, bool)
    changed[middle, middle] = True
    before = error(rendered, query, changed)
    assert error(relit, query, changed) > 0.8 * before
    assert error(relit, query, inside & ~changed) < 0.02


def test_a_tiny_object_stays_as_it_is(rendered, relight):
    middle = np.zeros(rendered.alpha.shape, bool)
    middle[SIZE // 2 - 8 : SIZE // 2 + 8, SIZE // 2 - 8 : SIZE // 2 + 8] = True
    tiny = dataclasses.replace(
        rendered,
        image=np.where(middle[..., None], rendered.image, 0),
        alpha=np.where(middle, rendered.alpha, 0),
    )
    assert (tiny.alpha > 0.95).sum() > 200
    query = lit(tiny, np.full(middle.shape, 0.5))
    np.testing.assert_allclose(relight(tiny, query).image, tiny.image, atol=1e-6)


def test_another_size_is_refused(rendered, relight):
    with pytest.raises(ValueError, match='same height'):
        relight(rendered, np.zeros((10, 12, 3), np.uint8))


def test_only_where_it_is_wanted(scene):
    assert create_light_transfer(scene, 'gain') is None
    assert isinstance(create_light_transfer(scene, 'transfer'), LightTransfer)


# --- a roof above one half of a floor, m: the same normal, but the sky does not reach there


ROOF_HEIGHT, SIDE, STEP = 0.03, 0.04, 0.002


def plate(height, left, right, number):
    """Flat Gaussians over x from left to right, y from -SIDE to SIDE, facing up and down."""
    x, y = np.meshgrid(np.arange(left, right, STEP), np.arange(-SIDE, SIDE, STEP))
    means = np.stack([x.ravel(), y.ravel(), np.full(x.size, height)], axis=1)
    return Gaussians(
        means=means,
        quats=np.tile([1.0, 0, 0, 0], (len(means), 1)),
        scales=np.tile([STEP, STEP, STEP / 20], (len(means), 1)),
        opacities=np.full(len(means), 0.98),
        sh=np.full((len(means), 1, 3), (number - 0.5) / 0.28209479),
    )


def joined(*parts):
    names = ('means', 'quats', 'scales', 'opacities', 'sh')
    return Gaussians(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def share_of_sky(points):
    """Light of a sky that is brighter above over that of an even one, at points (N, 3) below the
    roof or beside it, facing up."""
    got = np.zeros((2, len(points)))
    for direction in np.random.default_rng(0).normal(size=(3000, 3)):
        direction[2] = abs(direction[2])
        up = direction[2] / np.linalg.norm(direction)
        over = points + direction * (ROOF_HEIGHT / direction[2])
        hidden = (over[:, 0] < 0) & (over[:, 0] > -SIDE) & (np.abs(over[:, 1]) < SIDE)
        light = np.where(hidden, 0, up)
        got += light, light * (0.1 + 1.5 * up)
    return got[1] / np.maximum(got[0], 1e-9)


def test_light_from_above_does_not_reach_below_a_roof(camera):
    floor, roof = plate(0.0, -SIDE, SIDE, 0.5), plate(ROOF_HEIGHT, -SIDE, 0, 0.3)
    thickness = plate(-2 * STEP, -SIDE, SIDE, 0.5), plate(ROOF_HEIGHT - 2 * STEP, -SIDE, 0, 0.3)
    scene = SplatScene(joined(floor, roof, *thickness), 'cpu', 1)
    pose = look_at(np.array([0.22, 0.03, 0.1]), np.array([0.0, 0.0, 0.01]))
    rendered = scene.render(camera, pose)
    hidden = len(thickness[0]) + len(thickness[1])
    true = np.concatenate([share_of_sky(floor.means), np.full(len(roof) + hidden, 1.1)])
    wanted, _ = scene.paint(camera, pose, true)
    query = lit(rendered, np.nan_to_num(wanted, nan=1.0))
    light = LightTransfer(scene).match(rendered, camera, pose, query)

    x = floor.means[:, 0]
    ours = {}
    for name, chosen in (('below', (x > -0.03) & (x < -0.01)), ('free', x > 0.025)):
        pixels = project_object(camera, pose, floor.means[chosen]).astype(int)
        inside = ((pixels >= 0) & (pixels < SIZE)).all(axis=1)
        ours[name] = np.median(light.factor[pixels[inside, 1], pixels[inside, 0]])
        ours[f'true {name}'] = np.median(true[: len(x)][chosen])
    assert ours['true below'] < 0.85 * ours['true free']
    assert ours['below'] / ours['free'] == pytest.approx(
        ours['true below'] / ours['true free'], rel=0.08
    )
    solid = rendered.alpha > 0.95
    assert error(light.on(rendered), query, solid) < 0.4 * error(rendered, query, solid)
