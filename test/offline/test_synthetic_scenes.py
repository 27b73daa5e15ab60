import numpy as np
import pytest

from helpers.fit_views import ball, views_around
from pad_inspection.datatypes import Camera, RenderedView
from pad_inspection.offline.synthetic_scenes import (
    KINDS,
    SceneMaker,
    put_on_line,
    random_light,
    without_glare,
)


@pytest.fixture(scope='module')
def maker(tmp_path_factory):
    views = views_around(tmp_path_factory.mktemp('views'), count=6, size=64)
    return SceneMaker(views, ball(), threads=1, device='cpu')


def seeds_of(maker, kind, wanted=3):
    """Scenes of a kind; a defect that cannot be seen is told as 'none'."""
    made = (maker.make(np.random.default_rng(seed), kind) for seed in range(40))
    found = [scene for scene in made if scene.kind == kind][:wanted]
    assert len(found) == wanted
    return found


@pytest.mark.parametrize('kind', KINDS)
def test_what_was_changed_is_known(maker, kind):
    for scene in seeds_of(maker, kind):
        assert scene.query.shape == (64, 64, 3) and scene.query.dtype == np.uint8
        assert 0 <= scene.object_alpha.min() <= scene.object_alpha.max() <= 1
        assert scene.changed.any() == (kind != 'none')
        assert not (scene.changed & scene.ignored).any()
        # away from the piece as it was and as it is now nothing is a defect
        pose_alpha = maker.scene.render(scene.camera, scene.cam_from_object).alpha
        nowhere = (pose_alpha < 0.02) & (scene.object_alpha < 0.02)
        assert not scene.changed[nowhere].any()


def test_an_added_block_is_object_and_a_removed_one_is_not_more(maker):
    grown = [
        (s.object_alpha - maker.scene.render(s.camera, s.cam_from_object).alpha)[s.changed].max()
        for s in seeds_of(maker, 'added', 5)
    ]
    assert max(grown) > 0.5  # at least one sticks out of the silhouette
    for scene in seeds_of(maker, 'removed'):
        alpha = maker.scene.render(scene.camera, scene.cam_from_object).alpha
        assert (scene.object_alpha <= np.maximum(alpha, 0.25) + 0.25).all()


def test_the_same_seed_gives_the_same_scene(maker):
    first, second = (maker.make(np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first.query, second.query)
    np.testing.assert_array_equal(first.changed, second.changed)


def test_no_views_are_refused():
    with pytest.raises(ValueError, match='no views'):
        SceneMaker([], ball())


def test_other_light_changes_colours_but_no_shape():
    camera = Camera(40, 40, [[60.0, 0, 20], [0, 60.0, 20], [0, 0, 1]])
    alpha = np.zeros((40, 40), np.float32)
    alpha[10:30, 10:30] = 1
    depth = np.where(alpha > 0, np.float32(1), np.float32(np.nan))
    color = 0.4 * np.repeat(alpha[..., None], 3, axis=2)
    relit = random_light(color, alpha, depth, camera, np.random.default_rng(0))
    assert not relit[alpha == 0].any()
    assert np.abs(relit - color)[alpha > 0].max() > 0.01
    assert relit.max() <= 1
    same = random_light(color, alpha, depth, camera, np.random.default_rng(0), variation=0.0)
    np.testing.assert_allclose(same, color, atol=1e-6)


def _square(color):
    """A square of a colour: premultiplied colour and alpha."""
    alpha = np.zeros((48, 48), np.float32)
    alpha[8:40, 8:40] = 1
    return alpha[..., None] * np.float32(color), alpha


@pytest.mark.parametrize('with_alpha', [True, False])
def test_glare_takes_the_color_of_the_model(with_alpha):
    color, alpha = _square([0.8, 0.6, 0.1])
    rendered = RenderedView(color.copy(), alpha.copy(), np.ones_like(alpha))
    photograph, opacity = color.copy(), alpha.copy()
    photograph[8:14, 8:40] = 1.0
    photograph[30, 20] = 1.0  # a glint
    if not with_alpha:
        photograph[8:14, 8:40], opacity[8:14, 8:40] = 0.0, 0.0
    filled, filled_alpha = without_glare(photograph, opacity, rendered)
    np.testing.assert_array_equal(filled[8:30], color[8:30])
    np.testing.assert_array_equal(filled_alpha, alpha)
    assert filled[30, 20].min() == 1.0


def test_white_parts_and_missing_ones_stay_as_they_are():
    color, alpha = _square([0.95, 0.95, 0.95])
    rendered = RenderedView(color.copy(), alpha.copy(), np.ones_like(alpha))
    filled, _ = without_glare(np.minimum(color + 0.05, alpha[..., None]), alpha, rendered)
    assert filled[20, 20].min() == 1.0
    dark, _ = _square([0.2, 0.2, 0.2])
    np.testing.assert_array_equal(without_glare(dark, alpha, rendered)[0], dark)


def test_a_piece_on_the_line_keeps_its_pixels():
    alpha = np.zeros((48, 48), np.float32)
    alpha[12:36, 12:36] = 1
    color = alpha[..., None] * np.float32([0.9, 0.1, 0.1])
    picture = put_on_line(color, alpha, np.random.default_rng(1)).astype(int)
    inside = picture[16:32, 16:32].reshape(-1, 3)
    assert np.abs(inside - [230, 26, 26]).max() < 15
    assert picture[:10].std() > 1  # clutter around it
