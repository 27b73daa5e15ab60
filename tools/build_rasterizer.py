"""Compile the C++ rasterizer, once for each instruction set; the best is chosen at run time.

The libraries are written beside the Python modules that load them and are compiled again only when
a source, this file or the compiler has changed. Needs g++ with OpenMP (or another compiler that
takes its options, named in CXX).

Examples:
  python tools/build_rasterizer.py
  CXX=clang++ python tools/build_rasterizer.py --force
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RENDERING = Path(__file__).resolve().parent.parent / 'src' / 'pad_inspection' / 'rendering'
SOURCES = RENDERING / 'rasterizer'

# No -ffast-math: culling relies on comparisons with NaN and infinity being exact.
COMMON_FLAGS = (
    '-O3 -std=c++17 -fPIC -shared -fopenmp -fno-math-errno -fno-trapping-math -fno-signed-zeros '
    '-ffp-contract=fast -Wall -Wno-psabi -Wno-unknown-pragmas '
    '-Wno-maybe-uninitialized'
).split()
# Cell: the pixels that one SIMD register holds, width x height.
X86_VARIANTS = {
    'avx512': ['-march=x86-64-v4', '-DCELL_WIDTH=8', '-DCELL_HEIGHT=2'],
    'avx2': ['-march=haswell', '-DCELL_WIDTH=8', '-DCELL_HEIGHT=1'],
    'baseline': ['-msse4.1', '-DCELL_WIDTH=4', '-DCELL_HEIGHT=1'],
}
OTHER_VARIANTS = {'baseline': ['-DCELL_WIDTH=4', '-DCELL_HEIGHT=1']}


def variants() -> dict[str, list[str]]:
    """Name and compiler flags of each library for this kind of processor."""
    is_x86 = platform.machine().lower() in ('x86_64', 'amd64')
    return X86_VARIANTS if is_x86 else OTHER_VARIANTS


def _compiler() -> list[str]:
    """The compiler's command; raises RuntimeError when it cannot be run."""
    command = shlex.split(os.environ.get('CXX', 'g++'))
    try:
        subprocess.run([*command, '--version'], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f'the C++ compiler {" ".join(command)!r} cannot be run ({error}); install g++ '
            '(Debian, Ubuntu: apt install g++) or set CXX'
        ) from error
    return command


def _digest(compiler: list[str], flags: list[str]) -> str:
    """Hash of all that a library is made from."""
    version = subprocess.run([*compiler, '--version'], capture_output=True, text=True).stdout
    state = hashlib.sha256('\0'.join([version, *compiler, *COMMON_FLAGS, *flags]).encode())
    for path in sorted(SOURCES.iterdir()):
        state.update(path.name.encode() + b'\0' + path.read_bytes())
    return state.hexdigest()


def _compile(compiler: list[str], name: str, flags: list[str], force: bool) -> Path:
    """Compile one library unless it is up to date; its path."""
    target = RENDERING / f'_rasterizer_{name}.so'
    # The library holds the digest of what it was made from: file times do not survive a checkout.
    digest = _digest(compiler, flags)
    if not force and target.exists() and digest.encode() in target.read_bytes():
        return target
    with tempfile.TemporaryDirectory(dir=RENDERING, prefix='.build_') as folder:
        fresh = Path(folder) / target.name
        sources = sorted(str(p) for p in SOURCES.glob('*.cpp'))
        command = [*compiler, *COMMON_FLAGS, *flags, f'-DSOURCE_DIGEST="{digest}"', *sources]
        command += ['-o', str(fresh)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f'{" ".join(command)} failed:\n{result.stderr}')
        if result.stderr:
            print(result.stderr, file=sys.stderr)
        # Another process may have the old library loaded: replace it, never write into it.
        os.replace(fresh, target)
    return target


def build(force: bool = False) -> list[Path]:
    """Compile all libraries that are not up to date.

    Args:
        force: compile them all.

    Returns:
        Paths of all libraries.

    Raises:
        RuntimeError: there is no compiler, or it reports an error.
    """
    compiler = _compiler()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = [
            pool.submit(_compile, compiler, name, flags, force)
            for name, flags in variants().items()
        ]
        return [job.result() for job in jobs]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--force', action='store_true', help='compile even what is up to date')
    arguments = parser.parse_args()
    try:
        libraries = build(arguments.force)
    except RuntimeError as error:
        print(f'build_rasterizer: {error}', file=sys.stderr)
        return 1
    for path in libraries:
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
