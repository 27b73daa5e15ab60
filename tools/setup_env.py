#!/usr/bin/env python3
"""Set up everything that pad_inspection needs in .venv; steps that are up to date are skipped.

    python3 tools/setup_env.py            # what `make demo` and `make test` call
    python3 tools/setup_env.py --check    # only look whether the machine has what is needed
    python3 tools/setup_env.py --force    # all steps again

Needs only CPython 3.11 to 3.13, a C++ compiler and npm. Set PAD_TORCH_INDEX to the address of
PyTorch's CPU package index where the default index offers only the CUDA build and no GPU is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get('PAD_VENV', ROOT / '.venv'))
PYTHON = VENV / 'bin' / 'python'
STAMPS = VENV / '.pad_inspection_steps.json'
REQUIREMENTS = ROOT / 'requirements'
TORCH = 'torch==2.13.0'


def check_machine() -> list[str]:
    """What this machine lacks, one line each with how to mend it."""
    faults = []
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        faults.append(
            f'Python {sys.version.split()[0]} runs this, wanted 3.11 to 3.13: '
            'apt-get install python3 python3-venv, or call it with another interpreter: '
            'make PYTHON=python3.12'
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        faults.append('the Python module venv is missing: apt-get install python3-venv')
    if not shutil.which('g++'):
        faults.append('no C++ compiler (g++): apt-get install g++')
    if not shutil.which('npm'):
        faults.append('no npm, which carries the segmentation weights: apt-get install nodejs npm')
    headers = Path(__import__('sysconfig').get_paths()['include']) / 'Python.h'
    if not headers.is_file():
        faults.append(f'no Python headers ({headers.name}): apt-get install python3-dev')
    return faults


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Run a command; on failure show its output and stop."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, 'PIP_DISABLE_PIP_VERSION_CHECK': '1', **(env or {})},
    )
    if done.returncode:
        sys.stderr.write(done.stdout[-6000:])
        words = ' '.join(str(part) for part in command)
        sys.exit(f'setup: `{words}` failed with exit code {done.returncode}')


def pip(*arguments: str | Path) -> None:
    """Install packages into the environment."""
    run(PYTHON, '-m', 'pip', 'install', '--quiet', '--no-input', *arguments)


def make_venv() -> None:
    """Create the virtual environment."""
    run(sys.executable, '-m', 'venv', VENV)


def has_cuda() -> bool:
    """Whether an NVIDIA driver with a device is there."""
    return (
        bool(shutil.which('nvidia-smi'))
        and not subprocess.run(['nvidia-smi', '-L'], capture_output=True).returncode
    )


def install_torch() -> None:
    """Install torch first and alone, so that no other package chooses its build."""
    index = os.environ.get('PAD_TORCH_INDEX', '')
    pip(TORCH, *(['--index-url', index] if index else []))


def install_packages() -> None:
    """Install the pinned requirements."""
    names = ('base.txt', 'plc.txt', 'test.txt')
    pip(*(word for name in names for word in ('-r', REQUIREMENTS / name)))
    pip('--no-deps', '-r', REQUIREMENTS / 'no-deps.txt')
    if has_cuda():
        pip('-r', REQUIREMENTS / 'cuda.txt')


def ros_is_sourced() -> bool:
    """Whether a ROS 2 installation is active that brings rclpy and builds pad_msgs itself."""
    return bool(os.environ.get('ROS_DISTRO')) and not os.environ.get('PAD_ROS_WHEELS')


def install_ros() -> None:
    """Install ROS 2 from wheels and build pad_msgs, unless a ROS 2 installation is sourced."""
    if ros_is_sourced():
        return
    pip('-r', REQUIREMENTS / 'ros.txt')
    run(PYTHON, ROOT / 'tools' / 'setup_ros.py')


def build_rasterizer() -> None:
    """Compile the C++ rasterizer."""
    run(PYTHON, ROOT / 'tools' / 'build_rasterizer.py')


def install_package() -> None:
    """Install pad_inspection itself, editable."""
    pip('setuptools==80.9.0', 'wheel==0.45.1')
    pip('--no-deps', '--no-build-isolation', '-e', ROOT)


def install_weights() -> None:
    """Put the network weights in place and verify them."""
    code = 'from pad_inspection.networks.weights import install_weights as f; f(progress=print)'
    run(PYTHON, '-c', code)


def digest(paths: Iterable[Path]) -> str:
    """Hash of files and of all files in folders."""
    state = hashlib.sha256()
    for path in paths:
        for file in (
            [path] if path.is_file() else sorted(p for p in path.rglob('*') if p.is_file())
        ):
            if file.suffix in ('.so', '.pyc'):
                continue
            state.update(str(file.relative_to(ROOT)).encode() + b'\0' + file.read_bytes())
    return state.hexdigest()


def steps() -> list[tuple[str, str, list[Path], Callable[[], None]]]:
    """Name, what is told, inputs whose change repeats the step, and what it does."""
    package = ROOT / 'src' / 'pad_inspection'
    return [
        ('venv', 'virtual environment', [], make_venv),
        ('torch', 'torch', [], install_torch),
        ('packages', 'pinned packages', [REQUIREMENTS], install_packages),
        (
            'ros',
            'ROS 2 and pad_msgs',
            [REQUIREMENTS / 'ros.txt', ROOT / 'src' / 'pad_msgs', ROOT / 'tools' / 'setup_ros.py'],
            install_ros,
        ),
        (
            'rasterizer',
            'C++ rasterizer',
            [package / 'rendering', ROOT / 'tools' / 'build_rasterizer.py'],
            build_rasterizer,
        ),
        ('package', 'pad_inspection', [ROOT / 'setup.py', ROOT / 'setup.cfg'], install_package),
        ('weights', 'network weights', [package / 'networks' / 'weights.py'], install_weights),
    ]


def is_present(name: str) -> bool:
    """Whether what a step made is still there (a stamp alone can outlive it)."""
    if name == 'rasterizer':
        return any((ROOT / 'src' / 'pad_inspection' / 'rendering').rglob('*.so'))
    if name == 'weights':
        code = 'from pad_inspection.networks.weights import check_weights as f; '
        code += 'raise SystemExit(f("isnet") != "ok")'
        return not subprocess.run([PYTHON, '-c', code], capture_output=True).returncode
    return PYTHON.exists()


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--check', action='store_true', help='only check the machine')
    parser.add_argument('--force', action='store_true', help='repeat all steps')
    arguments = parser.parse_args()

    faults = check_machine()
    if faults:
        print('setup: this machine lacks:', *faults, sep='\n  ', file=sys.stderr)
        return 1
    if arguments.check:
        print('setup: this machine has what is needed')
        return 0

    try:
        stamps = {} if arguments.force else json.loads(STAMPS.read_text())
    except (OSError, ValueError):
        stamps = {}
    begin = time.monotonic()
    plan = steps()
    for number, (name, what, inputs, action) in enumerate(plan, 1):
        wanted = TORCH + digest(inputs) + f'{sys.version_info[:2]}'
        if stamps.get(name) == wanted and is_present(name):
            continue
        print(f'setup [{number}/{len(plan)}] {what} ...', flush=True)
        start = time.monotonic()
        action()
        stamps[name] = wanted
        STAMPS.write_text(json.dumps(stamps, indent=1))
        print(f'setup [{number}/{len(plan)}] {what}: {time.monotonic() - start:.0f} s', flush=True)
    if time.monotonic() - begin > 5:
        print(f'setup: done in {time.monotonic() - begin:.0f} s', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
