"""Planning of objects, cameras and poses; textures and camera effects."""

import io

import numpy as np
import pytest

from pad_inspection.geometry import camera_center, to_matrix, transform
from pad_inspection.offline.render_dataset import ldraw, plan
from pad_inspection.offline.render_dataset.degrade import degrade
from pad_inspection.offline.render_dataset.idcast import MaskCaster
from pad_inspection.offline.render_dataset.profiles import PROFILES, Options
from pad_inspection.offline.render_dataset.progress import Progress, duration
from pad_inspection.offline.render_dataset.textures import brush_texture, floor_texture

TINY = PROFILES['tiny']


@pytest.fixture(scope='module')
def coupe():
    return plan.product_of(ldraw.Library(), 'coupe')


def fill_of(coupe, item, view):
    camera = plan.square_camera(400)
    box = plan.outline_box(camera, plan.cam_from_object(item, view), coupe.points)
    assert (box[:2] > 0).all() and (box[2:] < 400).all()
    return (box[2:] - box[:2]).max() / 400


def test_object_frame_is_centred_and_upright(coupe):
    low, high = coupe.points.min(axis=0), coupe.points.max(axis=0)
    assert low == pytest.approx(-high)
    assert high - low == pytest.approx([0.0398, 0.108, 0.046], abs=1e-4)
    assert plan.upright(coupe.poses).rotation == pytest.approx(np.eye(3), abs=1e-6)
    assert sum(p.probability for p in coupe.poses) == pytest.approx(1)
    tyres = [p for p in coupe.audit.placements if coupe.audit.shapes.is_tyre(p.part)]
    mesh = coupe.audit.shapes.library.mesh(tyres[0].part)
    heights = [(p.transform(mesh.vertices) @ coupe.object_from_model[2, :3]).min() for p in tyres]
    # four wheels on the ground
    assert len(tyres) == 4
    assert np.array(heights) + coupe.object_from_model[2, 3] == pytest.approx([low[2]] * 4)


def test_composition_of_the_published_set():
    for name in ('small', 'paper'):
        kinds = PROFILES[name].kinds
        assert [kinds.count(k) for k in ('recolour', 'removed', 'added', 'good')] == [2, 2, 3, 6]
        assert (PROFILES[name].training_views, PROFILES[name].views) == (100, 9)
    assert (PROFILES['small'].size, PROFILES['paper'].size) == (400, 800)


def test_training_cameras_surround_the_object(coupe):
    poses = plan.training_cameras(coupe, TINY, 0)
    centers = np.array([camera_center(p) for p in poses])
    directions = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    assert len(poses) == TINY.training_views
    assert np.abs(directions.mean(axis=0)).max() < 0.05
    assert directions[:, 2].min() < -0.9 and directions[:, 2].max() > 0.9
    camera = plan.square_camera(200)
    for pose in poses:
        box = plan.outline_box(camera, pose, coupe.points)
        assert (box[:2] > 0).all() and (box[2:] < 200).all()
    again = plan.training_cameras(coupe, TINY, 0)
    assert all((to_matrix(a) == to_matrix(b)).all() for a, b in zip(poses, again))
    other = plan.training_cameras(coupe, TINY, 1)
    assert not np.allclose(to_matrix(poses[0]), to_matrix(other[0]))


def test_object_lies_on_the_belt_and_fills_the_frame(coupe):
    for number in range(6):
        item = plan.plan_object(coupe, TINY, Options(), 5, 'validation', number)
        points = transform(item.world_from_object, coupe.points)
        assert points[:, 2].min() == pytest.approx(0, abs=1e-9)
        assert np.abs(points[:, :2].min(axis=0) + points[:, :2].max(axis=0)).max() / 2 <= 0.0151
        for view in item.views:
            assert 0.55 <= fill_of(coupe, item, view) <= 0.75
            assert camera_center(view.cam_from_world)[2] > 0.05


def test_defective_object_is_seen_and_repeatable(coupe):
    for number, kind in enumerate(('recolour', 'removed', 'added')):
        item = plan.plan_object(coupe, TINY, Options(), 0, 'test', number)
        assert item.kind == kind
        caster = MaskCaster(
            coupe.audit.shapes.library,
            coupe.audit.placements,
            item.placements,
            item.defect,
            plan.world_from_model(coupe, item),
        )
        camera = plan.square_camera(200)
        areas = [caster.mask(camera, v.cam_from_world).sum() for v in item.views]
        assert sum(area >= 25 for area in areas) >= TINY.min_visible_views
        assert [v.change > 0 for v in item.views] == [area > 0 for area in areas]
        again = plan.plan_object(coupe, TINY, Options(), 0, 'test', number)
        assert again.defect == item.defect
        assert (again.world_from_object.rotation == item.world_from_object.rotation).all()


