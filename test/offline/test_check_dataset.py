"""The check and preview tools, on a sound data set and on damaged copies of it."""

import argparse
import json
import shutil

import numpy as np
import pytest

from pad_inspection import dataset, geometry, images
from pad_inspection.datatypes import Camera
from pad_inspection.offline import check_dataset, preview_dataset, silhouettes
from pad_inspection.offline.render_dataset import generate, ldraw
from pad_inspection.offline.render_dataset.light import LightRenderer
from pad_inspection.offline.render_dataset.profiles import Options, Profile
from pad_inspection.offline.render_dataset.shots import Settings


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
    """A small coupe data set with commissioning images."""
    root = tmp_path_factory.mktemp('sound')
    profile = Profile(96, 16, 1, 1, 0, 1, 1, 1, 2, min_visible_views=1)
    settings = Settings('test', profile, Options(validation=1), 0, 'light')
    failures = generate.render_classes(
        ['coupe'], root, settings, ldraw.Library(), lambda _: LightRenderer()
    )
    assert failures == []
    return root / 'coupe'


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / 'coupe')


def faults_of(folder):
    return check_dataset.check_class(folder).faults


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def check(path):
    parser = argparse.ArgumentParser()
    check_dataset.add_arguments(parser)
    return check_dataset.run(parser.parse_args([str(path), '--checksums']))


def test_sound_data_set(sound, capsys):
    report = check_dataset.check_class(sound)
    assert report.faults == []
    assert (report.training, report.test, report.validation) == (16, 6, 2)
    assert report.anomalous == sum(report.visible_by_defect.values())
    # measured on the visual hull's grid, a little coarser than the outline itself
    assert 0.52 < report.fill[0] <= report.fill[1] < 0.75
    assert check(sound.parent) == 0
    out = capsys.readouterr().out
    assert '| coupe | 16       | 6    | 2 ' in out


def test_checksum_changes_with_content_and_names(folder):
    first = check_dataset.checksum(folder)
    assert first == check_dataset.checksum(folder) and len(first) == 64
    (folder / 'model.ldr').rename(folder / 'other.ldr')
    second = check_dataset.checksum(folder)
    with open(folder / 'other.ldr', 'a') as stream:
        stream.write(' ')
    assert len({first, second, check_dataset.checksum(folder)}) == 3


def test_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds no class folder'):
        check(tmp_path)


def test_missing_and_damaged_files(folder, capsys):
    (folder / 'train/good/003.png').unlink()
    (folder / 'train/good/004.png').write_bytes(b'no picture')
    (folder / 'test/good/02_0.png').unlink()
    (folder / 'ground_truth/added/01_0.png').unlink()
    found = '\n'.join(faults_of(folder))
    assert '003.png does not exist' in found
    assert '004.png (10 bytes) is not a readable picture' in found
    assert '02_0.png does not exist' in found
    assert '01_0.png does not exist' in found
    assert check(folder) == 1
    assert 'coupe: ' in capsys.readouterr().err


def test_wrong_sizes(folder):
    images.write(folder / 'test/good/02_0.png', np.zeros((90, 96, 3), np.uint8))
    images.write(folder / 'ground_truth/added/01_0.png', np.zeros((48, 48), np.uint8))
    found = '\n'.join(faults_of(folder))
    assert '02_0.png has 96x90 px, its camera 96x96' in found
    assert '01_0.png has 48x48 px' in found


def test_masks(folder):
    entries = dataset.read_test_images(folder)
    seen = next(i for i in entries if i.visible)
    mask = 255 * seen.load_mask().astype(np.uint8)
    mask[0, 0] = 128
    images.write(seen.mask_path, mask)
    other = [i for i in entries if i.visible][-1]
    images.write(other.mask_path, np.zeros((96, 96), np.uint8))
    found = '\n'.join(faults_of(folder))
    assert '3 grey levels, wanted 0 and 255' in found
    assert 'is empty, but the image is' in found

    def lose_mask(content):
        entry = next(e for e in content['images'] if e['visible'])
        entry['mask_path'] = None

    edit(folder / 'test.json', lose_mask)
    assert 'and has no mask' in '\n'.join(faults_of(folder))


def test_wrong_camera_of_one_view(folder):
    def swap(content):
        frames = content['frames']
        frames[2]['transform_matrix'], frames[9]['transform_matrix'] = (
            frames[9]['transform_matrix'],
            frames[2]['transform_matrix'],
        )

    edit(folder / 'transforms.json', swap)
    found = faults_of(folder)
    wrong = [f for f in found if 'the camera or the picture is wrong' in f]
    assert {f.split(':')[0] for f in wrong} == {'002', '009'}


def test_wrong_convention_of_all_cameras(folder):
    def invert(content):
        for frame in content['frames']:
            frame['transform_matrix'] = np.linalg.inv(frame['transform_matrix']).tolist()

    edit(folder / 'transforms.json', invert)
    assert any('no object fits the silhouettes' in f for f in faults_of(folder))


