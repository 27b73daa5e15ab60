"""What is read of a bundle, and what is refused before it is read."""

import json
import os

import pytest

from helpers.bundle_variants import with_manifest
from pad_inspection import bundle
from pad_inspection.bundle import BundleError, BundleVersionError, open_bundle
from pad_inspection.bundle_writing import writing_bundle


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


def test_a_file_that_the_manifest_does_not_list_is_not_found(tmp_path):
    path = write(tmp_path / 'b')
    (path / 'comparison.pt').write_text('from somebody else')
    opened = open_bundle(path)
    assert opened.find('comparison.pt') is None
    with pytest.raises(BundleError, match=r'comparison\.pt'):
        opened.file('comparison.pt')


@pytest.mark.parametrize('name', bundle.REQUIRED_FILES)
def test_missing_and_damaged_files_are_named(tmp_path, name):
    write(tmp_path / 'a')
    (tmp_path / 'a' / name).write_text('tampered')
    with pytest.raises(BundleError, match=f'{name}.*SHA-256'):
        open_bundle(tmp_path / 'a')
    (tmp_path / 'a' / name).unlink()
    with pytest.raises(BundleError, match=f'{name} is missing'):
        open_bundle(tmp_path / 'a')


def test_a_pipe_or_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / 'b')
    monkeypatch.setattr(bundle, 'MAX_FILE_BYTES', 10)
    with pytest.raises(BundleError, match='more than 10 bytes'):
        open_bundle(path)
    (path / 'calibration.json').unlink()
    os.mkfifo(path / 'calibration.json')
    with pytest.raises(BundleError, match=r'calibration\.json is missing'):
        open_bundle(path)


def test_another_format_is_refused(tmp_path):
    path = with_manifest(write(tmp_path / 'b'), lambda m: m.update(format_version='1.0'))
    with pytest.raises(BundleVersionError, match=r"'1\.0'.*build the bundle again"):
        open_bundle(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'{"format_version": ', 'damaged'),
        (b'[' * 100_000, 'nested too deep'),
        (b'{"a": ' * 200 + b'1' + b'}' * 200, 'nested deeper'),
        (b'\xff\xfe', 'damaged'),
        (b'[]', 'holds a list'),
        (b' ' * (1 << 20) + b'{}', 'more than'),
        (b'{"format_version": "2.0"}', "no usable 'files'"),
        (b'{"format_version": 2, "files": {}}', "no usable 'format_version'"),
        (b'{"format_version": "2.0", "files": {}}', r'does not list features\.npz'),
        (b'{"format_version": "2.0", "files": {}, "model_id": 3}', 'model_id'),
    ],
)
def test_a_damaged_manifest_is_one_clear_error(tmp_path, content, message):
    path = write(tmp_path / 'b')
    (path / 'manifest.json').write_bytes(content)
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ('name', 'digest', 'message'),
    [
        ('../secret', '0' * 64, 'outside'),
        ('/etc/passwd', '0' * 64, 'outside'),
        ('', '0' * 64, 'outside'),
        ('a\0b', '0' * 64, 'cannot have'),
        ('manifest.sig', '0' * 64, 'cannot have'),
        ('more', None, 'no SHA-256'),
        ('more', 'x', 'no SHA-256'),
        ('more', '0' * 64, 'missing'),
    ],
)
def test_what_a_manifest_cannot_name(tmp_path, name, digest, message):
    path = with_manifest(write(tmp_path / 'b'), lambda m: m['files'].update({name: digest}))
    with pytest.raises(BundleError, match=message):
        open_bundle(path)


def test_a_link_out_of_the_bundle_is_not_followed(tmp_path):
    path = write(tmp_path / 'b')
    (tmp_path / 'secret').write_text((path / 'calibration.json').read_text())
    (path / 'calibration.json').unlink()
    (path / 'calibration.json').symlink_to(tmp_path / 'secret')
    with pytest.raises(BundleError, match='outside'):
        open_bundle(path)


def test_more_files_than_any_bundle_has_are_refused(tmp_path):
    many = {str(i): '0' * 64 for i in range(2000)}
    path = with_manifest(write(tmp_path / 'b'), lambda m: m['files'].update(many))
    with pytest.raises(BundleError, match='lists 2003 files'):
        open_bundle(path)


def test_a_missing_bundle_tells_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match='pad build'):
        open_bundle(tmp_path / 'nothing')
    with pytest.raises(FileNotFoundError, match=r'manifest\.json'):
        open_bundle(tmp_path)
    manifest = json.loads((write(tmp_path / 'b') / 'manifest.json').read_text())
    assert manifest['format_version'] == bundle.FORMAT_VERSION
