"""Time the fit of Gaussians to the pictures of a class and measure views that were not fitted to.

Prints PSNR against seconds while it runs, then seconds, PSNR (whole picture, object), overlap of
the silhouettes, alpha in holes and memory; written to out/bench/fit_<name>.json as well.

A NeRF-synthetic scene (transforms_train.json and transforms_test.json) is fitted to all training
views and measured on all test views. Of another class folder some views are held out.

Where there is an NVIDIA GPU the same is done on it after the CPU, written to fit_<name>_cuda.json.

Examples:
  make bench-fit
  make bench-fit ARGS='--data out/benchmark/offroad_car'
  python bench/bench_fit.py --data demo/data/coupe --iterations 1000 --threads 1
  python bench/bench_fit.py --data data/lego --size 400 --profile paper --resume out/work/lego
"""

import argparse
import json
import os
import platform
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pad_inspection import geometry, images, nerf_files
from pad_inspection.config import FIT_PROFILE_VALUES, FitConfig, from_dict, to_dict
from pad_inspection.dataset import TrainingView, class_name, read_training_views
from pad_inspection.offline.fit_gaussians import fit_gaussians
from pad_inspection.rendering import cpu_backend

NERF_TEST = 'transforms_test.json'


@dataclass(frozen=True)
class ResizedView(TrainingView):
    """A view that is shown smaller or larger than its file.

    Attributes:
        original: as the file has it.
    """

    original: TrainingView

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """As TrainingView.load, in the camera's size."""
        size = self.camera.width, self.camera.height
        rgb, alpha = self.original.load()
        return images.resize(rgb, *size), images.resize(alpha, *size)


def resized(view: TrainingView, width: int) -> ResizedView:
    """The view, ``width`` px wide."""
    height = round(view.camera.height * width / view.camera.width)
    camera = geometry.scale_camera(view.camera, width, height)
    return ResizedView(view.name, view.path, camera, view.cam_from_object, view)


class Clock:
    """Seconds of a fit that may be cut off and gone on with, and what it told meanwhile.

    Args:
        folder: the times are kept there as well, next to the checkpoint; None = nowhere.
    """

    def __init__(self, folder: Path | None):
        self._path = folder / 'times.jsonl' if folder else None
        self._begin = time.perf_counter(), time.process_time()
        self._rows: list[dict] | None = None
        self._before = 0.0, 0.0

    def tell(self, fraction: float, text: str) -> None:
        """Note the time at a fraction of the fit; prints the text when it is another one."""
        if self._rows is None:
            self._go_on_from(fraction)
        spent = time.perf_counter() - self._begin[0], time.process_time() - self._begin[1]
        seconds, cpu_seconds = (before + now for before, now in zip(self._before, spent))
        row = {'fraction': fraction, 'seconds': round(seconds, 1)}
        row |= {'cpu_seconds': round(cpu_seconds, 1), 'text': text}
        if text and text not in (known['text'] for known in self._rows):
            print(f'{seconds:7.1f} s  {fraction:4.0%}  {text}', flush=True)
        self._rows.append(row)
        if self._path:
            with self._path.open('a') as file:
                file.write(json.dumps(row) + '\n')

    def _go_on_from(self, fraction: float) -> None:
        """Take over what was noted up to the checkpoint."""
        self._rows = []
        if not self._path:
            return
        if self._path.is_file():
            known = [json.loads(line) for line in self._path.read_text().splitlines()]
            # what came after the checkpoint is done, and timed, again
            self._rows = [row for row in known if 0 < row['fraction'] <= fraction]
        if self._rows:
            last = self._rows[-1]
            self._before = last['seconds'], last['cpu_seconds']
            print(f'going on at {fraction:.0%}, after {last["seconds"]} s')
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(''.join(json.dumps(row) + '\n' for row in self._rows))

    @property
    def last(self) -> tuple[float, float]:
        """Seconds, and seconds of the processor, of all runs together when it was last told."""
        return self._rows[-1]['seconds'], self._rows[-1]['cpu_seconds']

    def curve(self) -> list[dict]:
        """The first time of each text."""
        found: dict[str, dict] = {}
        for row in self._rows:
            if row['text']:
                found.setdefault(row['text'], row)
        return list(found.values())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', type=Path, default=Path('demo/data/coupe'), help='class folder')
    parser.add_argument(
        '--layout', choices=('auto', 'class', 'nerf'), default='auto',
        help=f'nerf: measured on all views of {NERF_TEST}; auto: so where there is that file',
    )  # fmt: skip
    parser.add_argument('--size', type=int, help='width of the pictures, px (default: as it is)')
    parser.add_argument('--profile', choices=tuple(FIT_PROFILE_VALUES), default='fast')
    parser.add_argument('--iterations', type=int, help='instead of those of the profile')
    parser.add_argument('--sh-degree', type=int)
    parser.add_argument('--max-gaussians', type=int)
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        '--device', nargs='+', choices=('cpu', 'cuda'),
        help='default: cpu, and cuda where there is a GPU',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--resume', type=Path, metavar='DIR',
        help='checkpoints are written there; the same command goes on from the last one',
    )  # fmt: skip
    parser.add_argument('--name', help='of the record (default: of the class)')
    parser.add_argument('--out', type=Path, help='default: out/bench/fit_<name>.json')
    return parser.parse_args()


