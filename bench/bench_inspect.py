"""Milliseconds of each step of an inspection, with the default options and with the preset paper.

Both presets, on the CPU and on the GPU where there is one, inspect the same pictures in turn in
one process, so that a busy machine slows all. What the GPU does counts for the step that asked for
it (see observation.Clock).

Examples:
  make bench-inspect
  python bench/bench_inspect.py --images 12 --bundle out/demo/bundle
  python bench/bench_inspect.py --device cuda
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
from pathlib import Path

import numpy as np
import torch

from pad_inspection.bundle_config import bundle_config
from pad_inspection.config import from_dict, preset_config, to_dict
from pad_inspection.dataset import read_test_images
from pad_inspection.datatypes import Frame
from pad_inspection.networks.onnx_session import has_cuda
from pad_inspection.pipeline import Inspector
from pad_inspection.rendering.backends import torch_device

ROOT = Path(__file__).resolve().parent.parent


def inspectors(bundle: Path, devices: list[str]) -> dict[str, Inspector]:
    """One Inspector for each preset and device ('cpu', 'cuda'), with the bundle's features."""
    own = bundle_config(bundle)
    paper = from_dict(
        type(own), {'localization': to_dict(own.localization)}, preset_config('paper')
    )
    found = {}
    for device in devices:
        for name, config in (('ours', own), ('paper', paper)):
            there = from_dict(type(own), {'rendering': {'device': device}}, config)
            column = name if device == 'cpu' else f'{name} {device}'
            found[column] = Inspector.from_bundle(bundle, there)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--bundle', type=Path, default=ROOT / 'demo/bundle/coupe')
    parser.add_argument('--data', type=Path, default=ROOT / 'demo/data/coupe')
    parser.add_argument('--images', type=int, default=8, help='pictures of the test set')
    parser.add_argument(
        '--device', nargs='+', choices=('auto', 'cpu', 'cuda'),
        help='default: cpu, and cuda where there is a GPU',
    )  # fmt: skip
    arguments = parser.parse_args()
    with_gpu = torch.cuda.is_available()
    names = arguments.device or (['cpu', 'cuda'] if with_gpu else ['cpu'])
    devices = list(dict.fromkeys(map(torch_device, names)))

    tests = read_test_images(arguments.data)[: arguments.images]
    loaded = inspectors(arguments.bundle, devices)
    for inspector in loaded.values():
        inspector.warm_up()
    timings: dict[str, list[dict[str, float]]] = {name: [] for name in loaded}
    for test in tests:
        frame = Frame(test.load_image(), test.camera)
        for name, inspector in loaded.items():
            timings[name].append(inspector.inspect(frame).timings_ms)
    steps = list(dict.fromkeys(step for rows in timings.values() for row in rows for step in row))
    median = {
        name: {step: float(np.median([row.get(step, 0.0) for row in rows])) for step in steps}
        for name, rows in timings.items()
    }
    total = {
        name: float(np.median([sum(row.values()) for row in rows]))
        for name, rows in timings.items()
    }
    print(f'{"step, ms":<12}' + ''.join(f'{name:>12}' for name in median))
    for step in steps:
        print(f'{step:<12}' + ''.join(f'{median[name][step]:>12.1f}' for name in median))
    print(f'{"total":<12}' + ''.join(f'{total[name]:>12.1f}' for name in total))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f'{len(tests)} pictures, {os.cpu_count()} cores, peak memory of all {memory_mb:.0f} MB')
    gpu = torch.cuda.get_device_name(0) if 'cuda' in devices else None
    # without onnxruntime-gpu the segmentation of a column with cuda is that of the CPU
    onnx = 'cuda' if gpu and has_cuda() else 'cpu'
    if gpu:
        print(f'{gpu}; networks in ONNX (segment) ran on: {onnx}')
    out = ROOT / 'out' / 'bench' / 'inspect.json'
    out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        'median_ms': median,
        'total_ms': total,
        'images': len(tests),
        'cores': os.cpu_count(),
        'machine': platform.machine(),
        'gpu': gpu,
        'onnx_device': onnx,
        'peak_memory_mb': memory_mb,
    }
    out.write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    main()
