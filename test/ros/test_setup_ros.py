"""tools/setup_ros.py: repair of the wheels' CMake files, and when pad_msgs is built again."""

import importlib.util
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOREIGN = (
    'set(A "/opt/python/cp311-cp311/include/python3.11;'
    '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include;${X}")\n'
)


@pytest.fixture
def setup_ros():
    spec = importlib.util.spec_from_file_location('setup_ros', ROOT / 'tools' / 'setup_ros.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_foreign_include_folders_are_rewritten_once(setup_ros, tmp_path):
    file = tmp_path / 'some_msgs' / 'cmake' / 'export.cmake'
    file.parent.mkdir(parents=True)
    file.write_text(FOREIGN)
    (tmp_path / 'other.cmake').write_text('include(x)\n')
    assert setup_ros.fix_wheels(tmp_path, '/py/include', '/np/include') == 1
    assert file.read_text() == 'set(A "/py/include;/np/include;${X}")\n'
    assert setup_ros.fix_wheels(tmp_path, '/py/include', '/np/include') == 0


def test_fingerprint_follows_the_messages(setup_ros, tmp_path):
    package = tmp_path / 'pad_msgs'
    shutil.copytree(ROOT / 'src' / 'pad_msgs', package)
    before = setup_ros.fingerprint(package)
    assert before == setup_ros.fingerprint(ROOT / 'src' / 'pad_msgs')
    with (package / 'msg' / 'ModelInfo.msg').open('a') as stream:
        stream.write('string more\n')
    assert setup_ros.fingerprint(package) != before


def test_every_interface_is_built():
    text = (ROOT / 'src' / 'pad_msgs' / 'CMakeLists.txt').read_text()
    for path in (ROOT / 'src' / 'pad_msgs').glob('*/*.*'):
        if path.suffix in ('.msg', '.srv'):
            assert f'{path.parent.name}/{path.name}' in text