def read_views(options: argparse.Namespace) -> tuple[list, list | None]:
    """Views to fit, and those to measure; None = some of the former are to be held out."""
    views, held_out = read_training_views(options.data), None
    test = options.data / NERF_TEST
    if options.layout == 'nerf' or (options.layout == 'auto' and test.is_file()):
        held_out = [
            TrainingView(path.stem, path, camera, pose)
            for path, camera, pose in nerf_files.read_views(options.data, test)
        ]
    if options.size:
        views = [resized(view, options.size) for view in views]
        held_out = held_out and [resized(view, options.size) for view in held_out]
    return views, held_out


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    changes = {name: getattr(options, name) for name in ('iterations', 'sh_degree')}
    changes |= {'max_gaussians': options.max_gaussians, 'profile': options.profile}
    config = from_dict(FitConfig, {k: v for k, v in changes.items() if v is not None})
    views, held_out = read_views(options)
    on_both = ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']
    for device in options.device or on_both:
        measure(options, config, views, held_out, device)


def measure(
    options: argparse.Namespace, config: FitConfig, views: list, held_out: list | None, device: str
) -> None:
    """Fit on one device, print and write the record."""
    suffix = '' if device == 'cpu' else f'_{device}'
    name = (options.name or class_name(options.data)) + suffix
    checkpoints = options.resume and options.resume.with_name(options.resume.name + suffix)
    clock = Clock(checkpoints)
    print(f'on {device}')
    # no structure from motion: the fit starts from the visual hull alone
    nothing = np.zeros((0, 3))
    result = fit_gaussians(
        views, nothing, nothing, config, seed=options.seed, progress=clock.tell, device=device,
        threads=options.threads, held_out=held_out, checkpoint_dir=checkpoints,
    )  # fmt: skip
    seconds, cpu_seconds = clock.last
    record = {
        'name': name,
        'views_fitted': len(views) - (0 if held_out else len(result.holdout_names)),
        'views_measured': len(result.holdout_names),
        'size_px': [views[0].camera.width, views[0].camera.height],
        'processor': platform.processor() or platform.machine(),
        'variant': cpu_backend.variant(),
        'threads': options.threads,
        'seed': options.seed,
        'load': os.getloadavg()[1],
        'cpu_seconds': cpu_seconds,
        'peak_memory_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        'quality': result.quality | {'fit_seconds': seconds},
        'config': to_dict(config),
        'curve': clock.curve(),
    }
    if device == 'cuda':
        record['gpu'] = torch.cuda.get_device_name(0)
        record['peak_gpu_memory_mb'] = torch.cuda.max_memory_allocated() // 1024**2
    out = Path(f'out/bench/fit_{name}.json')
    if options.out:
        out = options.out.with_stem(options.out.stem + suffix)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1))
    for key, value in record['quality'].items():
        print(f'{key:>14}: {value:.6g}')
    for key in ('cpu_seconds', 'peak_memory_mb', 'views_fitted', 'views_measured'):
        print(f'{key:>14}: {record[key]}')
    print(f'written to {out}')


if __name__ == '__main__':
    main()
