#!/usr/bin/env python3
"""Repair the ROS 2 wheels of the running environment and build pad_msgs into it.

    .venv/bin/python tools/setup_ros.py            # skipped when nothing changed
    .venv/bin/python tools/setup_ros.py --force    # build again

Two things are done: the CMake files that the wheels unpack name the include folders of the machine
that built the wheels, they are rewritten to those of this interpreter; then src/pad_msgs is built
by CMake and installed into the environment, so that `from pad_msgs.msg import InspectionResult`
works. With a ROS 2 installation use colcon instead (docs/ros2.md).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'src' / 'pad_msgs'
PREFIX = Path(sys.prefix)
STAMP = PREFIX / 'share' / 'pad_msgs' / '.setup_ros.json'

# Include folders as the wheels' builders had them.
_PYTHON_INCLUDE = re.compile(r'/opt/python/cp\d+-cp\d+/include/python3\.\d+')
_NUMPY_INCLUDE = re.compile(
    r'/opt/python/cp\d+-cp\d+/lib/python3\.\d+/site-packages/numpy/_?core/include'
)


def fix_wheels(share: Path, python_include: str, numpy_include: str) -> int:
    """Rewrite the foreign include folders in the CMake files under ``share``.

    Returns:
        Number of files rewritten; 0 when all were right.
    """
    changed = 0
    for path in share.rglob('*.cmake'):
        old = path.read_text()
        new = _NUMPY_INCLUDE.sub(numpy_include, _PYTHON_INCLUDE.sub(python_include, old))
        if new != old:
            path.write_text(new)
            changed += 1
    return changed


def fingerprint(package: Path) -> str:
    """SHA-256 of what the build depends on: the package's files, interpreter and generator."""
    from importlib.metadata import version

    state = hashlib.sha256()
    for part in (
        sys.version,
        str(PREFIX),
        version('ros-rclpy'),
        version('ros-rosidl-generator-py'),
    ):
        state.update(part.encode() + b'\0')
    for path in sorted(p for p in package.rglob('*') if p.is_file()):
        state.update(str(path.relative_to(package)).encode() + b'\0' + path.read_bytes())
    return state.hexdigest()


def is_importable() -> bool:
    """Whether a new process can use pad_msgs (a namespace package of src/ does not count)."""
    code = 'from pad_msgs.msg import InspectionResult, ReplayStatus; InspectionResult()'
    return not subprocess.run(
        [sys.executable, '-c', code], capture_output=True, cwd=tempfile.gettempdir()
    ).returncode


def build(package: Path) -> None:
    """Configure, build and install an interface package into this environment.

    Raises:
        SystemExit: a step failed; its last output is shown.
    """
    scripts = str(Path(sys.executable).parent)
    env = {
        **os.environ,
        'PATH': scripts + os.pathsep + os.environ.get('PATH', ''),
        'AMENT_PREFIX_PATH': str(PREFIX),
        'CMAKE_PREFIX_PATH': str(PREFIX),
    }
    cmake = str(Path(scripts, 'cmake'))
    with tempfile.TemporaryDirectory(prefix='pad_msgs_build_') as folder:
        steps = (
            [
                cmake,
                '-G',
                'Ninja',
                '-S',
                str(package),
                '-B',
                folder,
                f'-DCMAKE_INSTALL_PREFIX={PREFIX}',
                f'-DPython3_EXECUTABLE={sys.executable}',
                '-DCMAKE_BUILD_TYPE=Release',
                '-DBUILD_TESTING=OFF',
            ],
            [cmake, '--build', folder],
            [cmake, '--install', folder],
        )
        for command in steps:
            done = subprocess.run(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            if done.returncode:
                sys.stderr.write(done.stdout[-6000:])
                sys.exit(f'setup_ros: {" ".join(command[:2])} failed with {done.returncode}')


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--force', action='store_true', help='build even when up to date')
    arguments = parser.parse_args()

    try:
        import numpy
        import rosidl_adapter  # noqa: F401
    except ImportError as error:
        print(
            f'setup_ros: {error}; wanted the packages of requirements/ros.txt in {PREFIX}',
            file=sys.stderr,
        )
        return 1
    rewritten = fix_wheels(PREFIX / 'share', sysconfig.get_paths()['include'], numpy.get_include())
    if rewritten:
        print(f'setup_ros: repaired {rewritten} CMake files of the ROS 2 wheels')

    wanted = fingerprint(PACKAGE)
    try:
        current = json.loads(STAMP.read_text())['fingerprint']
    except (OSError, ValueError, KeyError):
        current = ''
    if current == wanted and not arguments.force and is_importable():
        print('setup_ros: pad_msgs is up to date')
        return 0
    build(PACKAGE)
    if not is_importable():
        print('setup_ros: pad_msgs was built but cannot be imported', file=sys.stderr)
        return 1
    STAMP.write_text(json.dumps({'fingerprint': wanted}) + '\n')
    print('setup_ros: pad_msgs is built and installed')
    return 0


if __name__ == '__main__':
    sys.exit(main())
