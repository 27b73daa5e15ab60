"""Pieces on the belt: travel, association of images, and what must not be guessed."""

import math

import pytest

from pad_inspection.ros.association import NO_PIECE, Match
from pad_inspection.ros.belt import BeltAssociation, BeltTravel
from pad_inspection.ros.belt_layout import layout_of, read_layout

S = 10**9


def layout(**options):
    values = {
        'speed': 0.5,
        'trigger_position': -1.0,
        'window': 0.05,
        'cameras': {'first': {'position': 0.0}, 'second': {'position': 0.5, 'window': 0.1}},
    }
    return layout_of(values | options)


def with_encoder(**options):
    return BeltAssociation(layout(speed=0.0, **options))


def test_travel_between_and_after_samples():
    travel = BeltTravel(0.0, max_speed=5.0, max_extrapolation=0.2)
    assert travel.at(S) is None
    assert travel.add(S, 10.0) and travel.add(2 * S, 10.5) and travel.add(3 * S, 10.5)
    assert travel.at(S) == 10.0 and travel.at(3 * S // 2) == 10.25
    assert travel.at(S - 1) is None
    travel.add(4 * S, 11.5)
    assert travel.at(4 * S + S // 10) == pytest.approx(11.6)
    assert travel.at(4 * S + S // 2) is None


def test_samples_that_cannot_follow_start_anew():
    travel = BeltTravel(0.0, max_speed=5.0, max_extrapolation=0.2)
    travel.add(S, 1.0)
    assert travel.add(S, 1.0)
    assert not travel.add(2 * S, 100.0)
    assert not travel.add(S, 100.5)
    assert travel.at(2 * S) is None
    with pytest.raises(ValueError, match='nan'):
        travel.add(9 * S, math.nan)


def test_a_belt_may_stop_and_go_back():
    travel = BeltTravel(0.0, max_speed=5.0, max_extrapolation=0.2)
    for second, x in enumerate((0.0, 1.0, 1.0, 0.4)):
        assert travel.add(second * S, x)
    assert travel.at(5 * S // 2) == pytest.approx(0.7)


def test_views_at_different_moments_are_of_one_piece():
    belt = BeltAssociation(layout())
    belt.add_trigger('p1', [], 10 * S)
    belt.add_trigger('p2', [], 11 * S, object_type='truck')
    # barrier at -1 m, 0.5 m/s: p1 reaches the cameras after 2 and 3 s
    assert belt.find('first', 12 * S) == Match('p1')
    assert belt.find('second', 13 * S) == Match('p1')
    assert belt.find('first', 13 * S) == Match('p2', 'truck')
    assert belt.find('first', 12 * S + S // 2) is None
    # within the window of 0.1 m
    assert belt.find('second', 14 * S + S // 10) == Match('p2', 'truck')
    assert belt.find('second', 14 * S + S // 2) is None


def test_an_encoder_tells_where_pieces_are_when_the_belt_stops():
    belt = with_encoder()
    belt.add_trigger('p', [], S)
    assert belt.find('first', S) is None and len(belt) == 1
    # stands still between 2 s and 10 s, 0.6 m behind the barrier; then goes on
    for second, x in ((0, 3.0), (1, 3.0), (2, 3.6), (10, 3.6), (11, 4.0), (12, 4.5)):
        belt.add_travel(second * S, x)
    assert belt.find('first', 3 * S) is None
    assert belt.find('first', 11 * S) == Match('p')
    assert belt.find('second', 12 * S) == Match('p')


def test_each_camera_gives_as_many_views_as_wanted():
    belt = BeltAssociation(layout(views_per_camera=2))
    belt.add_trigger('p', [], 0)
    found = [belt.find('first', 2 * S + k * S // 100) for k in range(4)]
    assert found == [Match('p'), Match('p'), NO_PIECE, NO_PIECE]
    assert belt.find('first', 2 * S) == Match('p')  # asked again for an image that it has
    assert belt.find('second', 3 * S) == Match('p')


def test_a_trigger_may_name_cameras():
    belt = BeltAssociation(layout())
    belt.add_trigger('p', ['second'], 0)
    assert belt.find('first', 2 * S) is None
    assert belt.find('second', 3 * S) == Match('p')


def test_an_image_between_two_pieces_is_of_none():
    belt = BeltAssociation(layout())
    belt.add_trigger('p1', [], 0)
    belt.add_trigger('p2', [], S // 10)
    # p1 is 25 mm behind the camera's position, p2 25 mm before it
    assert belt.find('first', 2 * S + S // 20) == NO_PIECE
    assert belt.counts['images between two pieces'] == 1
    assert belt.find('first', 2 * S) == Match('p1')


def test_a_jump_of_the_clock_loses_pieces_rather_than_mixing_them_up():
    belt = BeltAssociation(layout())
    belt.note_clock('first', 10 * S, 100.0)
    belt.note_clock('second', 10 * S - S // 3, 100.0)
    belt.add_trigger('p', [], 10 * S)
    belt.note_clock('first', 11 * S, 101.1)
    assert belt.find('first', 12 * S) == Match('p')
    belt.note_clock('first', 3600 * S, 102.0)
    assert len(belt) == 0 and belt.counts['clock jumps'] == 1
    assert belt.find('second', 13 * S) is None


def test_a_jump_of_the_clock_does_not_matter_with_an_encoder():
    belt = with_encoder()
    belt.add_travel(0, 0.0)
    belt.add_travel(S, 0.5)
    belt.add_trigger('p', [], S)
    belt.note_clock('first', S, 1.0)
    belt.note_clock('first', 9000 * S, 2.0)
    belt.add_travel(9000 * S, 1.0)
    belt.add_travel(9001 * S, 1.5)
    assert belt.find('first', 9001 * S) == Match('p')


def test_an_encoder_that_was_reset_loses_pieces():
    belt = with_encoder()
    belt.add_travel(0, 7.0)
    belt.add_travel(S, 7.5)
    belt.add_trigger('p', [], S)
    belt.add_travel(2 * S, -100.0)
    assert len(belt) == 0 and belt.counts['pieces lost track of'] == 1


def test_a_trigger_after_a_reset_may_come_before_the_samples():
    belt = with_encoder()
    belt.add_travel(0, 7.0)
    belt.add_travel(S, 7.5)
    belt.add_trigger('lost', [], S)
    belt.add_trigger('lost too', [], 2 * S - 1)
    belt.add_trigger('p', [], 2 * S)
    belt.add_travel(2 * S, -100.0)
    assert len(belt) == 1 and belt.counts['pieces lost track of'] == 2
    belt.add_travel(3 * S, -99.0)
    assert belt.find('first', 3 * S) == Match('p')


def test_what_was_seen_unannounced_becomes_a_piece():
    belt = BeltAssociation(layout(unannounced='inspect'))
    assert not belt.ignores_unknown
    match, is_new = belt.sight('first', 2 * S, x=0.02, object_type='truck')
    assert is_new and match == Match(f'seen-{2 * S}-first', 'truck')
    assert belt.find('second', 3 * S) == match
    assert belt.sight('first', 2 * S + 1, x=0.02) == (NO_PIECE, False)
    # where its pose is not known: where the camera looks
    other, is_new = belt.sight('first', 9 * S)
    assert is_new and belt.find('second', 10 * S) == other


def test_own_announcement_does_not_make_a_second_piece():
    belt = BeltAssociation(layout(unannounced='inspect'))
    match, _ = belt.sight('first', 2 * S, x=0.02)
    belt.add_trigger(match.object_id, [], 2 * S, 0.02)
    assert len(belt) == 1


@pytest.mark.parametrize('seen', [True, False])
def test_a_name_that_comes_again_is_a_piece_of_its_own(seen):
    """The first has its images, or left without any."""
    belt = BeltAssociation(layout())
    belt.add_trigger('p', [], 0)
    first = belt.find('first', 2 * S) if seen else None
    # one that comes twice changes nothing
    belt.add_trigger('p', [], 0)
    belt.add_trigger('p', [], 10 * S, object_type='truck')
    assert belt.counts['names used again'] == 1 and len(belt) == 1
    again = [belt.find(camera, at * S) for camera, at in (('first', 12), ('second', 13))]
    assert again == [Match('p', 'truck')] * 2 and again[0].use == again[1].use
    assert first is None or first.use != again[0].use
    assert belt.find('second', 3 * S) is None


def test_a_trigger_without_a_position_needs_the_barrier():
    belt = BeltAssociation(layout(trigger_position=math.nan))
    with pytest.raises(ValueError, match='trigger_position'):
        belt.add_trigger('p', [], 0)
    belt.add_trigger('p', [], 0, x=-0.25)
    assert belt.find('first', S // 2) == Match('p')


def test_memory_is_bounded():
    belt = BeltAssociation(layout())
    for index in range(2000):
        belt.add_trigger(f'p{index}', [], index * S)
    assert len(belt) <= 256
    encoder = with_encoder()
    for index in range(2000):
        encoder.add_trigger(f'p{index}', [], index * S)
    assert len(encoder) <= 1000


def test_layout_file(tmp_path):
    path = tmp_path / 'belt.yaml'
    path.write_text(
        'speed: 0.25\n'
        'cameras:\n'
        '  top: {position: 0.3, window: 0.08}\n'
        '  tilted:\n'
        '    conveyor_from_camera: {translation: [1.0, 0.0, 0.5], rotation_xyzw: [1, 0, 0, 0]}\n'
    )
    read = read_layout(path)
    assert read.speed == 0.25 and read.cameras['top'].window == 0.08
    # half a turn about x: looks straight down
    assert read.cameras['tilted'].position == 1.0 and read.cameras['tilted'].window == 0.05


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('speed: 1', 'cameras'),
        ('cameras: {}', 'no cameras'),
        ('sped: 1\ncameras: {a: {position: 0}}', 'sped'),
        ('speed: fast\ncameras: {a: {position: 0}}', 'fast'),
        ('cameras: {a: {}}', 'position is None'),
        ('cameras: {a: {position: 0, window: -1}}', 'window is -1'),
        ('cameras: {a: {place: 0}}', 'place'),
        ('cameras: {a: {conveyor_from_camera: {translation: [1]}}}', 'rotation_xyzw'),
        (
            'cameras: {a: {conveyor_from_camera: '
            '{translation: [0, 0, 1], rotation_xyzw: [0, 0, 0, 1]}}}',
            'look down',
        ),
        ('cameras: [', 'belt.yaml'),
    ],
)
def test_wrong_layouts_are_told(tmp_path, text, words):
    path = tmp_path / 'belt.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_layout(path)
    with pytest.raises(FileNotFoundError, match='nowhere'):
        read_layout(tmp_path / 'nowhere.yaml')
