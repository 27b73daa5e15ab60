"""Time the fit of Gaussians to a fixed class and measure the held-out views.

Prints PSNR against seconds while it runs; written to out/bench/fit.json as well.

Examples:
  make bench-fit
  python bench/bench_fit.py demo/data/coupe --iterations 1000 --threads 1
"""

import argparse
import json
import os
import platform
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pad_inspection.config import FitConfig, to_dict
from pad_inspection.dataset import class_name, read_training_views
from pad_inspection.offline.fit_gaussians import fit_gaussians
from pad_inspection.rendering import cpu_backend


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = FitConfig()
    parser.add_argument('class_dir', type=Path, nargs='?', default=Path('demo/data/coupe'))
    parser.add_argument('--iterations', type=int, default=default.iterations)
    parser.add_argument('--sh-degree', type=int, default=default.sh_degree)
    parser.add_argument('--max-gaussians', type=int, default=default.max_gaussians)
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('out/bench/fit.json'))
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    config = replace(
        FitConfig(),
        iterations=options.iterations,
        sh_degree=options.sh_degree,
        max_gaussians=options.max_gaussians,
    )
    views = read_training_views(options.class_dir)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    curve: list[dict] = []

    def progress(fraction: float, text: str) -> None:
        if text and (not curve or curve[-1]['text'] != text):
            seconds = time.perf_counter() - begin
            curve.append({'seconds': round(seconds, 1), 'fraction': fraction, 'text': text})
            print(f'{seconds:7.1f} s  {fraction:4.0%}  {text}', flush=True)

    # no structure from motion: the fit starts from the visual hull alone
    nothing = np.zeros((0, 3))
    result = fit_gaussians(
        views, nothing, nothing, config, seed=options.seed, progress=progress, device='cpu',
        threads=options.threads,
    )  # fmt: skip
    record = {
        'class': class_name(options.class_dir),
        'views': len(views),
        'size_px': [views[0].camera.width, views[0].camera.height],
        'processor': platform.processor() or platform.machine(),
        'variant': cpu_backend.variant(),
        'threads': options.threads,
        'load_before': os.getloadavg()[1],
        'cpu_seconds': round(time.process_time() - begin_cpu, 1),
        'peak_memory_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        'quality': result.quality,
        'config': to_dict(config),
        'curve': curve,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1))
    for name, value in result.quality.items():
        print(f'{name:>14}: {value:.4g}')
    for name in ('cpu_seconds', 'peak_memory_mb'):
        print(f'{name:>14}: {record[name]}')
    print(f'written to {options.out}')


if __name__ == '__main__':
    main()
