"""The generator from the command line, with the light renderer."""

import argparse
import filecmp
from dataclasses import replace

import numpy as np
import pytest

from pad_inspection import dataset, geometry, images
from pad_inspection.offline.render_dataset import (
    blender,
    command,
    generate,
    ldraw,
    plan,
    vehicles,
)
from pad_inspection.offline.render_dataset.idcast import MaskCaster
from pad_inspection.offline.render_dataset.light import LightRenderer
from pad_inspection.offline.render_dataset.profiles import PROFILES, Options, Profile
from pad_inspection.offline.render_dataset.scene import RenderError, Scene
from pad_inspection.offline.render_dataset.shots import Settings

SMALLEST = Profile(80, 8, 1, 1, 1, 1, 1, 1, 2, min_visible_views=1)


def arguments(out, *more):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    base = ['--classes', 'coupe', '--profile', 'tiny', '--renderer', 'light', '--out', str(out)]
    return parser.parse_args([*base, *more])


@pytest.fixture(scope='module')
def rendered(tmp_path_factory):
    """A small data set with one commissioning object."""
    out = tmp_path_factory.mktemp('rendered')
    patch = pytest.MonkeyPatch()
    patch.setitem(PROFILES, 'tiny', SMALLEST)
    assert command.run(arguments(out, '--validation', '1', '--jobs', '2')) == 0
    patch.undo()
    return out


def same_files(a, b):
    names = sorted(p.relative_to(a) for p in a.rglob('*') if p.is_file())
    assert names == sorted(p.relative_to(b) for p in b.rglob('*') if p.is_file())
    return [n for n in names if not filecmp.cmp(a / n, b / n, shallow=False)]


def test_layout_and_lists(rendered):
    folder = rendered / 'coupe'
    views = dataset.read_training_views(folder)
    assert len(views) == 8
    rgb, alpha = views[0].load()
    assert rgb.shape == (80, 80, 3) and 0.02 < alpha.mean() < 0.9
    tests = dataset.read_test_images(folder)
    assert [t.defect for t in tests] == [
        kind for kind in ('recolour', 'removed', 'added', 'good') for _ in range(2)
    ]
    assert {t.object_id for t in tests} == {'00', '01', '02', '03'}
    for image in tests:
        assert image.load_image().shape == (80, 80, 3)
        assert image.load_mask().any() == image.visible
        assert (image.mask_path is None) == (image.defect == 'good')
    assert len(dataset.read_validation_images(folder)) == 2
    entry = dataset.read_json(folder / 'test.json')['images'][0]
    assert {'part', 'part_id', 'color_after', 'mask_px', 'visible_change'} <= set(entry)
    pose = geometry.compose(
        geometry.from_matrix(entry['cam_from_world']),
        geometry.from_matrix(entry['world_from_object']),
    )
    assert geometry.to_matrix(pose) == pytest.approx(np.array(entry['cam_from_object']))
    assert dataset.read_json(folder / 'dataset.json')['complete'] is True
    library = ldraw.Library()
    model = ldraw.parse_ldr((folder / 'model.ldr').read_text(), library)
    assert len(model) == len(vehicles.build(library, 'coupe'))
    assert not (rendered / '.work').exists()
    assert 'complete' in (rendered / 'render.log').read_text()


def test_a_profile_without_training_views_gives_test_pictures_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(PROFILES, 'tiny', replace(SMALLEST, training_views=0))
    assert command.run(arguments(tmp_path)) == 0
    assert len(dataset.read_test_images(tmp_path / 'coupe')) == 8
    assert not (tmp_path / 'coupe' / 'transforms.json').exists()


def test_same_seed_same_files_and_resuming(rendered, tmp_path, monkeypatch):
    monkeypatch.setitem(PROFILES, 'tiny', SMALLEST)
    drawn = []
    original = LightRenderer.render

    def render(self, pose, path):
        drawn.append(path)
        original(self, pose, path)

    monkeypatch.setattr(LightRenderer, 'render', render)
    args = arguments(tmp_path, '--validation', '1')
    assert command.run(args) == 0
    assert same_files(tmp_path / 'coupe', rendered / 'coupe') == []
    assert len(drawn) == 8 + 8 + 2
    drawn.clear()
    (tmp_path / 'coupe/train/good/003.png').unlink()
    (tmp_path / 'coupe/test/good/03_1.png').unlink()
    assert command.run(args) == 0
    assert len(drawn) == 2
    assert same_files(tmp_path / 'coupe', rendered / 'coupe') == []


