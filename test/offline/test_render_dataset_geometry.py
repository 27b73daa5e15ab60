"""Brick geometry, designs, audit and stable poses, against values set by hand."""

import numpy as np
import pytest

from pad_inspection.offline.render_dataset import builder, ldraw, poses, vehicles
from pad_inspection.offline.render_dataset.audit import Audit, PartShapes, triangles_in_box


@pytest.fixture(scope='module')
def library():
    return ldraw.Library()


@pytest.fixture(scope='module')
def shapes(library):
    return PartShapes(library)


def volume(triangles):
    """Signed volume: positive when the triangles face outward."""
    a, b, c = np.moveaxis(triangles, 1, 0)
    return (a * np.cross(b, c)).sum() / 6


def test_brick_has_its_size_and_faces_outward(library, shapes):
    mesh = library.mesh('3005.dat')  # brick 1x1
    assert mesh.vertices.min(axis=0) == pytest.approx([-10, -4, -10])
    assert mesh.vertices.max(axis=0) == pytest.approx([10, 24, 10])
    low, high = shapes.body('3005.dat')
    assert low == pytest.approx([-10, 0, -10]) and high == pytest.approx([10, 24, 10])
    assert len(shapes.studs('3005.dat')) == 1
    # hollow below: between a third and the whole of its box
    assert 0.3 * 20 * 20 * 24 < volume(mesh.triangles) < 20 * 20 * 24
    assert set(mesh.triangle_colors) == {ldraw.INHERIT}


@pytest.mark.parametrize('part', ['3001', '3024', '3039', '6015', '3823', '4070'])
def test_all_parts_face_outward(library, part):
    assert volume(library.mesh(f'{part}.dat').triangles) > 0


def test_seam_shrinks_each_side(library):
    mesh = library.mesh('3005.dat').with_seam
    assert mesh.vertices.max(axis=0) == pytest.approx([9.9, 23.9, 9.9])
    assert mesh.vertices.min(axis=0) == pytest.approx([-9.9, -3.9, -9.9])


def test_colors(library):
    red = library.colors[4]
    assert red.name == 'Red' and red.rgb == pytest.approx((0.706, 0, 0), abs=0.002)
    assert library.colors[47].alpha == pytest.approx(128 / 255)
    assert library.colors[256].finish == 'RUBBER'


def test_missing_parts_and_library(library, tmp_path):
    with pytest.raises(KeyError, match=r'part 1234\.dat is not in the LDraw library'):
        library.mesh('1234.dat')
    with pytest.raises(FileNotFoundError, match='no LDraw library'):
        ldraw.Library(tmp_path)
    with pytest.raises(ValueError, match=r'1234\.dat'):
        ldraw.parse_ldr('1 4 0 0 0 1 0 0 0 1 0 0 0 1 1234.dat', library)
    with pytest.raises(ValueError, match='places no part'):
        ldraw.parse_ldr('0 nothing', library)


def test_model_round_trip(library):
    placements = vehicles.build(library, 'coupe')
    again = ldraw.parse_ldr(ldraw.format_ldr(placements, 'coupe'), library)
    assert [(p.id, p.part, p.color) for p in again] == [
        (p.id, p.part, p.color) for p in placements
    ]
    for a, b in zip(again, placements):
        assert a.model_from_part == pytest.approx(b.model_from_part)


def test_submodels_are_flattened(library):
    text = (
        '0 FILE main.ldr\n1 4 100 0 0 1 0 0 0 1 0 0 0 1 sub.ldr\n'
        '0 FILE sub.ldr\n1 16 0 -8 0 1 0 0 0 1 0 0 0 1 3024.dat\n'
    )
    (part,) = ldraw.parse_ldr(text, library)
    assert part.color == 4  # inherited
    assert part.model_from_part[:3, 3] == pytest.approx([100, -8, 0])


def test_stud_grid(library, shapes):
    b = builder.Builder(library, 4)
    b.brick(0, 0, 0, 4, 2, builder.RED)
    b.both(b.plate, 0, 2, 3, 1, 2, builder.BLUE)
    first, left, right = (shapes.box(p) for p in b.placements)
    assert first.center == pytest.approx([40, -12, 20])
    assert left.center == pytest.approx([10, -28, 60])
    assert right.center == pytest.approx([70, -28, 60])
    with pytest.raises(ValueError, match='no part of 3x3 studs'):
        b.brick(0, 0, 0, 3, 3, builder.RED)


