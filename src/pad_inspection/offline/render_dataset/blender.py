"""Drives Blender: writes scene files and talks to blender_script.py in a process of its own.

A scene file is JSON beside ``meshes.npz`` and the textures, all lengths in metres: ``parts`` (id,
mesh, material, world_from_part), ``materials``, ``boxes``, ``floor``, ``lighting``, ``size``,
``focal``, ``samples``, ``seed``, ``threads``, ``device``, ``transparent``, ``part_ids``.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Rigid3
from pad_inspection.geometry import opengl_of_cam_from_world
from pad_inspection.offline.render_dataset.audit import PartShapes
from pad_inspection.offline.render_dataset.ldraw import INHERIT, Color, Library
from pad_inspection.offline.render_dataset.scene import Conveyor, Lighting, RenderError, Scene
from pad_inspection.offline.render_dataset.textures import brush_texture, floor_texture

SCRIPT = Path(__file__).with_name('blender_script.py')
PYTHON_VARIABLE = 'PAD_BLENDER_PYTHON'
_INSTALLED = Path(__file__).parents[4] / '.venv-blender' / 'bin' / 'python'
DEVICES = ('cpu', 'cuda', 'optix')
_BELT_COLORS = {
    'steel': (0.71, 0.72, 0.73),
    'dark': (0.33, 0.34, 0.36),
    'blue': (0.25, 0.38, 0.56),
}
_LAMPS = (  # position (m), size (m), power (W at Blender's scale), color
    ('key', (0, 0, 0.40), 0.40, 10500, (1, 1, 1)),
    ('right', (0.35, -0.25, 0.28), 0.20, 5250, (1, 0.97, 0.93)),
    ('left', (-0.35, 0.25, 0.28), 0.20, 3750, (0.93, 0.97, 1)),
)


def find_python() -> Path:
    """The Python of Blender's environment.

    Raises:
        FileNotFoundError: there is none; the message says how to install it.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    path = Path(named) if named else _INSTALLED
    if not path.is_file():
        raise FileNotFoundError(
            f'Blender is not installed ({path} does not exist): run `make blender` (950 MB), or '
            f'name the Python of an environment with bpy in {PYTHON_VARIABLE}'
        )
    return path


