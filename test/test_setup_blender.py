"""What the Blender set-up says about a machine."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / 'tools' / 'setup_blender.py'


@pytest.fixture
def setup_blender():
    spec = importlib.util.spec_from_file_location('setup_blender', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_missing_libraries_are_named(setup_blender, monkeypatch, capsys):
    libraries = {'libnothing.so.9': 'libnothing9', 'libc.so.6': 'libc6'}
    monkeypatch.setattr(setup_blender, 'LIBRARIES', libraries)
    monkeypatch.setattr('sys.argv', ['setup_blender.py', '--check'])
    assert setup_blender.missing_packages() == ['libnothing9']
    assert setup_blender.main() == 1
    assert 'apt-get install -y libnothing9' in capsys.readouterr().err


def test_check_installs_nothing(setup_blender, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(setup_blender, 'LIBRARIES', {})
    monkeypatch.setattr(setup_blender, 'ENVIRONMENT', tmp_path / 'env')
    monkeypatch.setattr('sys.argv', ['setup_blender.py', '--check'])
    assert setup_blender.main() == 1
    assert not (tmp_path / 'env').exists()
    assert 'cannot be imported' in capsys.readouterr().err