def test_other_settings_are_refused(rendered, monkeypatch):
    monkeypatch.setitem(PROFILES, 'tiny', SMALLEST)
    with pytest.raises(ValueError, match='begun with other settings'):
        command.run(arguments(rendered, '--validation', '1', '--seed', '1'))


def test_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / 'coupe').mkdir()
    (tmp_path / 'coupe/notes.txt').write_text('mine')
    with pytest.raises(ValueError, match='not written by this command'):
        command.run(arguments(tmp_path))


def test_bad_arguments(tmp_path, monkeypatch):
    args = arguments(tmp_path)
    args.classes = 'coupe,bus'
    with pytest.raises(ValueError, match="no class 'bus', wanted one of police_car"):
        command.run(args)
    with pytest.raises(ValueError, match='--jpeg is 101, wanted 0 to 100'):
        command.run(arguments(tmp_path, '--jpeg', '101'))
    with pytest.raises(ValueError, match='--renderer light has no --device cuda'):
        command.run(arguments(tmp_path, '--device', 'cuda'))
    monkeypatch.setenv(blender.PYTHON_VARIABLE, str(tmp_path / 'python'))
    args = arguments(tmp_path)
    args.renderer = 'blender'
    with pytest.raises(FileNotFoundError, match='make blender'):
        command.run(args)


class Failing(LightRenderer):
    """Fails on one view for ever and on another once."""

    def __init__(self):
        super().__init__()
        self.tries = {}

    def render(self, pose, path):
        name = path.name.lstrip('.')
        self.tries[name] = self.tries.get(name, 0) + 1
        if name == '001.png' or (name == '002.png' and self.tries[name] == 1):
            raise RenderError('out of memory')
        super().render(pose, path)


def settings_of(options=None):
    return Settings('tiny', SMALLEST, options or Options(), 0, 'light')


def test_failed_frame_is_tried_again_and_named(tmp_path):
    renderer = Failing()
    failures = generate.render_classes(
        ['coupe'], tmp_path, settings_of(), ldraw.Library(), lambda _: renderer
    )
    assert failures == [f'{tmp_path / "coupe/train/good/001.png"}: out of memory']
    assert (renderer.tries['001.png'], renderer.tries['002.png']) == (3, 2)
    assert (tmp_path / 'coupe/train/good/002.png').is_file()
    assert not (tmp_path / 'coupe/transforms.json').exists()
    assert not list(tmp_path.rglob('.0*.png'))


def test_run_ends_when_everything_fails(tmp_path):
    class Broken(LightRenderer):
        def render(self, pose, path):
            raise RenderError('no such library')

    failures = generate.render_classes(
        ['coupe', 'tank'], tmp_path, settings_of(), ldraw.Library(), lambda _: Broken()
    )
    assert len(failures) == 3


def test_camera_effects_and_fixed_cameras(tmp_path):
    options = Options(noise=5.0, jpeg=80, cameras=3)
    failures = generate.render_classes(
        ['coupe'], tmp_path, settings_of(options), ldraw.Library(), lambda _: LightRenderer()
    )
    assert failures == []
    tests = dataset.read_test_images(tmp_path / 'coupe')
    assert [t.camera_name for t in tests[:3]] == ['camera_0', 'camera_1', 'camera_2']
    assert len(tests) == 12


def test_light_renderer_agrees_with_the_masks(tmp_path):
    library = ldraw.Library()
    product = plan.product_of(library, 'coupe')
    item = plan.plan_object(product, SMALLEST, Options(), 0, 'test', 0)
    placed = plan.world_from_model(product, item)
    camera = plan.square_camera(160)
    pictures = []
    for parts in (product.audit.placements, item.placements):
        renderer = LightRenderer()
        renderer.open(Scene(library, parts, placed, camera, 1, item.conveyor))
        renderer.render(item.views[0].cam_from_world, tmp_path / 'picture.png')
        pictures.append(images.read_rgb(tmp_path / 'picture.png').astype(int))
    changed = np.abs(pictures[0] - pictures[1]).max(axis=2) > 8
    caster = MaskCaster(library, product.audit.placements, item.placements, item.defect, placed)
    mask = caster.mask(camera, item.views[0].cam_from_world)
    assert mask.any()
    # slivers thinner than a pixel can miss its centre
    assert (changed & ~images.dilate(mask, 1)).sum() <= 3
    assert changed[mask].mean() > 0.9