def test_implausible_intrinsics(folder):
    edit(folder / 'transforms.json', lambda c: c.update(fl_x=2.0))
    assert any('field of view 175 degrees' in f for f in faults_of(folder))
    edit(folder / 'transforms.json', lambda c: c.update(fl_x=160.0, cx=500.0))
    assert any('principal point 500, 48 px is off the image' in f for f in faults_of(folder))


def test_test_image_among_the_training_views(folder):
    picture = images.read_rgb(folder / 'test/good/02_0.png')
    images.write(folder / 'train/good/005.png', picture)
    found = '\n'.join(faults_of(folder))
    assert 'test/good/02_0 is the same picture as train/good/005.png' in found
    assert '005: the background is neither white nor transparent' in found


def test_object_at_the_edge(folder):
    path = folder / 'train/good/006.png'
    picture, alpha = images.read_rgba(path)
    shift = np.roll(np.dstack([picture, alpha]), 40, axis=1)
    images.write(path, shift)
    assert any('006: the edge of the picture cuts the object off' in f for f in faults_of(folder))

    def move(content):
        content['images'][-1]['cam_from_object'][0][3] += 0.08

    edit(folder / 'test.json', move)
    assert any('not completely in the picture' in f for f in faults_of(folder))


def test_empty_view(folder):
    path = folder / 'train/good/006.png'
    images.write(path, np.full((96, 96, 3), 255, np.uint8))
    assert any('the object covers 0.0% of the picture' in f for f in faults_of(folder))


def test_broken_lists(folder):
    (folder / 'test.json').write_text('{')
    edit(folder / 'validation.json', lambda c: c['images'][0].update(defect='added'))
    found = '\n'.join(faults_of(folder))
    assert 'test.json is not JSON' in found and 'intact pieces only' in found


def test_few_views(folder):
    edit(folder / 'transforms.json', lambda c: c.update(frames=c['frames'][:5]))
    assert faults_of(folder)[0] == '5 training views, wanted at least 8'


def test_mad_layout_is_checked_too(folder):
    (folder / 'test.json').unlink()
    (folder / 'validation.json').unlink()
    report = check_dataset.check_class(folder)
    # without a list every image of a defect's folder counts, also those that do not show it
    assert all('is empty, but the image is' in fault for fault in report.faults)
    assert report.test == 6 and np.isnan(report.fill[0])


def test_visual_hull_of_a_ball():
    camera = Camera(64, 64, [[80.0, 0, 32], [0, 80.0, 32], [0, 0, 1]])
    views = []
    center, radius = np.array([0.3, -0.2, 0.1]), 0.05
    for k in range(12):
        angle = np.radians(30 * k)
        eye = center + 0.3 * np.array([np.cos(angle), np.sin(angle), np.sin(3 * angle)])
        pose = geometry.look_at(eye, center)
        rays = np.stack(np.meshgrid(*2 * [np.arange(64) - 31.5]), axis=-1) / 80
        depth = np.linalg.norm(eye - center)
        # the outline of a ball: tan of its half angle
        limit = radius / np.sqrt(depth**2 - radius**2)
        views.append(silhouettes.Silhouette(camera, pose, (rays**2).sum(axis=-1) < limit**2))
    assert silhouettes.object_center(views) == pytest.approx(center, abs=0.002)
    hull = silhouettes.visual_hull(views)
    assert np.linalg.norm(hull - center, axis=1).max() < 1.25 * radius
    assert (np.ptp(hull, axis=0) > 1.8 * radius).all()


def preview(path, out, *more):
    parser = argparse.ArgumentParser()
    preview_dataset.add_arguments(parser)
    return preview_dataset.run(parser.parse_args([str(path), '--out', str(out), *more]))


def test_preview(sound, tmp_path):
    out = tmp_path / 'sheet.png'
    assert preview(sound, out, '--tile', '64') == 0
    picture = images.read_rgb(out)
    assert picture.shape == (2 * (64 + 18), 9 * 64, 3)
    green = (picture == preview_dataset._GREEN).all(axis=2)
    assert green[: 64 + 18].sum() == 0 and green[64 + 18 :].sum() > 20
    page = tmp_path / 'new/page.html'
    assert preview(sound.parent, page, '--objects', '2') == 0
    text = page.read_text()
    assert text.count('<img') == 9 + 4 and 'coupe: test 00, removed' in text
    with pytest.raises(ValueError, match=r'wanted a name in \.png or \.html'):
        preview(sound, tmp_path / 'sheet.gif')
    with pytest.raises(FileNotFoundError, match='holds no class folder'):
        preview(tmp_path / 'nothing', out)


def test_windows_are_no_fault_of_the_views_that_look_through_them():
    ring = np.zeros((30, 30), bool)
    ring[5:25, 5:25] = True
    whole = ring.copy()
    ring[10:15, 8:20] = False
    np.testing.assert_array_equal(check_dataset.without_holes(ring), whole)
    open_side = ring.copy()
    open_side[10:15, :8] = False  # no hole any more
    np.testing.assert_array_equal(check_dataset.without_holes(open_side), open_side)
