"""The layers of ARCHITECTURE.md, enforced: who may import whom, and that importing is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pad_inspection

ROOT = Path(pad_inspection.__file__).parent
MODULES = sorted(p for p in ROOT.rglob('*.py'))

# Lower layers never import higher ones.
LAYERS = [
    {'datatypes', 'text_safety', 'whole_files', 'yaml_files'},
    {'geometry', 'checked_options', 'presets', 'camera_checks', 'grey_images'},
    {'decision_config'},
    {'config'},
    {
        'images',
        'npz_files',
        'bundle_folders',
        'bundle',
        'bundle_writing',
        'bundle_signature',
        'nerf_files',
        'colmap_files',
        'dataset',
        'drawing',
        'distances',
    },
    {'networks', 'rendering'},
    {'regions', 'surface', 'free_space', 'calibration_checks', 'calibration', 'bundle_config'},
    {'localization', 'background', 'comparison', 'joined_views'},
    {
        'decision',
        'observation',
        'pose_trust',
        'pipeline',
        'object_inspection',
        'piece_views',
        'recognition',
    },
    {'offline', 'ros'},
    {'cli'},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Sub-packages that must not know each other.
STRANGERS = [
    ('localization', 'rendering'),
    ('localization', 'background'),
    ('background', 'rendering'),
]
# Heavy or special packages -> the only places that may import them.
CONFINED = {
    'rclpy': {'ros'},
    'pad_msgs': {'ros', 'offline.doctor'},
    'sensor_msgs': {'ros'},
    'pycolmap': {'localization', 'offline.build_model', 'colmap_files'},
    'gsplat': {'rendering', 'offline.fit_gaussians'},
    'bpy': {'offline.render_dataset'},
    'onnxruntime': {'networks'},
    'kornia': {'networks'},
    'pymodbus': {'ros.plc'},
    'asyncua': {'ros.plc'},
    'cryptography': {'bundle_signature', 'ros.plc'},
}


def name_of(path: Path) -> str:
    """Dotted name below pad_inspection."""
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


def imports_of(path: Path) -> list[str]:
    """Absolute names that a module imports, also inside functions."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module)
            if node.module == 'pad_inspection':
                names += [f'pad_inspection.{alias.name}' for alias in node.names]
    return names


def within(name: str, places: set[str]) -> bool:
    return any(name == place or name.startswith(place + '.') for place in places)


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_layers(path):
    own = name_of(path).split('.')[0]
    if own in ('', '__init__'):
        return
    for imported in imports_of(path):
        if not imported.startswith('pad_inspection.'):
            continue
        other = imported.split('.')[1]
        if other not in LEVEL:
            assert hasattr(pad_inspection, other), f'{imported} has no layer'
            continue
        assert LEVEL[other] <= LEVEL[own], f'{name_of(path)} imports {imported} of a higher layer'
        for pair in STRANGERS:
            assert {own, other} != set(pair), f'{name_of(path)} imports {imported}'


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_confined_packages(path):
    for imported in imports_of(path):
        places = CONFINED.get(imported.split('.')[0])
        assert places is None or within(name_of(path), places), (
            f'{name_of(path)} imports {imported}; only {sorted(places)} may'
        )


def test_every_module_is_found_and_short():
    assert len(MODULES) > 20
    for path in MODULES:
        limit = 600 if path.parent.name == 'networks' else 500
        assert len(path.read_text().splitlines()) <= limit, f'{name_of(path)} is too long'


@pytest.mark.parametrize(
    'module', ['pad_inspection', 'pad_inspection.cli', 'pad_inspection.decision']
)
def test_importing_is_cheap(module):
    heavy = ['torch', 'cv2', 'scipy', 'pycolmap', 'kornia', 'onnxruntime', 'rclpy', 'gsplat']
    code = f'import sys, {module}; print([m for m in {heavy} if m in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
