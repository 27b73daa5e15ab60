"""Decides everything about a class before a picture is rendered: objects, poses, cameras, defects.

Each object has a random generator of its own, keyed by seed, class and object, so that objects can
be planned and rendered in any order. Frames: ``model`` is LDraw's (LDU, y down), ``object`` the
centred canonical frame of the intact object (m, z up, y to the back), ``world`` the conveyor's.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import compose, look_at, project, to_matrix, transform
from pad_inspection.offline.render_dataset import defects, vehicles
from pad_inspection.offline.render_dataset.audit import Audit, PartShapes
from pad_inspection.offline.render_dataset.defects import Defect
from pad_inspection.offline.render_dataset.idcast import Caster, MaskCaster
from pad_inspection.offline.render_dataset.ldraw import OBJECT_FROM_LDRAW, Library, Placement
from pad_inspection.offline.render_dataset.light import visible_change
from pad_inspection.offline.render_dataset.poses import StablePose, stable_poses, upright
from pad_inspection.offline.render_dataset.profiles import Options, Profile
from pad_inspection.offline.render_dataset.scene import BELTS, FLOORS, Conveyor, Lighting

FIELD_OF_VIEW_DEG = 32.0
# The longer side of the object's outline covers this share of the picture's width.
FILL_RANGE = (0.60, 0.72)
_ELEVATIONS_DEG = (25.0, 40.0, 55.0)
# Random generators are keyed by seed, class, purpose and object.
_TRAINING, _TEST, _VALIDATION, _RIG = range(4)
_PLANNING_PX = 200
_MAX_DRAWS = 3000


@dataclass(frozen=True)
class Product:
    """The intact object of a class.

    Attributes:
        name: of the class.
        audit: its model.
        object_from_model: (4, 4), LDU to m.
        points: (N, 3) m, object frame, all vertices.
        poses: how it can lie.
    """

    name: str
    audit: Audit
    object_from_model: np.ndarray
    points: np.ndarray
    poses: list[StablePose]

    @property
    def radius(self) -> float:
        """Largest distance of a point from the origin, m."""
        return float(np.linalg.norm(self.points, axis=1).max())


@dataclass(frozen=True)
class View:
    """One picture to take.

    Attributes:
        cam_from_world: pose of the camera.
        camera_name: of a fixed camera, else ''.
        visible: whether the defect can be seen.
        change: mean colour change in the mask, Delta E, by a simple shading; NaN when not seen.
    """

    cam_from_world: Rigid3
    camera_name: str = ''
    visible: bool = False
    change: float = float('nan')


@dataclass(frozen=True)
class ObjectPlan:
    """One piece on the conveyor.

    Attributes:
        id: two digits.
        split: 'test' or 'validation'.
        placements: its parts.
        defect: what is wrong with it, or None.
        world_from_object: its pose on the belt.
        conveyor: how the surroundings look.
        lighting: lamps.
        views: the pictures.
    """

    id: str
    split: str
    placements: list[Placement]
    defect: Defect | None
    world_from_object: Rigid3
    conveyor: Conveyor
    lighting: Lighting
    views: list[View]

    @property
    def kind(self) -> str:
        """Name of the defect, 'good' for an intact piece."""
        return self.defect.kind if self.defect else 'good'


def square_camera(size: int) -> Camera:
    """The camera of all pictures."""
    focal = size / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2)
    return Camera(size, size, [[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])


def product_of(library: Library, name: str) -> Product:
    """Build a class and check it.

    Raises:
        ValueError: unknown class, or a model that falls apart or overlaps.
    """
    return product_from(library, name, vehicles.build(library, name))


def product_from(library: Library, name: str, placements: list[Placement]) -> Product:
    """Check a model and put it into its canonical frame. Raises as product_of."""
    audit = Audit(PartShapes(library), placements)
    if audit.num_components() > 1:
        raise ValueError(f'{name} falls into {audit.num_components()} pieces, wanted one')
    if audit.collisions():
        a, b = (placements[k] for k in audit.collisions()[0])
        raise ValueError(f'{name}: parts {a.id} ({a.part}) and {b.id} ({b.part}) overlap')
    clouds = [p.transform(library.mesh(p.part).vertices) for p in placements]
    points = _apply(OBJECT_FROM_LDRAW, np.concatenate(clouds))
    object_from_model = OBJECT_FROM_LDRAW.copy()
    object_from_model[:3, 3] = -(points.min(axis=0) + points.max(axis=0)) / 2
    points = points + object_from_model[:3, 3]
    # bricks have walls of one thickness: mass goes with the surface of their boxes
    boxes = audit.boxes
    weights = [_box_surface(box.half) for box in boxes]
    centers = _apply(object_from_model, np.array([box.center for box in boxes]))
    center_of_mass = np.average(centers, axis=0, weights=weights)
    poses = stable_poses(points, center_of_mass)
    return Product(name, audit, object_from_model, points, poses)


def training_cameras(product: Product, profile: Profile, seed: int) -> list[Rigid3]:
    """cam_from_object of views all around: a Fibonacci sphere, a little jittered."""
    rng = np.random.default_rng([seed, zlib.crc32(product.name.encode()), _TRAINING])
    distance = product.radius / np.sin(np.radians(FIELD_OF_VIEW_DEG / 2)) * 1.02
    golden = np.pi * (3 - np.sqrt(5))
    cameras = []
    for k in range(profile.training_views):
        z = 1 - 2 * (k + 0.5) / profile.training_views
        angle = k * golden + rng.uniform(-0.05, 0.05)
        ring = np.sqrt(1 - z * z)
        direction = np.array([ring * np.cos(angle), ring * np.sin(angle), z])
        cameras.append(look_at(direction * distance * rng.uniform(1.0, 1.08), np.zeros(3)))
    return cameras


def plan_object(
    product: Product, profile: Profile, options: Options, seed: int, split: str, number: int
) -> ObjectPlan:
    """Plan one piece.

    Raises:
        ValueError: no defect of the wanted kind can be seen well enough in this pose.
    """
    stream = _TEST if split == 'test' else _VALIDATION
    rng = np.random.default_rng([seed, zlib.crc32(product.name.encode()), stream, number])
    world_from_object = _lay_down(product, options, rng)
    views = _cameras(product, world_from_object, profile, options, seed, rng)
    conveyor, lighting = _look(options, seed, rng)
    kind = profile.kinds[number] if split == 'test' else 'good'
    plan = ObjectPlan(
        f'{number:02d}',
        split,
        product.audit.placements,
        None,
        world_from_object,
        conveyor,
        lighting,
        views,
    )
    return plan if kind == 'good' else _with_defect(product, profile, plan, kind, rng)


def world_from_model(product: Product, plan: ObjectPlan) -> np.ndarray:
    """(4, 4), LDraw frame in LDU to the world in metres."""
    return to_matrix(plan.world_from_object) @ product.object_from_model


def outline_box(camera: Camera, cam_from_object: Rigid3, points: np.ndarray) -> np.ndarray:
    """u0, v0, u1, v1 (px) around the projections of points (N, 3) m."""
    pixels = project(camera, transform(cam_from_object, points))
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def _lay_down(product: Product, options: Options, rng) -> Rigid3:
    """A random stable pose, turn and place on the belt."""
    if options.upright:
        rotation = upright(product.poses).rotation
    else:
        chances = [pose.probability for pose in product.poses]
        rotation = product.poses[rng.choice(len(chances), p=chances)].rotation
    yaw = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    rotation = turn @ rotation
    points = product.points @ rotation.T
    low, high = points.min(axis=0), points.max(axis=0)
    offset = rng.uniform(-0.015, 0.015, 2)
    translation = np.array([*(offset - (low + high)[:2] / 2), -low[2]])
    return Rigid3(rotation, translation)


def _look(options: Options, seed: int, rng) -> tuple[Conveyor, Lighting]:
    """Surroundings and lamps of one object."""
    look = int(rng.integers(options.looks))
    conveyor = Conveyor(
        shift=float(rng.uniform(0, 0.04)),
        belt=BELTS[look // len(FLOORS) % len(BELTS)],
        floor=FLOORS[look % len(FLOORS)],
        floor_seed=seed + look,
    )
    factors = 1 + options.lighting * rng.uniform(-1, 1, 4)
    lighting = Lighting()
    if options.lighting:
        surround = lighting.surround * float(factors[0])
        lighting = Lighting(surround, *(float(f) for f in factors[1:]))
    return conveyor, lighting


def _cameras(product, world_from_object, profile, options, seed, rng) -> list[View]:
    """A ring of cameras around the object, or the line's fixed ones."""
    camera = square_camera(_PLANNING_PX)
    if options.cameras:
        rig = np.random.default_rng([seed, zlib.crc32(product.name.encode()), _RIG])
        return [
            View(pose, f'camera_{k}')
            for k, pose in enumerate(_fixed_cameras(product, options.cameras, rig))
        ]
    views = []
    for v in range(profile.views):
        azimuth = 2 * np.pi * v / profile.views + rng.uniform(-0.15, 0.15)
        elevation = np.radians(_ELEVATIONS_DEG[v % 3] + rng.uniform(-4, 4))
        fill = rng.uniform(*FILL_RANGE)
        points = transform(world_from_object, product.points)
        views.append(View(_framed(camera, points, azimuth, elevation, fill)))
    return views


