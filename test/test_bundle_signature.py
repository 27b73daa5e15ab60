"""Who made a bundle: only its signature tells."""

import stat

import pytest

from helpers.bundle_variants import copy_of, with_calibration, with_manifest
from pad_inspection.bundle import REQUIRED_FILES, BundleError, open_bundle
from pad_inspection.bundle_signature import is_signed, make_keys, require_signature, sign
from pad_inspection.bundle_writing import writing_bundle
from pad_inspection.cli import main


def made(path):
    with writing_bundle(path, {'model_id': 'part'}) as folder:
        for name in REQUIRED_FILES:
            (folder / name).write_text('{}')
    return path


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    """Files of two pairs of keys: private, public, other private, other public."""
    folder = tmp_path_factory.mktemp('keys')
    paths = [folder / name for name in ('a.pem', 'a_public.pem', 'b.pem', 'b_public.pem')]
    make_keys(*paths[:2])
    make_keys(*paths[2:])
    return paths


def test_a_signed_bundle_is_verified(tmp_path, keys):
    private, public, _, other = keys
    path = made(tmp_path / 'b')
    assert not is_signed(open_bundle(path))
    sign(open_bundle(path), private)
    assert is_signed(open_bundle(path))
    assert require_signature(open_bundle(path), [other, public]) == public
    with pytest.raises(BundleError, match=r'does not fit.*b_public\.pem'):
        require_signature(open_bundle(path), [other])


def test_one_byte_of_the_manifest_matters(tmp_path, keys):
    private, public, *_ = keys
    path = made(tmp_path / 'b')
    sign(open_bundle(path), private)
    text = (path / 'manifest.json').read_text()
    (path / 'manifest.json').write_text(text + '\n')
    with pytest.raises(BundleError, match='does not fit'):
        require_signature(open_bundle(path), [public])
    (path / 'manifest.json').write_text(text)
    require_signature(open_bundle(path), [public])
    # any other file is held by its checksum
    with_manifest(with_calibration(path, image_threshold=9.0), lambda manifest: None)
    with pytest.raises(BundleError, match='does not fit'):
        require_signature(open_bundle(path), [public])


def test_no_signature_or_a_damaged_one(tmp_path, keys):
    public = keys[1]
    opened = open_bundle(made(tmp_path / 'b'))
    with pytest.raises(BundleError, match='not signed'):
        require_signature(opened, [public])
    for text in ('', 'no base64', 'AAAA', 'A' * 86 + '=='):
        (opened.path / 'manifest.sig').write_text(text)
        with pytest.raises(BundleError):
            require_signature(opened, [public])


def test_keys_of_the_wrong_kind_are_named(tmp_path, keys):
    private, public, *_ = keys
    opened = open_bundle(made(tmp_path / 'b'))
    sign(opened, private)
    (tmp_path / 'nonsense.pem').write_text('nothing')
    with pytest.raises(ValueError, match='no private key'):
        sign(opened, public)
    for wrong, message in (
        (private, 'no public key'),
        (tmp_path / 'nonsense.pem', r'nonsense\.pem is no public'),
        (tmp_path / 'nothing.pem', 'does not exist'),
    ):
        # also where another key fits
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            require_signature(opened, [public, wrong])
    with pytest.raises(ValueError, match='no trusted key'):
        require_signature(opened, [])


def test_the_private_key_is_for_its_owner_and_never_overwritten(tmp_path, keys):
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        make_keys(tmp_path / 'new.pem', keys[1])
    assert not (tmp_path / 'new.pem').exists()


def test_on_the_command_line(tmp_path, demo_bundle, capsys):
    path, other = copy_of(demo_bundle, tmp_path / 'b'), tmp_path / 'other.pem'
    private, public = tmp_path / 'private.pem', tmp_path / 'public.pem'

    def pad(*words):
        return main(['bundle', *map(str, words)]), ''.join(capsys.readouterr())

    assert pad('keygen', '--private', private, '--public', public)[0] == 0
    assert pad('keygen', '--private', tmp_path / 'o.pem', '--public', other)[0] == 0
    code, text = pad('verify', path, '--key', public)
    assert code == 2 and 'not signed' in text
    assert 'signature: not signed' in pad('show', path)[1]
    assert pad('sign', path, '--key', private)[0] == 0
    assert pad('verify', path, '--key', public)[0] == 0
    assert pad('verify', path, '--key', other)[0] == 2
    code, text = pad('show', path)
    assert code == 0 and 'signature: signed' in text
    assert 'model coupe' in text and 'image_threshold: 4.' in text
    code, text = pad('show', tmp_path)
    assert code == 2 and text.count('\n') == 1
