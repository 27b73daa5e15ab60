"""Time the CPU rasterizer: each instruction set, number of Gaussians, image size and threads.

Gaussians lie on a sphere that is ``--fill`` of the image wide. Least time of several runs, in
milliseconds, of the processor for one thread, else of the clock; written to out/bench/render.json
as well. Where there is an NVIDIA GPU, "gsplat" is what draws on it instead.

The others, once for each size on one thread, to compare with: "torch", plain torch operations
(torch_tiles.py); "taichi", kernels compiled for this processor (taichi_tiles.py); "litesplat", the
public package of that name, scaled up from a few pixels (litesplat_pixels.py). The last two are
measured where taichi and litesplat are installed. The images of the first two are checked.

Examples:
  make bench-render
  python bench/bench_render.py --counts 50000 --sizes 400 --threads 1 --others torch
"""

import argparse
import importlib
import itertools
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

from pad_inspection.datatypes import Camera
from pad_inspection.rendering import cpu_backend

SH_DEGREE = 2
DISTANCE = 3.2  # of the camera from the sphere's middle, in radii
OTHERS = {
    'torch': 'torch_tiles',
    'taichi': 'taichi_tiles',
    'litesplat': 'litesplat_pixels',
}
# Mean difference of two images of values 0 to 1; a pixel at the least alpha may differ by 1/255.
MOST_DIFFERENCE = 1e-4


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


def scene(
    count: int, size: int, fill: float
) -> tuple[list[torch.Tensor], torch.Tensor, cpu_backend.Pinhole]:
    """Gaussians, pose and camera that are drawn; the sphere is ``fill`` of the image wide."""
    viewmat = torch.eye(4)
    viewmat[2, 3] = DISTANCE
    focal = 0.5 * fill * size * (DISTANCE**2 - 1) ** 0.5
    pinhole = cpu_backend.Pinhole(size, size, focal, focal, size / 2, size / 2)
    return sphere(count), viewmat, pinhole


def measure(
    count: int,
    size: int,
    threads: int,
    repeats: int,
    fill: float,
    rasterize=cpu_backend.rasterize,
) -> tuple[float, float]:
    """Milliseconds of forward, and of forward and backward."""
    tensors, viewmat, pinhole = scene(count, size, fill)

    def forward():
        projection = cpu_backend.project(
            *tensors, viewmat, pinhole, sh_degree=SH_DEGREE, threads=threads
        )
        if rasterize is cpu_backend.rasterize:
            return rasterize(projection, pinhole, threads=threads)
        return rasterize(projection, pinhole)

    def without_gradient():
        with torch.no_grad():
            return forward()

    def with_gradient():
        image, alpha = forward()
        torch.autograd.grad(image.sum() + alpha.sum(), tensors)

    if rasterize is not cpu_backend.rasterize:
        projection = cpu_backend.project(*tensors, viewmat, pinhole, sh_degree=SH_DEGREE)
        wanted = cpu_backend.rasterize(projection, pinhole)
        check_same(without_gradient(), wanted)
    # the processor's own time: other work on the machine does not count; of several threads it
    # would be the sum
    clock = time.process_time if threads == 1 else time.perf_counter
    return least_ms(without_gradient, repeats, clock), least_ms(with_gradient, repeats, clock)


def check_same(got: tuple, wanted: tuple) -> None:
    """Raise a ValueError when image or alpha are not those of the C++ rasterizer."""
    for name, first, second in zip(('image', 'alpha'), got, wanted, strict=True):
        difference = float((first - second).detach().abs().mean())
        if difference > MOST_DIFFERENCE:
            raise ValueError(f'the {name} differs by {difference:.1e} from that of C++')


def measure_other(module, count: int, size: int, fill: float) -> tuple[float, float]:
    """Milliseconds of forward, and of forward and backward, of another way on one thread."""
    if hasattr(module, 'rasterize'):
        return measure(count, size, 1, 1, fill, module.rasterize)
    block = module.Scene(*scene(count, size, fill))
    times = [
        least_ms(run, 1, time.process_time) for run in (block.forward, block.forward_backward)
    ]
    return times[0] * block.blocks_in_image, times[1] * block.blocks_in_image


