"""Blender's pictures: part IDs, repeatability, errors. Needs `make blender`."""

import numpy as np
import pytest

from pad_inspection import images
from pad_inspection.offline.render_dataset import ldraw, plan
from pad_inspection.offline.render_dataset.blender import BlenderRenderer, find_python
from pad_inspection.offline.render_dataset.idcast import Caster
from pad_inspection.offline.render_dataset.profiles import PROFILES, Options
from pad_inspection.offline.render_dataset.scene import RenderError, Scene

pytestmark = [pytest.mark.blender, pytest.mark.slow]
SIZE = 200


@pytest.fixture(scope='module', autouse=True)
def installed():
    try:
        find_python()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def planned(name, number):
    library = ldraw.Library()
    product = plan.product_of(library, name)
    item = plan.plan_object(product, PROFILES['tiny'], Options(), 0, 'test', number)
    return library, product, item, plan.world_from_model(product, item)


@pytest.mark.parametrize(('name', 'number'), [('coupe', 0), ('truck', 1), ('loader', 2)])
def test_cast_ids_are_blenders(tmp_path, name, number):
    library, product, item, placed = planned(name, number)
    camera, pose = plan.square_camera(SIZE), item.views[1].cam_from_world
    renderer = BlenderRenderer(tmp_path, 1, part_ids=True)
    masks = {'blender': [], 'cast': []}
    for parts in (product.audit.placements, item.placements):
        renderer.open(Scene(library, parts, placed, camera, 1, item.conveyor))
        renderer.render(pose, tmp_path / 'ids.png')
        rendered = images.read_rgb(tmp_path / 'ids.png')[..., 0].astype(int)
        cast = Caster(library, parts, placed).ids(camera, pose)
        assert len(np.unique(rendered)) > 15
        assert (rendered != cast).sum() <= 12  # rays that hit an edge
        masks['blender'].append(rendered)
        masks['cast'].append(cast)
    renderer.close()
    changed = {
        key: (a != b) | ((item.kind == 'recolour') & (b == item.defect.part_id))
        for key, (a, b) in masks.items()
    }
    assert changed['cast'].sum() > 25
    assert (changed['cast'] != changed['blender']).sum() <= 4


def test_same_picture_from_another_process_with_other_threads(tmp_path):
    library, _, item, placed = planned('coupe', 2)
    camera = plan.square_camera(96)
    pictures = []
    for threads in (1, 2):
        renderer = BlenderRenderer(tmp_path / str(threads), threads)
        renderer.open(Scene(library, item.placements, placed, camera, 2, item.conveyor))
        if threads == 2:  # what was rendered before must not matter
            renderer.render(item.views[1].cam_from_world, tmp_path / 'other.png')
        renderer.render(item.views[0].cam_from_world, tmp_path / 'picture.png')
        renderer.close()
        pictures.append((tmp_path / 'picture.png').read_bytes())
    assert pictures[0] == pictures[1]
    picture, alpha = images.read_rgba(tmp_path / 'picture.png')
    assert picture.shape == (96, 96, 3) and alpha is None and 40 < picture.mean() < 220


def test_object_alone_has_alpha(tmp_path):
    library = ldraw.Library()
    product = plan.product_of(library, 'coupe')
    scene = Scene(
        library,
        product.audit.placements,
        product.object_from_model,
        plan.square_camera(96),
        16,
    )
    pose = plan.training_cameras(product, PROFILES['tiny'], 0)[5]
    renderer = BlenderRenderer(tmp_path, 1)
    renderer.open(scene)
    renderer.render(pose, tmp_path / 'alone.png')
    renderer.close()
    picture, alpha = images.read_rgba(tmp_path / 'alone.png')
    inside = Caster(library, scene.placements, scene.world_from_model, belt=False)
    ids = inside.ids(scene.camera, pose)
    assert ((alpha > 127) != (ids > 0)).mean() < 0.01
    assert (picture[alpha == 0] == 0).all()


def test_dead_process_is_an_error_and_the_next_try_works(tmp_path):
    library, _, item, placed = planned('coupe', 2)
    renderer = BlenderRenderer(tmp_path, 1)
    renderer.open(
        Scene(library, item.placements, placed, plan.square_camera(48), 1, item.conveyor)
    )
    renderer.render(item.views[0].cam_from_world, tmp_path / 'a.png')
    renderer._process.kill()
    renderer._process.wait()
    with pytest.raises(RenderError, match=r'blender\.log'):
        renderer.render(item.views[0].cam_from_world, tmp_path / 'b.png')
    renderer.render(item.views[0].cam_from_world, tmp_path / 'b.png')
    renderer.close()
    assert (tmp_path / 'a.png').read_bytes() == (tmp_path / 'b.png').read_bytes()


def test_device_is_looked_for(tmp_path):
    renderer = BlenderRenderer(tmp_path / 'cpu', 1)
    renderer.check_device()
    renderer.close()
    # there is none of this name anywhere; what GPUs this machine has does not matter
    renderer = BlenderRenderer(tmp_path / 'other', 1, device='abacus')
    with pytest.raises(RenderError, match=r'(?i)abacus'):
        renderer.check_device()
    renderer.close()