def test_defect_that_nobody_can_see_is_refused(coupe, monkeypatch):
    monkeypatch.setattr(plan, '_MAX_DRAWS', 5)
    blind = PROFILES['demo'].__class__(
        200, 4, 16, 4, 1, 0, 0, 0, 3, min_visible_views=3, min_visible_share=0.9
    )
    with pytest.raises(ValueError, match='coupe 00: no recolour defect of 5 is seen in 3 views'):
        plan.plan_object(coupe, blind, Options(), 0, 'test', 0)


def test_upright_only(coupe):
    for number in range(5):
        item = plan.plan_object(coupe, TINY, Options(upright=True), 0, 'validation', number)
        assert item.world_from_object.rotation[2] == pytest.approx([0, 0, 1], abs=1e-6)


def test_fixed_cameras_stay_where_they_are(coupe):
    options = Options(cameras=4)
    items = [plan.plan_object(coupe, TINY, options, 0, 'validation', n) for n in range(4)]
    for item in items:
        assert [v.camera_name for v in item.views] == [f'camera_{k}' for k in range(4)]
        for view, first in zip(item.views, items[0].views):
            assert (to_matrix(view.cam_from_world) == to_matrix(first.cam_from_world)).all()
            assert 0.2 < fill_of(coupe, item, view) < 1


def test_looks_and_lighting_vary_only_when_asked(coupe):
    plain = [plan.plan_object(coupe, TINY, Options(), 0, 'validation', n) for n in range(6)]
    assert len({(i.conveyor.belt, i.conveyor.floor) for i in plain}) == 1
    assert len({i.lighting for i in plain}) == 1
    assert len({i.conveyor.shift for i in plain}) == 6
    options = Options(looks=9, lighting=0.3)
    varied = [plan.plan_object(coupe, TINY, options, 0, 'validation', n) for n in range(6)]
    assert len({(i.conveyor.belt, i.conveyor.floor) for i in varied}) > 2
    assert len({i.lighting for i in varied}) == 6
    assert all(0.7 <= i.lighting.key <= 1.3 for i in varied)


def test_two_loose_bricks_are_no_product():
    library = ldraw.Library()
    text = '1 4 0 0 0 1 0 0 0 1 0 0 0 1 3005.dat\n1 4 90 0 0 1 0 0 0 1 0 0 0 1 3005.dat'
    with pytest.raises(ValueError, match='loose falls into 2 pieces'):
        plan.product_from(library, 'loose', ldraw.parse_ldr(text, library))


@pytest.mark.parametrize('kind', ['tiles', 'concrete', 'wood'])
def test_floor_textures(kind):
    texture = floor_texture(kind, 3)
    assert texture.dtype == np.uint8 and texture.shape == (1024, 1024, 3)
    assert texture.std() > 5
    assert (texture == floor_texture(kind, 3)).all()
    assert (texture != floor_texture(kind, 4)).any()


def test_other_textures():
    with pytest.raises(ValueError, match="no floor 'sand'"):
        floor_texture('sand', 0)
    brush = brush_texture(0)
    assert brush.min() == round(0.28 * 255) and brush.max() in (127, 128)


def test_degrade():
    image = np.full((64, 64, 3), 255, np.uint8)
    image[:, :32] = 0
    rng = np.random.default_rng
    assert (degrade(image, Options(), rng(0)) == image).all()
    blurred = degrade(image, Options(blur=2.0), rng(0))
    assert 60 < blurred[32, 31, 0] < 130
    grey = np.full((64, 64, 3), 128, np.uint8)
    noisy = degrade(grey, Options(noise=6.0), rng(0))
    # sqrt(1/9 + 8/9 * 128/255) * 6 = 4.48
    assert noisy.std() == pytest.approx(4.48, abs=0.2)
    assert (noisy == degrade(grey, Options(noise=6.0), rng(0))).all()
    coded = degrade(noisy, Options(jpeg=50), rng(0))
    assert coded.shape == noisy.shape and (coded != noisy).any()


def test_progress():
    stream = io.StringIO()
    progress = Progress(4, stream)
    for k in range(4):
        progress.step(f'{k}.png')
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith('1/4  25%') and lines[-1].startswith('4/4 100%, 0 s left, 3.png')
    assert [duration(s) for s in (42.2, 185, 7800)] == ['42 s', '3 min 5 s', '2 h 10 min']
