"""Tell what is installed, which backends and weights are found, and how to mend what is not.

Examples:
  pad doctor
  pad doctor --json                for scripts
  pad doctor --config CONFIG.yaml  with these inspection options: weights that they name are loaded

Exit code 0 when an inspection can run, 1 when something that it needs is missing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pad_inspection.checked_options import flatten
from pad_inspection.config import InspectionConfig, LocalizationConfig, load_yaml

# distribution -> (what it is for, whether an inspection needs it, how to get it)
PACKAGES: dict[str, tuple[str, bool, str]] = {
    'numpy': ('arrays', True, 'make setup'),
    'scipy': ('statistics, nearest neighbours', True, 'make setup'),
    'opencv-python-headless': ('pictures', True, 'make setup'),
    'pillow': ('sizes of pictures', True, 'make setup'),
    'torch': ('networks, gradients', True, 'make setup'),
    'onnxruntime': ('segmentation network', True, 'make setup'),
    'kornia': ('local features', True, 'make setup'),
    'pycolmap': ('structure from motion, PnP', True, 'make setup'),
    'PyPatchMatch': ('inpainter patchmatch', True, 'make setup'),
    'efficientnet-lite-pytorch': ('comparison backbone', True, 'make setup'),
    'rosbags': ('bags without a ROS installation', False, 'make setup'),
    'pymodbus': ('line controller by Modbus TCP', False, 'make setup'),
    'asyncua': ('line controller by OPC UA', False, 'make setup'),
    'gsplat': ('splats on CUDA', False, 'pip install -r requirements/cuda.txt'),
    'hloc': ('optional localisation peer', False, 'install hloc from its repository'),
}

# distribution -> what brings the same modules
STAND_INS = {'onnxruntime': 'onnxruntime-gpu'}

# What the default configuration loads.
NEEDED_WEIGHTS = ('isnet', 'efficientnet_lite0', 'xfeat')


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        group: heading.
        name: what was looked for.
        found: whether it is there.
        needed: whether an inspection needs it.
        detail: version or place, or how to get it.
    """

    group: str
    name: str
    found: bool
    needed: bool
    detail: str