class BlenderRenderer:
    """Renders scenes with Cycles.

    Args:
        work_dir: folder of scene files and of the log, which grows.
        threads: of the process.
        timeout_s: after which a request counts as failed.
        part_ids: render part numbers instead of pictures, to check masks.
        device: one of DEVICES, what Cycles renders on.
    """

    name = 'blender'

    def __init__(
        self,
        work_dir: Path,
        threads: int,
        timeout_s: float = 1800.0,
        part_ids: bool = False,
        device: str = 'cpu',
    ):
        self._python = find_python()
        self._work_dir = Path(work_dir)
        self._work_dir.mkdir(parents=True, exist_ok=True)
        self._threads = threads
        self._timeout_s = timeout_s
        self._part_ids = part_ids
        self._device = device
        self._process: subprocess.Popen | None = None
        self._scene_file: Path | None = None
        self._opened = False

    def check_device(self) -> None:
        """See that Blender starts and has the device.

        Raises:
            RenderError: it has not, or Blender does not start.
        """
        self._ask({'device': self._device})

    def open(self, scene: Scene) -> None:
        """Take a scene."""
        self._scene_file = _write_scene(
            scene, self._work_dir, self._threads, self._part_ids, self._device
        )
        self._opened = False

    def render(self, cam_from_world: Rigid3, path: Path) -> None:
        """Write a picture.

        Raises:
            RenderError: the process failed, died or took too long; the next call starts another.
        """
        if not self._opened:
            self._ask({'open': str(self._scene_file)})
            self._opened = True
        pose = opengl_of_cam_from_world(cam_from_world).tolist()
        raw = self._work_dir / 'picture.png'
        raw.unlink(missing_ok=True)
        self._ask({'render': str(raw), 'world_from_gl': pose})
        picture, alpha = images.read_rgba(raw)
        if alpha is not None:
            # colour where nothing is would only make the file larger
            picture = np.where(alpha[..., None] > 0, picture, 0)
            picture = np.concatenate([picture, alpha[..., None]], axis=2)
        images.write(path, picture)

    def close(self) -> None:
        """End the process."""
        process, self._process, self._opened = self._process, None, False
        if process is None:
            return
        with contextlib.suppress(OSError):  # it may be dead already
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _ask(self, request: dict[str, Any]) -> None:
        """Send a request and wait for the answer."""
        if self._process is None:
            self._process = self._start()
        try:
            self._process.stdin.write(json.dumps(request) + '\n')
            self._process.stdin.flush()
            answer = self._answer()
        except OSError as error:
            answer = f'the connection to Blender broke: {error}'
        if isinstance(answer, str) or not answer['ok']:
            # whatever state it is in, another try starts afresh
            self._process.kill()
            self.close()
            text = answer if isinstance(answer, str) else answer['error']
            raise RenderError(f'{text} (log: {self._work_dir / "blender.log"})')

    def _answer(self) -> dict[str, Any] | str:
        """Read one answer, or say why there is none."""
        import select

        ready, _, _ = select.select([self._process.stdout], [], [], self._timeout_s)
        if not ready:
            return f'Blender gave no answer in {self._timeout_s:g} s'
        line = self._process.stdout.readline()
        if not line:
            return f'Blender ended with status {self._process.wait()}'
        return json.loads(line)

    def _start(self) -> subprocess.Popen:
        """Start Blender's process."""
        with open(self._work_dir / 'blender.log', 'ab') as log:
            return subprocess.Popen(
                [self._python, '-I', SCRIPT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # an interrupt from the terminal is for us: the picture in work is finished
                start_new_session=True,
            )


def _write_scene(scene: Scene, work_dir: Path, threads: int, part_ids: bool, device: str) -> Path:
    """Write a scene file with its meshes and textures."""
    shapes = PartShapes(scene.library)
    materials: dict[str, dict[str, Any]] = {}
    meshes: dict[str, np.ndarray] = {}
    parts = []
    for placement in scene.placements:
        own = _write_mesh(scene.library, placement.part, meshes)
        rubber = shapes.is_tyre(placement.part) and placement.color == 0
        name = 'rubber' if rubber else f'color{placement.color}'
        for code in {placement.color, *own}:
            materials[f'color{code}'] = _plastic(scene.library.colors[code], code)
        matrix = scene.world_from_model @ placement.model_from_part
        parts.append({'id': placement.id, 'mesh': placement.part, 'material': name})
        parts[-1]['world_from_part'] = matrix.tolist()
    materials['rubber'] = _material((0.11, 0.11, 0.115), roughness=0.6)
    boxes, floor = [], None
    if scene.conveyor is not None:
        boxes, floor = _surroundings(scene.conveyor, materials, work_dir)
    np.savez(work_dir / 'meshes.npz', **meshes)
    camera = scene.camera
    content = {
        'parts': parts,
        'meshes': 'meshes.npz',
        'materials': materials,
        'boxes': boxes,
        'floor': floor,
        'lighting': _lighting(scene.lighting),
        'size': camera.width,
        'focal': camera.K[0, 0],
        'samples': 1 if part_ids else scene.samples,
        'seed': scene.seed,
        'threads': threads,
        'device': device,
        'transparent': scene.conveyor is None and not part_ids,
        'part_ids': part_ids,
    }
    path = work_dir / 'scene.json'
    path.write_text(json.dumps(content), encoding='utf-8')
    return path


def _write_mesh(library: Library, part: str, meshes: dict[str, np.ndarray]) -> list[int]:
    """Add a part's mesh once; returns the colour codes of its own."""
    mesh = library.mesh(part).with_seam
    own = sorted(set(mesh.colors) - {INHERIT})
    if f'{part}/vertices' not in meshes:
        slot = {INHERIT: 0} | {code: k + 1 for k, code in enumerate(own)}
        meshes[f'{part}/vertices'] = mesh.vertices
        meshes[f'{part}/corners'] = np.array([v for face in mesh.faces for v in face])
        meshes[f'{part}/sizes'] = np.array([len(face) for face in mesh.faces])
        meshes[f'{part}/slots'] = np.array([slot[c] for c in mesh.colors])
        meshes[f'{part}/materials'] = np.array([f'color{code}' for code in own], dtype='U16')
    return own


def _material(rgb, *, alpha=1.0, roughness=0.2, metallic=0.0, ior=1.5, texture=None):
    """JSON value of a material; rgb is sRGB."""
    values = {'rgb': list(rgb), 'alpha': alpha, 'roughness': roughness, 'metallic': metallic}
    return values | {'ior': ior, 'texture': texture}


def _plastic(color: Color, code: int) -> dict[str, Any]:
    """Material of a brick."""
    roughness, metallic = 0.2, 0.0
    if color.finish == 'CHROME':
        roughness, metallic = 0.1, 1.0
    elif color.finish in ('METAL', 'MATTE_METALLIC', 'PEARLESCENT'):
        roughness, metallic = 0.35, 0.5 if color.finish == 'PEARLESCENT' else 1.0
    elif color.finish == 'RUBBER':
        roughness = 0.6
    elif color.alpha < 1:
        roughness = 0.08
    elif code == 0:
        roughness = 0.3
    return _material(
        color.rgb, alpha=color.alpha, roughness=roughness, metallic=metallic, ior=1.53
    )


def _surroundings(conveyor: Conveyor, materials: dict, work_dir: Path) -> tuple[list, dict]:
    """Boxes of the belt and its rails, and the floor; adds their materials and textures."""
    floor_file = f'floor_{conveyor.floor}_{conveyor.floor_seed}.png'
    if not (work_dir / floor_file).is_file():
        images.write(work_dir / floor_file, floor_texture(conveyor.floor, conveyor.floor_seed))
        images.write(work_dir / 'brush.png', brush_texture(0))
    offset = np.random.default_rng([conveyor.floor_seed, 3]).uniform(0, 1, 2).tolist()
    brush = {'file': 'brush.png', 'is_color': False, 'size': 0.1}
    brush |= {'offset': [0, 0], 'input': 'Roughness'}
    materials['plate'] = _material(_BELT_COLORS[conveyor.belt], metallic=1.0, texture=brush)
    materials['rail'] = _material((0.235, 0.248, 0.26), roughness=0.4)
    surface = {'file': floor_file, 'is_color': True, 'size': 0.4}
    surface |= {'offset': offset, 'input': 'Base Color'}
    materials['floor'] = _material((0.5, 0.5, 0.5), roughness=0.6, texture=surface)
    half, pitch = conveyor.width / 2, conveyor.pitch
    start = -conveyor.length / 2 + conveyor.shift % pitch
    boxes = []
    for k in range(round(conveyor.length / pitch)):
        x = start + k * pitch
        low, high = [x + 0.0006, -half, -0.005], [x + pitch - 0.0006, half, 0]
        boxes.append({'low': low, 'high': high, 'bevel': 0.0007, 'material': 'plate'})
    for side in (-1, 1):
        y = side * (half + 0.006)
        low = [-conveyor.length / 2, y - 0.005, -0.016]
        high = [conveyor.length / 2, y + 0.005, 0.005]
        boxes.append({'low': low, 'high': high, 'bevel': 0.0012, 'material': 'rail'})
    floor = {'height': -conveyor.floor_drop, 'size': 8.0, 'material': 'floor'}
    return boxes, floor


def _lighting(lighting: Lighting) -> dict[str, Any]:
    """JSON value of the lamps."""
    lamps = [
        {
            'position': position,
            'size': size,
            'power': power * getattr(lighting, name),
            'color': color,
        }
        for name, position, size, power, color in _LAMPS
    ]
    return {'surround': lighting.surround, 'lamps': lamps}
