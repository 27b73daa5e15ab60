"""Photographs of a ball with stripes that the splats do not have."""

import dataclasses

import numpy as np
import pytest

from helpers.fit_views import ball, views_around
from pad_inspection import images
from pad_inspection.bundle import BundleError, open_bundle
from pad_inspection.bundle_writing import writing_bundle
from pad_inspection.geometry import scale_camera
from pad_inspection.rendering.photographs import (
    FILE,
    Photographs,
    PhotographWarper,
    create_warper,
)
from pad_inspection.rendering.renderer import SplatScene


def striped(gaussians):
    """The same shape with dark stripes around it."""
    sh = gaussians.sh.copy()
    dark = (gaussians.means[:, 2] * 1e3 % 12) < 5
    sh[dark, 0] -= 0.5
    return dataclasses.replace(gaussians, sh=sh)


@pytest.fixture(scope='module')
def fine():
    """A ball fine enough for stripes."""
    coarse = ball(30000)
    return dataclasses.replace(coarse, scales=coarse.scales / 10)


@pytest.fixture(scope='module')
def scene(fine):
    return SplatScene(fine, 'cpu', 1)


@pytest.fixture(scope='module')
def views(tmp_path_factory, fine):
    """Views whose pictures show the stripes, on white."""
    folder = tmp_path_factory.mktemp('views')
    truth = SplatScene(striped(fine), 'cpu', 1)
    result = []
    for view in views_around(folder, count=80, size=96):
        rendered = truth.render(view.camera, view.cam_from_object)
        path = folder / f'white_{view.name}.png'
        images.write(path, images.to_uint8(rendered.image + 1 - rendered.alpha[..., None]))
        result.append(dataclasses.replace(view, path=path))
    return result


@pytest.fixture(scope='module')
def photographs(views):
    return Photographs.of_views(views)


def test_a_photograph_is_nearer_to_the_truth_than_the_render(views, photographs, scene, fine):
    view = views[17]
    others = photographs.without({view.name})
    assert len(others) == len(photographs) - 1
    rendered = scene.render(view.camera, view.cam_from_object)
    found = PhotographWarper(others, scene).references(
        rendered, view.camera, view.cam_from_object, 3
    )
    truth = SplatScene(striped(fine), 'cpu', 1).render(view.camera, view.cam_from_object)
    solid = ~images.dilate(rendered.alpha < 0.9, 6)

    def error(image):
        return np.abs(image - truth.image)[solid].mean()

    assert len(found) == 3
    errors = [error(reference.image) for reference in found]
    assert max(errors) < 0.6 * error(rendered.image)
    # what no photograph shows stays as it is rendered, and so does the shape
    outside = rendered.alpha < 0.5
    for reference in found:
        np.testing.assert_array_equal(reference.image[outside], rendered.image[outside])
        assert reference.alpha is rendered.alpha and reference.depth is rendered.depth


def test_the_nearest_directions_come_first(views, photographs, scene):
    warper = PhotographWarper(photographs, scene)
    assert warper.nearest(views[5].cam_from_object, 1) == [5]
    assert len(warper.nearest(views[5].cam_from_object, 1000)) == len(photographs)


def test_a_surface_that_is_hidden_in_the_photograph_is_not_taken_from_it(
    views, photographs, scene
):
    """From the other side of the ball nothing is seen of this one."""
    first = views[0].cam_from_object
    away = [v.cam_from_object.rotation[2] @ first.rotation[2] for v in views]
    opposite = int(np.argmin(away))
    names = {v.name for i, v in enumerate(views) if i != opposite}
    rendered = scene.render(views[0].camera, first)
    (reference,) = PhotographWarper(photographs.without(names), scene).references(
        rendered, views[0].camera, first, 1
    )
    changed = np.abs(reference.image - rendered.image).max(axis=2) > 0.02
    assert changed.mean() < 0.1 * (rendered.alpha > 0.5).mean()


