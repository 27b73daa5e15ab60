"""Renders whole data sets: plans each class, renders what is not there yet, writes the lists.

A picture is written under another name and renamed, so that what has its name is complete: a run
that was stopped goes on where it was. A picture that fails is tried again; what fails to the end
is named, and the next run tries it once more.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pad_inspection import images
from pad_inspection.nerf_files import read_json, write_json
from pad_inspection.offline.render_dataset import plan as planning
from pad_inspection.offline.render_dataset.ldraw import Library
from pad_inspection.offline.render_dataset.lists import FORMAT, write_lists
from pad_inspection.offline.render_dataset.progress import Progress
from pad_inspection.offline.render_dataset.scene import Renderer, RenderError, Scene
from pad_inspection.offline.render_dataset.shots import ClassPlan, Settings, Shot, plan_class

_TRIES = 3
# Pictures that a worker takes at a time.
_CHUNK = 25
# So many failures without a single success end a run.
_HOPELESS = 3

_log = logging.getLogger(__name__)


class _Failures(list):
    """Lines of what failed, from several threads; nothing but failures means: stop."""

    def __init__(self):
        super().__init__()
        self.successes = 0

    @property
    def hopeless(self) -> bool:
        """Whether going on makes no sense: a broken installation fails on every picture."""
        return not self.successes and len(self) >= _HOPELESS


def render_missing(
    item: ClassPlan,
    make_renderer: Callable[[int], Renderer],
    jobs: int,
    progress: Progress,
    failures: _Failures,
) -> None:
    """Render what is missing of a class.

    Args:
        item: the class.
        make_renderer: gives the renderer of a worker (its number).
        jobs: number of workers.
        progress: of the whole run.
        failures: gets a line for each picture that could not be rendered.
    """
    work: queue.Queue[tuple[Scene, list[Shot]]] = queue.Queue()
    for scene, shots in item.missing:
        for start in range(0, len(shots), _CHUNK):
            work.put((scene, shots[start : start + _CHUNK]))
    stop = threading.Event()

    def worker(number: int) -> None:
        renderer = make_renderer(number)
        try:
            while True:
                try:
                    scene, shots = work.get_nowait()
                except queue.Empty:
                    return
                renderer.open(scene)
                for shot in shots:
                    if stop.is_set() or failures.hopeless:
                        return
                    error = _render_shot(renderer, shot)
                    if error:
                        failures.append(error)
                    else:
                        failures.successes += 1
                    progress.step(f'{item.product.name} {shot.path.name}')
        except BaseException:
            stop.set()
            raise
        finally:
            renderer.close()

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(worker, number) for number in range(min(jobs, work.qsize()))]
        try:
            for future in futures:
                future.result()
        except BaseException:
            stop.set()
            raise


def check_settings(folder: Path, name: str, settings: Settings) -> None:
    """Prepare a class folder, or see that it was begun with the same settings.

    Raises:
        ValueError: it holds something else.
    """
    begun = folder / 'dataset.json'
    wanted = {'format': FORMAT, 'class': name, **settings.as_json()}
    if begun.is_file():
        found = read_json(begun)
        if any(found.get(key) != value for key, value in wanted.items()):
            raise ValueError(
                f'{folder} was begun with other settings (see {begun}); choose another --out, or '
                'remove the folder'
            )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f'{folder} is not empty and was not written by this command')
    folder.mkdir(parents=True, exist_ok=True)
    write_json(begun, wanted)


def render_classes(
    names: list[str],
    out: Path,
    settings: Settings,
    library: Library,
    make_renderer: Callable[[Path], Renderer],
    jobs: int = 1,
) -> list[str]:
    """Render classes into ``out``/<class>; returns a line for each failure.

    Raises:
        ValueError: a folder with other settings.
    """
    for name in names:
        check_settings(out / name, name, settings)
    progress = Progress(sum(_num_missing(out / name, settings) for name in names))
    failures = _Failures()
    work = out / '.work'
    for name in names:
        started = time.monotonic()
        try:
            item = plan_class(out / name, planning.product_of(library, name), settings)
        except ValueError as error:
            failures.append(str(error))
            continue
        _log.info('%s: planned in %.1f s', name, time.monotonic() - started)
        render_missing(item, lambda k: make_renderer(work / str(k)), jobs, progress, failures)
        if failures.hopeless:
            break
        if not item.missing:
            write_lists(item, settings)
            _log.info('%s: complete', name)
    if not failures:
        shutil.rmtree(work, ignore_errors=True)
    return list(failures)


def _num_missing(folder: Path, settings: Settings) -> int:
    """Number of pictures that a class still lacks, without planning it."""
    profile, options = settings.profile, settings.options
    objects = len(profile.kinds) + settings.num_validation
    total = profile.training_views + objects * (options.cameras or profile.views)
    done = sum(
        1
        for split in ('train', 'test', 'validation')
        for path in (folder / split).glob('*/*.png')
        if not path.name.startswith('.')
    )
    return max(0, total - done)


def _render_shot(renderer: Renderer, shot: Shot) -> str | None:
    """Render a picture with a few tries; returns what went wrong at last, or None."""
    shot.path.parent.mkdir(parents=True, exist_ok=True)
    part = shot.path.with_name(f'.{shot.path.name}')
    for attempt in range(1, _TRIES + 1):
        started = time.monotonic()
        try:
            renderer.render(shot.cam_from_world, part)
        except RenderError as error:
            _log.warning('%s: try %d failed: %s', shot.path, attempt, error)
            message = f'{shot.path}: {error}'
            continue
        picture, alpha = images.read_rgba(part)
        if shot.finish is not None:
            picture = shot.finish(picture)
        if alpha is not None:
            picture = np.concatenate([picture, alpha[..., None]], axis=2)
        images.write(part, picture, small=True)
        os.replace(part, shot.path)
        _log.info('%s: %.1f s', shot.path, time.monotonic() - started)
        return None
    part.unlink(missing_ok=True)
    return message
