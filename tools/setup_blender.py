"""Install Blender as a Python module into .venv-blender (about 950 MB); skips what is done.

Only rendering data sets needs it. It has an environment of its own because it needs numpy below 2.

Examples:
  python tools/setup_blender.py
  python tools/setup_blender.py --check
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / '.venv-blender'
REQUIREMENTS = ROOT / 'requirements' / 'blender.txt'
WANTED_PYTHON = (3, 11)
# Shared library that Blender loads -> Debian and Ubuntu package that has it.
LIBRARIES = {
    'libX11.so.6': 'libx11-6',
    'libXext.so.6': 'libxext6',
    'libXrender.so.1': 'libxrender1',
    'libXfixes.so.3': 'libxfixes3',
    'libXi.so.6': 'libxi6',
    'libxkbcommon.so.0': 'libxkbcommon0',
    'libSM.so.6': 'libsm6',
    'libICE.so.6': 'libice6',
    'libGL.so.1': 'libgl1',
}


def missing_packages() -> list[str]:
    """System packages whose libraries cannot be loaded."""
    missing = []
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    return missing


def installed_version() -> str | None:
    """Version of Blender in the environment, or None when it cannot be imported."""
    python = ENVIRONMENT / 'bin' / 'python'
    if not python.is_file():
        return None
    code = 'import bpy; print("VERSION", bpy.app.version_string)'
    done = subprocess.run([python, '-I', '-c', code], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith('VERSION ')]
    return lines[0].split()[1] if done.returncode == 0 and lines else None


def main() -> int:
    """Install what is missing; 0 when Blender can be imported."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--check', action='store_true', help='only say whether it is there')
    args = parser.parse_args()
    packages = missing_packages()
    if packages:
        command = f'apt-get install -y {" ".join(packages)}'
        print(f'Blender needs system libraries: run `{command}` as root', file=sys.stderr)
        return 1
    version = installed_version()
    if version is None and not args.check:
        if sys.version_info[:2] != WANTED_PYTHON:
            wanted, got = ('.'.join(map(str, v[:2])) for v in (WANTED_PYTHON, sys.version_info))
            print(f'this is Python {got}; Blender 4.5 needs {wanted}', file=sys.stderr)
            return 1
        print('installing Blender into .venv-blender (about 950 MB)')
        subprocess.run([sys.executable, '-m', 'venv', '--clear', ENVIRONMENT], check=True)
        quiet = {**os.environ, 'PIP_DISABLE_PIP_VERSION_CHECK': '1'}
        pip = [ENVIRONMENT / 'bin' / 'python', '-m', 'pip', 'install', '-q', '-r', REQUIREMENTS]
        subprocess.run(pip, check=True, env=quiet)
        version = installed_version()
    if version is None:
        print('Blender cannot be imported from .venv-blender', file=sys.stderr)
        return 1
    print(f'Blender {version} in {ENVIRONMENT.relative_to(ROOT)}')
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f'a command failed: {error}')
