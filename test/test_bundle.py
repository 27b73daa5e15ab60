import json

import pytest

from pad_inspection import bundle
from pad_inspection.bundle import BundleError, BundleVersionError, open_bundle, writing_bundle


def write(path, extra=()):
    with writing_bundle(path, {'model_id': 'part'}) as work:
        for name in (*bundle.REQUIRED_FILES, *extra):
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(f'content of {name}')
    return path


def test_round_trip(tmp_path):
    opened = open_bundle(write(tmp_path / 'b', ['sfm/points3D.bin']))
    assert opened.manifest['model_id'] == 'part'
    assert opened.file('sfm/points3D.bin').read_text() == 'content of sfm/points3D.bin'
    assert len(opened.sha256) == 64
    assert sorted(p.name for p in tmp_path.iterdir()) == ['b']


def test_a_second_write_replaces_the_first(tmp_path):
    write(tmp_path / 'b', ['old.txt'])
    opened = open_bundle(write(tmp_path / 'b'))
    with pytest.raises(BundleError, match=r'old\.txt'):
        opened.file('old.txt')
    assert not (tmp_path / 'b' / 'old.txt').exists()


def test_a_failed_write_leaves_the_old_bundle(tmp_path):
    write(tmp_path / 'b')
    with pytest.raises(RuntimeError), writing_bundle(tmp_path / 'b', {}) as work:
        (work / 'gaussians.ply').write_text('half')
        raise RuntimeError
    assert open_bundle(tmp_path / 'b').file('gaussians.ply').read_text() != 'half'
    assert sorted(p.name for p in tmp_path.iterdir()) == ['b']


def test_an_incomplete_write_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r'gaussians\.ply'):
        with writing_bundle(tmp_path / 'b', {}) as work:
            (work / 'features.npz').write_text('')
    assert not (tmp_path / 'b').exists()


def test_a_folder_that_is_no_bundle_is_not_overwritten(tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'mine.jpg').write_text('precious')
    with pytest.raises(BundleError, match='no model bundle'):
        write(tmp_path / 'photos')
    assert (tmp_path / 'photos' / 'mine.jpg').exists()


@pytest.mark.parametrize('name', bundle.REQUIRED_FILES)
def test_missing_and_damaged_files_are_named(tmp_path, name):
    write(tmp_path / 'a')
    (tmp_path / 'a' / name).write_text('tampered')
    with pytest.raises(BundleError, match=f'{name}.*SHA-256'):
        open_bundle(tmp_path / 'a')
    (tmp_path / 'a' / name).unlink()
    with pytest.raises(BundleError, match=f'{name} is missing'):
        open_bundle(tmp_path / 'a')


def test_other_versions_and_damaged_manifests_are_refused(tmp_path):
    path = write(tmp_path / 'b')
    manifest = json.loads((path / 'manifest.json').read_text())
    (path / 'manifest.json').write_text(json.dumps({**manifest, 'format_version': '2.0'}))
    with pytest.raises(BundleVersionError, match=r'2\.0'):
        open_bundle(path)
    (path / 'manifest.json').write_text('{"format_version": ')
    with pytest.raises(BundleError, match='damaged'):
        open_bundle(path)


def test_a_manifest_cannot_name_files_outside(tmp_path):
    path = write(tmp_path / 'b')
    manifest = json.loads((path / 'manifest.json').read_text())
    manifest['files']['../secret'] = '0' * 64
    (path / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match='outside'):
        open_bundle(path)


def test_a_missing_bundle_tells_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match='pad build'):
        open_bundle(tmp_path / 'nothing')
    with pytest.raises(FileNotFoundError, match=r'manifest\.json'):
        open_bundle(tmp_path)