def _framed(camera: Camera, points: np.ndarray, azimuth: float, elevation: float, fill: float):
    """cam_from_world whose picture has the points (world) in its middle, filling it as wanted."""
    direction = _direction(azimuth, elevation)
    target = (points.min(axis=0) + points.max(axis=0)) / 2
    distance = 4 * np.ptp(points, axis=0).max()
    for _ in range(12):
        pose = look_at(target + direction * distance, target)
        box = outline_box(camera, pose, points)
        shift = (box[:2] + box[2:]) / 2 - camera.K[:2, 2]
        # move the target in the picture's plane, then come nearer or go away
        step = np.array([*(shift / camera.K[0, 0] * distance), 0.0])
        target = target + pose.rotation.T @ step
        distance *= (box[2:] - box[:2]).max() / camera.width / fill
    return pose


def _fixed_cameras(product: Product, count: int, rng) -> list[Rigid3]:
    """Cameras of a line: none clips an object of any pose within its range on the belt."""
    reach = product.radius + 0.015 * np.sqrt(2)
    distance = reach / np.sin(np.radians(FIELD_OF_VIEW_DEG / 2)) * 1.02
    target = np.array([0, 0, product.radius / 2])
    poses = []
    for k in range(count):
        elevation = np.radians(_ELEVATIONS_DEG[k % 3])
        direction = _direction(2 * np.pi * k / count + rng.uniform(0, 0.3), elevation)
        poses.append(look_at(target + direction * distance, target))
    return poses