def test_overexposed_pixels_are_left_to_the_render(views, scene, tmp_path):
    picture, _ = views[3].load()
    path = tmp_path / 'white.png'
    images.write(path, np.full_like(picture, 255))
    white = Photographs.of_views([dataclasses.replace(views[3], path=path)])
    pose = views[3].cam_from_object
    rendered = scene.render(views[3].camera, pose)
    (reference,) = PhotographWarper(white, scene).references(rendered, views[3].camera, pose, 1)
    np.testing.assert_array_equal(reference.image, rendered.image)


def test_large_photographs_are_scaled_down(views, scene, tmp_path, monkeypatch):
    """A large photograph shows what the small one does."""
    monkeypatch.setattr('pad_inspection.rendering.photographs._MOST_PX', 96)
    small, camera = views[3].load()[0], views[3].camera
    path = tmp_path / 'large.png'
    images.write(path, np.repeat(np.repeat(small, 4, axis=0), 4, axis=1))
    large = dataclasses.replace(views[3], path=path, camera=scale_camera(camera, 384, 384))
    photographs = Photographs.of_views([large])
    assert photographs.picture(0).shape == (96, 96, 3)
    np.testing.assert_allclose(photographs.cameras[0].K, camera.K)
    pose = views[3].cam_from_object
    rendered = scene.render(camera, pose)
    (reference,) = PhotographWarper(photographs, scene).references(rendered, camera, pose, 1)
    (wanted,) = PhotographWarper(Photographs.of_views([views[3]]), scene).references(
        rendered, camera, pose, 1
    )
    np.testing.assert_allclose(reference.image, wanted.image, atol=0.02)


def test_an_empty_render_has_no_references(views, photographs, scene):
    rendered = scene.render(views[0].camera, views[0].cam_from_object)
    nothing = dataclasses.replace(rendered, alpha=np.zeros_like(rendered.alpha))
    warper = PhotographWarper(photographs, scene)
    assert warper.references(nothing, views[0].camera, views[0].cam_from_object, 3) == []


def test_saved_and_loaded(photographs, tmp_path):
    photographs.save(tmp_path)
    loaded = Photographs.load(tmp_path / FILE)
    assert loaded.names == photographs.names and loaded.encoded == photographs.encoded
    np.testing.assert_array_equal(loaded.cameras[2].K, photographs.cameras[2].K)
    np.testing.assert_allclose(loaded.poses[2].rotation, photographs.poses[2].rotation, atol=1e-12)
    difference = loaded.picture(2).astype(int) - photographs.picture(2)
    assert not difference.any()


def test_damage_is_told(photographs, tmp_path):
    with pytest.raises(FileNotFoundError, match='pad build writes them'):
        Photographs.load(tmp_path / FILE)
    (tmp_path / FILE).write_bytes(b'PK nothing')
    with pytest.raises(ValueError, match=f'{FILE} holds no photographs'):
        Photographs.load(tmp_path / FILE)
    fewer = dataclasses.replace(photographs, encoded=photographs.encoded[1:])
    fewer.save(tmp_path)
    with pytest.raises(ValueError, match='holds no photographs'):
        Photographs.load(tmp_path / FILE)
    large = dataclasses.replace(photographs.cameras[0], width=30_000)
    cameras = (large, *photographs.cameras[1:])
    dataclasses.replace(photographs, cameras=cameras).save(tmp_path)
    with pytest.raises(ValueError, match='larger than 800 px'):
        Photographs.load(tmp_path / FILE)
    broken = dataclasses.replace(photographs, encoded=(b'none',) * len(photographs))
    with pytest.raises(ValueError, match='photograph 000 .* is not a readable picture'):
        broken.picture(0)


def test_a_warper_is_made_where_it_is_wanted(photographs, scene, tmp_path):
    assert create_warper(photographs, None, scene, 0) is None
    assert isinstance(create_warper(photographs, None, scene, 2), PhotographWarper)
    with pytest.raises(ValueError, match='num_photographs is 2 and the model has no photographs'):
        create_warper(None, None, scene, 2)
    with writing_bundle(tmp_path / 'bundle', {}) as folder:
        for name in ('features.npz', 'gaussians.ply', 'calibration.json'):
            (folder / name).write_text('')
    with pytest.raises(BundleError, match=f'has no file {FILE}'):
        create_warper(None, open_bundle(tmp_path / 'bundle'), scene, 2)
