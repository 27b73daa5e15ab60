"""Defects and their exact masks."""

import numpy as np
import pytest

from pad_inspection.datatypes import Camera
from pad_inspection.geometry import look_at
from pad_inspection.offline.render_dataset import builder, defects, ldraw, vehicles
from pad_inspection.offline.render_dataset.audit import Audit, PartShapes, box_overlap
from pad_inspection.offline.render_dataset.defects import Defect
from pad_inspection.offline.render_dataset.idcast import Caster, MaskCaster
from pad_inspection.offline.render_dataset.ldraw import OBJECT_FROM_LDRAW, Placement
from pad_inspection.offline.render_dataset.light import visible_change

CAMERA = Camera(120, 120, [[300.0, 0, 60], [0, 300.0, 60], [0, 0, 1]])


@pytest.fixture(scope='module')
def library():
    return ldraw.Library()


@pytest.fixture(scope='module')
def coupe(library):
    return Audit(PartShapes(library), vehicles.build(library, 'coupe'))


def on_belt(audit, turned=False):
    """world_from_model that puts a model's lowest point on the belt, upright or on its roof."""
    matrix = OBJECT_FROM_LDRAW.copy()
    if turned:
        matrix[1:3] *= -1
    clouds = [p.transform(audit.shapes.library.mesh(p.part).vertices) for p in audit.placements]
    points = np.concatenate(clouds) @ matrix[:3, :3].T
    matrix[:2, 3] = -(points.min(axis=0) + points.max(axis=0))[:2] / 2
    matrix[2, 3] = -points[:, 2].min()
    return matrix


def draws(kind, audit, world_from_model, count=10):
    rng = np.random.default_rng(3)
    found = []
    while len(found) < count:
        draw = defects.propose(kind, audit, world_from_model, rng)
        if draw:
            found.append(draw)
    return found


def test_lab():
    assert defects.lab([1.0, 1.0, 1.0]) == pytest.approx([100, 0, 0], abs=0.02)
    # sRGB red: L 53.24, a 80.09, b 67.20
    assert defects.lab([1.0, 0.0, 0.0]) == pytest.approx([53.24, 80.09, 67.20], abs=0.1)


def test_recolour_changes_one_color_clearly(coupe):
    library = coupe.shapes.library
    for parts, defect in draws('recolour', coupe, on_belt(coupe)):
        changed = [(a, b) for a, b in zip(coupe.placements, parts) if a.color != b.color]
        ((before, after),) = changed
        assert (before.id, after.color) == (defect.part_id, defect.color_after)
        colors = [defects.lab(library.colors[c].rgb) for c in (before.color, after.color)]
        assert np.linalg.norm(colors[0] - colors[1]) > defects.MIN_COLOR_CHANGE
        assert defect.part != '3829c01.dat'  # the steering wheel has colours of its own


@pytest.mark.parametrize('turned', [False, True])
def test_removed_part_leaves_a_whole_that_does_not_tilt(coupe, turned):
    world_from_model = on_belt(coupe, turned)
    for parts, defect in draws('removed', coupe, world_from_model):
        assert len(parts) == len(coupe.placements) - 1
        assert Audit(coupe.shapes, parts).num_components() == 1
        (gone,) = [p for p in coupe.placements if p.id == defect.part_id]
        assert defects.lowest_point(coupe, gone, world_from_model) >= defects.SUPPORT_M


@pytest.mark.parametrize('turned', [False, True])
def test_added_part_touches_nothing_it_should_not(coupe, turned):
    world_from_model = on_belt(coupe, turned)
    for parts, defect in draws('added', coupe, world_from_model, 6):
        extra = parts[-1]
        assert extra.id == defect.part_id and extra.id not in {p.id for p in coupe.placements}
        assert defects.lowest_point(coupe, extra, world_from_model) >= 0
        audit = Audit(coupe.shapes, parts)
        assert audit.collisions() == []
        assert audit.num_components() == 1


def test_nothing_is_added_inside_a_solid_plate(library):
    # a free stud of the lower plate beside a large one on the same level
    b = builder.Builder(library, 8)
    b.plate(0, 0, 0, 2, 2, builder.RED)
    b.plate(1, 0, 1, 4, 4, builder.RED)
    audit = Audit(PartShapes(library), b.placements)
    for parts, _ in draws('added', audit, on_belt(audit), 20):
        boxes = [audit.shapes.box(p) for p in parts]
        assert box_overlap(boxes[-1], boxes[0]) <= 1.0
        assert box_overlap(boxes[-1], boxes[1]) <= 1.0


