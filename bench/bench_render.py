"""Time the CPU rasterizer: each instruction set, number of Gaussians, image size and threads.

Gaussians lie on a sphere that fills the image. Least time of several runs, in milliseconds, of the
processor for one thread, else of the clock; written to out/bench/render.json as well. The variant
"torch" is the same in plain torch operations (torch_tiles.py), once for each size on one thread.

Examples:
  make bench-render
  python bench/bench_render.py --counts 50000 --sizes 400 --threads 1 --no-torch
"""

import argparse
import itertools
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
import torch_tiles

from pad_inspection.rendering import cpu_backend

SH_DEGREE = 2


def sphere(count: int) -> list[torch.Tensor]:
    """Flat Gaussians on the unit sphere that just cover it."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(count, 3))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    spacing = np.sqrt(4 * np.pi / count)
    scales = spacing * 0.7 * np.exp(rng.normal(size=(count, 3)) * 0.4)
    arrays = (
        means,
        rng.normal(size=(count, 4)),
        scales,
        rng.uniform(0.2, 0.95, count),
        rng.normal(size=(count, (SH_DEGREE + 1) ** 2, 3)) * 0.3,
    )
    return [torch.tensor(array, dtype=torch.float32, requires_grad=True) for array in arrays]


def least_ms(run, repeats: int, clock) -> float:
    run()
    times = []
    for _ in range(repeats):
        begin = clock()
        run()
        times.append(clock() - begin)
    return min(times) * 1e3


def measure(
    count: int, size: int, threads: int, repeats: int, *, in_torch: bool = False
) -> tuple[float, float]:
    """Milliseconds of forward, and of forward and backward."""
    tensors = sphere(count)
    viewmat = torch.eye(4)
    viewmat[2, 3] = 3.2
    pinhole = cpu_backend.Pinhole(size, size, 1.4 * size, 1.4 * size, size / 2, size / 2)

    def forward():
        projection = cpu_backend.project(
            *tensors, viewmat, pinhole, sh_degree=SH_DEGREE, threads=threads
        )
        if in_torch:
            return torch_tiles.rasterize(projection, pinhole)
        return cpu_backend.rasterize(projection, pinhole, threads=threads)

    def without_gradient():
        with torch.no_grad():
            forward()

    def with_gradient():
        image, alpha = forward()
        torch.autograd.grad(image.sum() + alpha.sum(), tensors)

    # the processor's own time: other work on the machine does not count; of several threads it
    # would be the sum
    clock = time.process_time if threads == 1 else time.perf_counter
    return least_ms(without_gradient, repeats, clock), least_ms(with_gradient, repeats, clock)


def processor() -> str:
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.split(':', 1)[1].strip()
    return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--counts', type=int, nargs='+', default=[20000, 50000, 100000])
    parser.add_argument('--sizes', type=int, nargs='+', default=[400, 800])
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--torch', action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument('--out', type=Path, default=Path('out/bench/render.json'))
    arguments = parser.parse_args()

    rows: list[dict] = []

    def add(variant: str, count: int, size: int, threads: int, times: tuple[float, float]) -> None:
        forward, both = times
        print(
            f'| {variant} | {count} | {size} | {threads} | {forward:.1f} | {both:.1f} |',
            flush=True,
        )
        rows.append(
            {
                'variant': variant,
                'gaussians': count,
                'size_px': size,
                'threads': threads,
                'forward_ms': forward,
                'forward_backward_ms': both,
            }
        )

    print('| variant | Gaussians | px | threads | forward, ms | forward + backward, ms |')
    print('|---|---|---|---|---|---|')
    for variant in cpu_backend.available_variants():
        os.environ['PAD_RASTERIZER'] = variant
        for count, size, threads in itertools.product(
            arguments.counts, arguments.sizes, arguments.threads
        ):
            torch.set_num_threads(threads)
            add(variant, count, size, threads, measure(count, size, threads, arguments.repeats))
    if arguments.torch:
        del os.environ['PAD_RASTERIZER']
        torch.set_num_threads(1)
        for count, size in itertools.product(arguments.counts, arguments.sizes):
            add('torch', count, size, 1, measure(count, size, 1, 1, in_torch=True))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    record = {
        'processor': processor(),
        'load': os.getloadavg()[0],
        'sh_degree': SH_DEGREE,
        'rows': rows,
    }
    arguments.out.write_text(json.dumps(record, indent=1))


if __name__ == '__main__':
    main()
