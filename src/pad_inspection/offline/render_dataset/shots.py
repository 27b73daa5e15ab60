"""Every picture of a class: which scene it is of, from where it is taken, where it goes."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.offline.render_dataset import plan as planning
from pad_inspection.offline.render_dataset.degrade import degrade
from pad_inspection.offline.render_dataset.plan import ObjectPlan, Product
from pad_inspection.offline.render_dataset.profiles import Options, Profile
from pad_inspection.offline.render_dataset.scene import Scene

_NOISE_STREAM = 9


@dataclass(frozen=True)
class Settings:
    """What decides the content of a data set.

    Attributes:
        profile_name: name of the profile.
        profile: its values.
        options: beyond the profile.
        seed: of everything random.
        renderer: 'blender' or 'light'.
    """

    profile_name: str
    profile: Profile
    options: Options
    seed: int
    renderer: str

    @property
    def num_validation(self) -> int:
        """Number of objects for commissioning images."""
        chosen = self.options.validation
        return self.profile.validation if chosen is None else chosen

    def as_json(self) -> dict[str, Any]:
        """Value for dataset.json."""
        return {
            'profile': self.profile_name,
            **dataclasses.asdict(self.profile),
            'options': dataclasses.asdict(self.options),
            'seed': self.seed,
            'renderer': self.renderer,
        }


@dataclass(frozen=True)
class Shot:
    """One picture to render.

    Attributes:
        path: where it goes.
        cam_from_world: from where it is taken.
        finish: turns the rendered picture into the final one, or None.
    """

    path: Path
    cam_from_world: Rigid3
    finish: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class ClassPlan:
    """A class with all its pictures.

    Attributes:
        folder: of the class.
        product: the intact object.
        camera: intrinsics of all pictures.
        training: cam_from_object of the training views.
        objects: the pieces on the conveyor.
        scenes: each scene with the shots taken of it.
    """

    folder: Path
    product: Product
    camera: Camera
    training: list[Rigid3]
    objects: list[ObjectPlan]
    scenes: list[tuple[Scene, list[Shot]]]

    @property
    def missing(self) -> list[tuple[Scene, list[Shot]]]:
        """Scenes with the shots that are not there yet."""
        left = [
            (scene, [s for s in shots if not s.path.is_file()]) for scene, shots in self.scenes
        ]
        return [(scene, shots) for scene, shots in left if shots]


def plan_class(folder: Path, product: Product, settings: Settings) -> ClassPlan:
    """Plan a class. Raises a ValueError when an object cannot be planned."""
    profile, options, seed = settings.profile, settings.options, settings.seed
    library = product.audit.shapes.library
    camera = planning.square_camera(profile.size)
    training = planning.training_cameras(product, profile, seed)
    objects = [
        planning.plan_object(product, profile, options, seed, split, number)
        for split, count in (
            ('test', len(profile.kinds)),
            ('validation', settings.num_validation),
        )
        for number in range(count)
    ]
    alone = Scene(
        library,
        product.audit.placements,
        product.object_from_model,
        camera,
        profile.training_samples,
        seed=seed,
    )
    scenes = [(alone, [Shot(training_path(folder, k), p) for k, p in enumerate(training)])]
    for item in objects:
        scene = Scene(
            library,
            item.placements,
            planning.world_from_model(product, item),
            camera,
            profile.test_samples,
            item.conveyor,
            item.lighting,
            seed,
        )
        shots = [
            Shot(
                image_path(folder, item, v),
                view.cam_from_world,
                _degrader(settings, product, item, v),
            )
            for v, view in enumerate(item.views)
        ]
        scenes.append((scene, shots))
    return ClassPlan(folder, product, camera, training, objects, scenes)


def training_path(folder: Path, number: int) -> Path:
    """Path of a training view."""
    return folder / 'train' / 'good' / f'{number:03d}.png'


def image_path(folder: Path, plan: ObjectPlan, view: int) -> Path:
    """Path of a picture on the conveyor."""
    return folder / plan.split / plan.kind / f'{plan.id}_{view}.png'


def _degrader(settings: Settings, product: Product, plan: ObjectPlan, view: int):
    """Function that degrades a picture as the options say, or None."""
    options = settings.options
    if not (options.blur or options.noise or options.jpeg):
        return None
    key = [settings.seed, zlib.crc32(f'{product.name}/{plan.split}/{plan.id}/{view}'.encode())]
    return lambda image: degrade(image, options, np.random.default_rng([*key, _NOISE_STREAM]))