def measure_gsplat(count: int, size: int, repeats: int, fill: float) -> tuple[float, float]:
    """Milliseconds of forward, and of forward and backward, on the GPU."""
    from pad_inspection.rendering.gsplat_backend import GsplatBackend

    tensors, viewmat, pinhole = scene(count, size, fill)
    tensors = [tensor.detach().cuda().requires_grad_() for tensor in tensors]
    viewmat, backend = viewmat.cuda(), GsplatBackend()
    fx, fy, cx, cy = pinhole.intrinsics
    camera = Camera(size, size, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))

    def forward():
        image, alpha, _ = backend.draw(tensors, viewmat, camera, SH_DEGREE)
        return image, alpha

    # the GPU works on after a call has returned: without waiting for it only launches are timed
    def without_gradient():
        with torch.no_grad():
            forward()
        torch.cuda.synchronize()

    def with_gradient():
        image, alpha = forward()
        torch.autograd.grad(image.sum() + alpha.sum(), tensors)
        torch.cuda.synchronize()

    clock = time.perf_counter
    return least_ms(without_gradient, repeats, clock), least_ms(with_gradient, repeats, clock)


def others(names: list[str]) -> dict:
    """Modules of the other ways that can be imported; tells why one cannot."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.import_module(OTHERS[name])
        except ImportError as error:
            print(f'without {name}: {error}')
    return found


def ratios(rows: list[dict]) -> list[dict]:
    """How much longer the fastest other way takes than the best C++ variant, on one thread."""
    found = []
    for count, size in sorted({(row['gaussians'], row['size_px']) for row in rows}):
        same = [
            row
            for row in rows
            if (row['gaussians'], row['size_px'], row['threads']) == (count, size, 1)
        ]
        ours = [row for row in same if row['variant'] not in OTHERS]
        theirs = [row for row in same if row['variant'] in OTHERS]
        if not ours or not theirs:
            continue
        ratio = {'gaussians': count, 'size_px': size}
        for key in ('forward_ms', 'forward_backward_ms'):
            fastest = min(theirs, key=lambda row: row[key])
            ratio[key.replace('ms', 'ratio')] = fastest[key] / ours[0][key]
            ratio[key.replace('ms', 'other')] = fastest['variant']
        found.append(ratio)
    return found


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
    parser.add_argument(
        '--fill', type=float, default=0.73, help='0.73: the sphere covers 42%% of the image'
    )
    parser.add_argument('--others', nargs='*', choices=OTHERS, default=list(OTHERS))
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
            times = measure(count, size, threads, arguments.repeats, arguments.fill)
            add(variant, count, size, threads, times)
    os.environ.pop('PAD_RASTERIZER', None)
    torch.set_num_threads(1)
    for name, module in others(arguments.others).items():
        for count, size in itertools.product(arguments.counts, arguments.sizes):
            add(name, count, size, 1, measure_other(module, count, size, arguments.fill))
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    if gpu:
        for count, size in itertools.product(arguments.counts, arguments.sizes):
            times = measure_gsplat(count, size, arguments.repeats, arguments.fill)
            add('gsplat', count, size, 0, times)
        print(f'gsplat: on {gpu}, no threads of the CPU')
    for ratio in ratios(rows):
        print(
            f'{ratio["gaussians"]} Gaussians, {ratio["size_px"]} px, one thread: '
            f'{ratio["forward_ratio"]:.0f} times as fast as {ratio["forward_other"]}, forward and '
            f'backward {ratio["forward_backward_ratio"]:.0f} times as fast as '
            f'{ratio["forward_backward_other"]}'
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    record = {
        'processor': processor(),
        'gpu': gpu,
        'load': os.getloadavg()[0],
        'sh_degree': SH_DEGREE,
        'fill': arguments.fill,
        'rows': rows,
        'ratios': ratios(rows),
    }
    arguments.out.write_text(json.dumps(record, indent=1))


if __name__ == '__main__':
    main()