def _with_defect(product: Product, profile: Profile, plan: ObjectPlan, kind: str, rng):
    """Draw defects until one can be seen well enough, and note where it can be seen."""
    library = product.audit.shapes.library
    placed = world_from_model(product, plan)
    camera = square_camera(_PLANNING_PX)
    wanted_px = profile.min_visible_share * camera.width * camera.height
    wanted_views = min(profile.min_visible_views, len(plan.views))
    for _ in range(_MAX_DRAWS):
        draw = defects.propose(kind, product.audit, placed, rng)
        if draw is None:
            continue
        parts, defect = draw
        caster = MaskCaster(library, product.audit.placements, parts, defect, placed)
        before = Caster(library, product.audit.placements, placed)
        after = Caster(library, parts, placed)
        views, well_seen = [], 0
        for view in plan.views:
            mask = caster.mask(camera, view.cam_from_world)
            change = visible_change(library, before, after, camera, view.cam_from_world, mask)
            views.append(replace(view, change=change))
            well_seen += mask.sum() >= wanted_px and change >= profile.min_change
        if well_seen >= wanted_views:
            return replace(plan, placements=parts, defect=defect, views=views)
    raise ValueError(
        f'{product.name} {plan.id}: no {kind} defect of {_MAX_DRAWS} is seen in {wanted_views} '
        f'views (wanted {profile.min_visible_share:.2%} of the picture); try another seed'
    )


def cam_from_object(plan: ObjectPlan, view: View) -> Rigid3:
    """Pose of a view."""
    return compose(view.cam_from_world, plan.world_from_object)


def _direction(azimuth: float, elevation: float) -> np.ndarray:
    """Unit vector (3,) from the belt to a camera."""
    return np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )


def _box_surface(half: np.ndarray) -> float:
    """Surface of a box with these half sizes."""
    a, b, c = half
    return float(8 * (a * b + b * c + c * a))


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Take points (..., 3) through a (4, 4) matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]