def masks_of(library, intact, parts, defect, pose):
    world_from_model = OBJECT_FROM_LDRAW
    caster = MaskCaster(library, intact, parts, defect, world_from_model)
    ids = [Caster(library, p, world_from_model).ids(CAMERA, pose) for p in (intact, parts)]
    return caster.mask(CAMERA, pose), *ids


@pytest.fixture(scope='module')
def wall(library):
    """Two bricks behind each other, seen from the front: the first hides the second."""
    b = builder.Builder(library, 4)
    b.brick(0, 0, 0, 2, 1, builder.RED)
    b.brick(0, 1, 0, 2, 1, builder.BLUE)
    b.plate(0, 0, 3, 2, 2, builder.RED)
    return b.placements


FRONT = look_at([0.008, -0.12, 0.006], [0.008, 0.0, 0.006])
BACK = look_at([0.008, 0.16, 0.006], [0.008, 0.0, 0.006])


def test_recolour_mask_is_the_part(library, wall):
    defect = Defect('recolour', 1, wall[0].part, builder.RED, builder.YELLOW)
    parts = [Placement(1, wall[0].part, builder.YELLOW, wall[0].model_from_part), *wall[1:]]
    mask, before, _ = masks_of(library, wall, parts, defect, FRONT)
    assert mask.sum() > 500
    assert (mask == (before == 1)).all()
    hidden, *_ = masks_of(library, wall, parts, defect, BACK)
    assert not hidden.any()


def test_removed_part_shows_what_is_behind(library, wall):
    defect = Defect('removed', 1, wall[0].part, builder.RED, None)
    mask, before, after = masks_of(library, wall, wall[1:], defect, FRONT)
    assert (mask == (before == 1)).all()
    assert set(np.unique(after[mask])) == {0, 2, 3}  # belt, the brick behind, the plate above
    assert (after[mask] == 2).mean() > 0.8


def test_added_part_is_masked_beyond_the_silhouette(library, wall):
    matrix = np.eye(4)
    matrix[:3, 3] = (20, -32 - 24, 20)
    extra = Placement(4, '3005.dat', builder.GREEN, matrix)
    defect = Defect('added', 4, '3005.dat', None, builder.GREEN)
    mask, before, after = masks_of(library, wall, [*wall, extra], defect, FRONT)
    assert (mask == (after == 4)).all()
    assert (before[mask] == 0).mean() > 0.8 and mask.sum() > 200


def test_change_behind_clear_plastic_counts(library, wall):
    window = Placement(1, wall[0].part, builder.CLEAR, wall[0].model_from_part)
    intact = [window, *wall[1:]]
    changed = Placement(2, wall[1].part, builder.YELLOW, wall[1].model_from_part)
    defect = Defect('recolour', 2, wall[1].part, builder.BLUE, builder.YELLOW)
    parts = [window, changed, wall[2]]
    mask, before, _ = masks_of(library, intact, parts, defect, FRONT)
    assert mask.sum() > 500 and (before[mask] == 1).mean() > 0.9


def test_belt_hides_what_is_below(library, wall):
    sunk = OBJECT_FROM_LDRAW.copy()
    sunk[2, 3] = -0.0048  # half of the bricks' height, 12 LDU
    above = Caster(library, wall, OBJECT_FROM_LDRAW).hits(CAMERA, FRONT)
    below = Caster(library, wall, sunk).hits(CAMERA, FRONT)
    free = Caster(library, wall, sunk, belt=False).hits(CAMERA, FRONT)
    assert 0 < (below.ids > 0).sum() < (free.ids > 0).sum()
    front = above.ids == 1
    assert above.depth[front].min() == pytest.approx(0.12, abs=1e-3)
    assert above.normals[front].mean(axis=0) == pytest.approx([0, -1, 0], abs=0.05)
    assert (above.colors[front] == builder.RED).all()


def test_visible_change(library, wall):
    parts = [Placement(1, wall[0].part, builder.YELLOW, wall[0].model_from_part), *wall[1:]]
    before, after = (Caster(library, p, OBJECT_FROM_LDRAW) for p in (wall, parts))
    mask = before.ids(CAMERA, FRONT) == 1
    change = visible_change(library, before, after, CAMERA, FRONT, mask)
    assert change > 40
    assert visible_change(library, before, before, CAMERA, FRONT, mask) == 0
    assert np.isnan(visible_change(library, before, after, CAMERA, FRONT, mask & False))
