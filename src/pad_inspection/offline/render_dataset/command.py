"""Render brick vehicles on a conveyor with exact defect masks.

Examples:
    pad dataset render --classes coupe --profile tiny --out out/tiny
    pad dataset render --classes all --profile small --out out/benchmark --seed 0 --jobs 2
    pad dataset render --classes coupe --profile demo --out demo/data
    pad dataset render --classes all --profile paper --out out/paper --device cuda --jobs 8
    pad dataset render --classes tank,truck --profile small --out out/hard --noise 3 --jpeg 85
        --looks 9 --lighting 0.3

The same seed and profile give the same files, byte for byte, on one machine and one version of
Blender. On another processor single pixels may differ by one level, because the denoiser and the
ray tracer use other vector instructions, and on a GPU (--device) by a few levels; poses, defects
and masks do not change.

A run that was stopped goes on where it was when it is started again with the same arguments.
--renderer light needs no Blender: flat pictures for trying things out.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pad_inspection.offline.render_dataset.profiles import PROFILES, Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pad dataset render``."""
    parser.add_argument(
        '--classes', required=True, help='names separated by commas, or "all" (a wrong name lists)'
    )
    parser.add_argument('--profile', required=True, choices=sorted(PROFILES), help='how much')
    parser.add_argument('--out', required=True, type=Path, help='folder of the data set')
    parser.add_argument('--seed', type=int, default=0, help='of everything random (default 0)')
    parser.add_argument(
        '--jobs', type=int, default=1, help='Blender processes; the cores are shared (default 1)'
    )
    parser.add_argument('--renderer', choices=('blender', 'light'), default='blender')
    parser.add_argument(
        '--device',
        choices=('cpu', 'cuda', 'optix'),
        default='cpu',
        help='what Blender renders on; NVIDIA GPUs need several --jobs to be busy (default cpu)',
    )
    more = parser.add_argument_group('beyond the published data set (all off by default)')
    more.add_argument(
        '--validation', type=int, metavar='N', help='intact objects for commissioning images'
    )
    more.add_argument(
        '--lighting', type=float, default=0.0, metavar='SHARE', help='vary the lamps (0.3 = 30%%)'
    )
    more.add_argument(
        '--looks', type=int, default=1, metavar='N', help='floors and belts to draw from (1 to 9)'
    )
    more.add_argument('--upright', action='store_true', help='objects stand upright only')
    more.add_argument(
        '--cameras', type=int, default=0, metavar='N', help='N fixed cameras, as on a real line'
    )
    more.add_argument('--noise', type=float, default=0.0, help='sensor noise, of 255')
    more.add_argument('--blur', type=float, default=0.0, metavar='PX', help='defocus')
    more.add_argument('--jpeg', type=int, default=0, metavar='QUALITY', help='1 to 100, 0 = none')


def run(args: argparse.Namespace) -> int:
    """Render; 0 when everything is there, 1 when pictures or objects failed.

    Raises:
        ValueError: a class, option or device that does not exist, or a folder that holds something
            else.
        FileNotFoundError: Blender is not installed.
    """
    from pad_inspection.offline.render_dataset import vehicles
    from pad_inspection.offline.render_dataset.blender import BlenderRenderer, find_python
    from pad_inspection.offline.render_dataset.generate import render_classes
    from pad_inspection.offline.render_dataset.ldraw import Library
    from pad_inspection.offline.render_dataset.light import LightRenderer
    from pad_inspection.offline.render_dataset.progress import duration
    from pad_inspection.offline.render_dataset.scene import RenderError
    from pad_inspection.offline.render_dataset.shots import Settings

    names = list(vehicles.CLASSES) if args.classes == 'all' else args.classes.split(',')
    for name in names:
        vehicles.check_name(name)
    profile = PROFILES[args.profile]
    settings = Settings(args.profile, profile, options_of(args), args.seed, args.renderer)
    if args.renderer == 'blender':
        find_python()
    elif args.device != 'cpu':
        raise ValueError(f'--renderer {args.renderer} has no --device {args.device}')
    jobs = max(1, args.jobs)
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    started = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)

    def make_renderer(work_dir: Path):
        if args.renderer == 'light':
            return LightRenderer()
        return BlenderRenderer(work_dir, threads, device=args.device)

    if args.device != 'cpu':
        # told once and now, not for each picture
        renderer = make_renderer(args.out / '.work' / 'device')
        try:
            renderer.check_device()
        except RenderError as error:
            raise ValueError(f'--device {args.device}: {error}') from None
        finally:
            renderer.close()
    with _log_to(args.out / 'render.log'):
        failures = render_classes(names, args.out, settings, Library(), make_renderer, jobs)
    for failure in failures:
        print(f'failed: {failure}', file=sys.stderr)
    if failures:
        print('run the same command again to try these once more', file=sys.stderr)
        return 1
    print(f'{len(names)} class(es) in {args.out}, {duration(time.monotonic() - started)}')
    return 0


def options_of(args: argparse.Namespace) -> Options:
    """Options of the command line.

    Raises:
        ValueError: a value out of range.
    """
    for name, low, high in (
        ('lighting', 0, 0.9),
        ('looks', 1, 9),
        ('cameras', 0, 32),
        ('noise', 0, 100),
        ('blur', 0, 10),
        ('jpeg', 0, 100),
    ):
        value = getattr(args, name)
        if not low <= value <= high:
            raise ValueError(f'--{name} is {value}, wanted {low} to {high}')
    return Options(
        lighting=args.lighting,
        looks=args.looks,
        upright=args.upright,
        cameras=args.cameras,
        noise=args.noise,
        blur=args.blur,
        jpeg=args.jpeg,
        validation=args.validation,
    )


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send what this package logs to a file, and not to the terminal's progress line."""
    handler = logging.FileHandler(path, encoding='utf-8')
    handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(message)s'))
    logger = logging.getLogger('pad_inspection.offline.render_dataset')
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(level)
        logger.propagate = propagate