def _version(name: str) -> str:
    """Version of an installed distribution, empty where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ''


def _packages() -> list[Finding]:
    """Installed Python packages."""
    findings = []
    for name, (purpose, needed, remedy) in PACKAGES.items():
        names = [name, STAND_INS[name]] if name in STAND_INS else [name]
        versions = [version for version in map(_version, names) if version]
        if versions:
            findings.append(Finding('packages', name, True, needed, f'{versions[0]} ({purpose})'))
        else:
            detail = f'{purpose}; get it with: {remedy}'
            findings.append(Finding('packages', name, False, needed, detail))
    return findings


def _attempt(group: str, name: str, needed: bool, look: Callable[[], str], remedy: str) -> Finding:
    """A finding from a function that raises when the thing is missing."""
    try:
        return Finding(group, name, True, needed, look())
    except Exception as error:  # whatever is wrong with it is what the user wants to read
        return Finding(group, name, False, needed, f'{error}; {remedy}')


def _backends(config: InspectionConfig) -> list[Finding]:
    """Renderers, where networks run, and ROS 2."""

    def cpu_renderer() -> str:
        from pad_inspection.rendering import cpu_backend

        return f'C++ library, variant {cpu_backend.variant()}'

    def cuda_renderer() -> str:
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError('no CUDA device')
        importlib.import_module('gsplat')
        return torch.cuda.get_device_name(0)

    def networks() -> str:
        import torch

        from pad_inspection.rendering.backends import torch_device

        # the GPU's name is asked for only where there is one
        if torch_device(config.rendering.device) == 'cuda':
            return f'torch on cuda, {torch.cuda.get_device_name(0)}'
        return f'torch on the cpu (rendering.device is {config.rendering.device})'

    def onnx_on_cuda() -> str:
        from pad_inspection.networks.onnx_session import has_cuda

        if not has_cuda():
            raise RuntimeError('ISNet, and BiRefNet in ONNX, run on the CPU')
        return 'CUDAExecutionProvider'

    def ros() -> str:
        importlib.import_module('rclpy')
        return f'rclpy, distribution {os.environ.get("ROS_DISTRO", "from wheels")}'

    def messages() -> str:
        # without the name inside, an empty namespace package of the source folder would do
        from pad_msgs.msg import InspectionResult

        return InspectionResult.__module__

    return [
        _attempt(
            'backends', 'render: cpu', True, cpu_renderer, 'python tools/build_rasterizer.py'
        ),
        _attempt('backends', 'render: gsplat', False, cuda_renderer, 'only with an NVIDIA GPU'),
        _attempt('backends', 'networks', True, networks, 'set rendering.device to auto or cpu'),
        _attempt(
            'backends',
            'onnxruntime: cuda',
            False,
            onnx_on_cuda,
            'onnxruntime-gpu in place of onnxruntime would run them on an NVIDIA GPU',
        ),
        _attempt('ros', 'rclpy', False, ros, 'make setup, or source a ROS 2 installation'),
        _attempt('ros', 'pad_msgs', False, messages, 'make setup, or colcon build'),
    ]


def _localization(config: LocalizationConfig) -> list[Finding]:
    """Local features, matchers, retrievals and mappers by the names that the options know."""
    from pad_inspection.localization.features import create_extractor
    from pad_inspection.localization.hloc_mapper import check_hloc
    from pad_inspection.localization.matching import create_matcher
    from pad_inspection.localization.retrieval import create_describer
    from pad_inspection.networks.weights import check_weights

    pair = (config.features, config.matcher)

    def local(features: str, matcher: str, *names: str) -> Callable[[], str]:
        def look() -> str:
            for name in names:
                state = check_weights(name)
                if state != 'ok':
                    raise RuntimeError(state)
            # what the options name may be any file: only loading it tells
            if features == 'superpoint' or (features, matcher) == pair:
                options = replace(config, features=features, matcher=matcher)
                create_extractor(options)
                create_matcher(options)
            return 'usable'

        return look

    def netvlad() -> str:
        create_describer(replace(config, retrieval='netvlad'))
        return 'usable'

    def hloc() -> str:
        check_hloc()
        return 'usable'

    pairs = [
        ('xfeat', 'mutual_nn', 'xfeat'),
        ('xfeat', 'lightglue', 'xfeat', 'xfeat_lighterglue'),
        ('aliked', 'mutual_nn', 'aliked'),
        ('aliked', 'lightglue', 'aliked', 'aliked_lightglue'),
        ('sift', 'mutual_nn'),
        ('superpoint', 'mutual_nn'),
        ('superpoint', 'lightglue'),
    ]
    found = [
        *((f'features {f}, matcher {m}', (f, m) == pair, local(f, m, *w)) for f, m, *w in pairs),
        ('retrieval votes', config.retrieval == 'votes', lambda: 'usable'),
        ('retrieval netvlad', config.retrieval == 'netvlad', netvlad),
        ('mapper pycolmap', True, lambda: 'usable'),
        ('mapper hloc', False, hloc),
    ]
    return [
        _attempt('localisation', name, needed, look, 'needed' if needed else 'optional')
        for name, needed, look in found
    ]


def _weights(config: InspectionConfig) -> list[Finding]:
    """Weight files of the networks, installed or named by the options."""
    from pad_inspection.networks.weights import WEIGHTS, check_weights

    options = {name: value for name, value, _ in flatten(config)}
    findings = []
    for name, weights in WEIGHTS.items():
        state = check_weights(name, options.get(weights.location, ''))
        needed = name in NEEDED_WEIGHTS
        detail = f'{weights.role}; {weights.licence}' if state == 'ok' else state
        findings.append(Finding('weights', name, state == 'ok', needed, detail))
    return findings


def examine(config: InspectionConfig) -> list[Finding]:
    """All findings for some options, in the order of the report."""
    machine = f'{platform.machine()}, {os.cpu_count()} cores, {platform.platform()}'
    here = Finding('machine', f'Python {sys.version.split()[0]}', True, True, machine)
    localization = _localization(config.localization)
    return [here, *_packages(), *_backends(config), *localization, *_weights(config)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad doctor`."""
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.add_argument('--config', type=Path, help='inspection options (default: the defaults)')


def run(arguments: argparse.Namespace) -> int:
    """Run `pad doctor`."""
    path = arguments.config
    findings = examine(InspectionConfig() if path is None else load_yaml(InspectionConfig, path))
    missing = [f for f in findings if f.needed and not f.found]
    if arguments.json:
        print(json.dumps([asdict(f) for f in findings], indent=1))
        return 1 if missing else 0
    group = ''
    for finding in findings:
        if finding.group != group:
            group = finding.group
            print(f'\n{group}')
        mark = 'ok     ' if finding.found else ('MISSING' if finding.needed else 'absent ')
        print(f'  {mark} {finding.name:<39} {finding.detail}')
    print()
    if missing:
        print(f'{len(missing)} needed part(s) missing: {", ".join(f.name for f in missing)}')
        return 1
    print('everything that an inspection needs is here')
    return 0