@pytest.mark.parametrize('wheels', ['small', 'wide', 'balloon'])
def test_axle_plate_is_flush_with_what_is_above(library, shapes, wheels):
    b = builder.Builder(library, 4)
    b.axle(0, 0, wheels)
    b.plate(1, 0, 1, 2, 2, builder.BLACK)
    axle, chassis = b.placements[0], b.placements[-1]
    tops = {round((axle.model_from_part @ stud)[1, 3], 3) for stud in shapes.studs(axle.part)}
    assert tops == {-8.0}  # the studs stand on the axle's top face, under the plate of level 1
    assert shapes.box(chassis).center[1] + shapes.box(chassis).half[1] == pytest.approx(-8)
    audit = Audit(shapes, b.placements)
    assert audit.num_components() == 1 and audit.collisions() == []
    if wheels != 'small':
        tyres = [shapes.box(p) for p in b.placements if shapes.is_tyre(p.part)]
        # beside a body of four studs (80 LDU) around x = 40
        assert sorted(round(t.center[0]) for t in tyres) == [-14, 94]
        assert min(abs(t.center[0] - 40) - t.half[2] for t in tyres) >= 40 - 1e-6


@pytest.mark.parametrize('name', vehicles.CLASSES)
def test_vehicle_is_connected_and_nothing_collides(library, shapes, name):
    placements = vehicles.build(library, name)
    audit = Audit(shapes, placements)
    assert 45 <= len(placements) <= 75
    assert audit.num_components() == 1
    assert audit.collisions() == []


def test_audit_sees_gaps_and_overlaps(library, shapes):
    b = builder.Builder(library, 4)
    b.brick(0, 0, 0, 2, 2, builder.RED)
    b.brick(0, 0, 4, 2, 2, builder.RED)  # one plate too high
    assert Audit(shapes, b.placements).num_components() == 2
    b = builder.Builder(library, 4)
    b.brick(0, 0, 0, 2, 2, builder.RED)
    b.brick(1, 0, 2, 2, 2, builder.RED)
    audit = Audit(shapes, b.placements)
    assert audit.collisions() == [(0, 1)]
    b = builder.Builder(library, 6)
    b.axle(0, 0, 'wide')
    b.brick(0, 0, 1, 2, 2, builder.RED)  # in the tyre's place
    assert Audit(shapes, b.placements).collisions()


def test_unknown_class(library):
    with pytest.raises(ValueError, match='wanted one of police_car, coupe'):
        vehicles.build(library, 'bus')


def test_triangles_in_box_against_sampling():
    rng = np.random.default_rng(0)
    triangles = rng.uniform(-2, 2, (300, 3, 3))
    low, high = np.array([-1.0, -0.5, -0.8]), np.array([0.6, 0.9, 1.0])
    weights = rng.dirichlet(np.ones(3), 20000)
    points = np.einsum('sk,tkd->tsd', weights, triangles)
    sampled = ((points > low) & (points < high)).all(axis=2).any(axis=1)
    found = triangles_in_box(triangles, low, high)
    assert not (sampled & ~found).any()
    # samples miss a few that only touch a corner of the box
    assert (found & ~sampled).sum() <= 6


def test_cube_lies_on_each_face_alike():
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T.astype(float)
    found = poses.stable_poses(corners, np.zeros(3))
    assert [p.probability for p in found] == pytest.approx([1 / 6] * 6)
    ups = {tuple(np.round(p.rotation[2]).astype(int)) for p in found}
    assert len(ups) == 6
    for p in found:
        assert p.rotation @ p.rotation.T == pytest.approx(np.eye(3))


def test_flat_box_lies_on_its_largest_face():
    corners = np.array(np.meshgrid([-2, 2], [-1, 1], [-0.5, 0.5])).reshape(3, -1).T
    found = poses.stable_poses(corners.astype(float), np.zeros(3))
    assert sum(p.probability for p in found) == pytest.approx(1)
    assert abs(found[0].rotation[2, 2]) == pytest.approx(1)
    assert poses.upright(found).rotation[2, 2] == pytest.approx(1)
    # solid angle of a rectangle a x b at distance d: 4 atan(ab / (d sqrt(a^2 + b^2 + d^2)))
    angle = 4 * np.arctan(2 * 1 / (0.5 * np.sqrt(4 + 1 + 0.25)))
    assert found[0].probability == pytest.approx(angle / (4 * np.pi))


def test_face_rolls_over_when_the_mass_is_beyond_its_edge():
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-3, 3])).reshape(3, -1).T.astype(float)
    # a tower whose top is sheared sideways: it cannot stand
    corners[corners[:, 2] > 0, 0] += 8
    found = poses.stable_poses(corners, np.array([4.0, 0, 0]), min_probability=0)
    assert all(abs(p.rotation[2, 2]) < 0.99 for p in found if p.probability > 0)


def test_points_without_volume():
    with pytest.raises(ValueError, match='no convex hull'):
        poses.stable_poses(np.zeros((3, 3)), np.zeros(3))
