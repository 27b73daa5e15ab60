import math
import threading

from pad_inspection.ros.association import Match, TriggerAssociation
from pad_inspection.ros.belt import BeltAssociation
from pad_inspection.ros.belt_layout import layout_of
from pad_inspection.ros.frame_queue import FrameQueue


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def make(trigger_timeout=0.0, trigger_tolerance=0.0, **options):
    clock = Clock()
    association = TriggerAssociation(trigger_timeout, trigger_tolerance)
    return FrameQueue(['a', 'b'], association, clock=clock, **options), clock


def put_trigger(queue, object_id, cameras, stamp_ns):
    queue.update_association(lambda a: a.add_trigger(object_id, cameras, stamp_ns))


def test_image_leaves_with_the_info_of_its_stamp():
    queue, _ = make()
    queue.put_camera_info('a', 'other', 6)
    queue.put_camera_info('a', 'info', 7)
    assert queue.put_image('a', 'image', 7) == ([], [])
    frame = queue.take()
    assert (frame.camera, frame.message, frame.info, frame.match) == (
        'a',
        'image',
        'info',
        None,
    )


def test_info_may_come_after_the_image():
    queue, _ = make()
    queue.put_image('a', 'image', 7)
    taken = []
    worker = threading.Thread(target=lambda: taken.append(queue.take()))
    worker.start()
    queue.put_camera_info('b', 'of another camera', 7)
    queue.put_camera_info('a', 'info', 7)
    worker.join(10)
    assert taken[0].info == 'info'


def test_latest_info_serves_all_stamps_when_not_exact():
    queue, _ = make(exact_info=False)
    queue.put_camera_info('a', 'old', 1)
    queue.put_camera_info('a', 'new', 2)
    queue.put_image('a', 'image', 99)
    assert queue.take().info == 'new'


def test_without_info_the_image_leaves_when_its_time_is_over():
    queue, clock = make(info_timeout=2.0)
    queue.put_image('a', 'image', 7)
    clock.now += 2.0
    assert queue.take().info is None


def test_a_newer_image_replaces_the_oldest_of_its_camera():
    queue, _ = make(size=2)
    for stamp in (1, 2):
        assert queue.put_image('a', f'image {stamp}', stamp) == ([], [])
    assert queue.put_image('b', 'other camera', 1) == ([], [])
    assert [f.stamp_ns for f in queue.put_image('a', 'image 3', 3)[0]] == [1]
    assert len(queue) == 3


def test_oldest_image_of_all_cameras_goes_first():
    queue, clock = make()
    for camera in ('b', 'a'):
        queue.put_camera_info(camera, 'info', 1)
        queue.put_image(camera, camera, 1)
        clock.now += 1
    assert [queue.take().camera, queue.take().camera] == ['b', 'a']


def test_an_incomplete_image_does_not_hold_up_another_camera():
    queue, clock = make(info_timeout=5.0)
    queue.put_image('a', 'no info', 1)
    clock.now += 1
    queue.put_camera_info('b', 'info', 1)
    queue.put_image('b', 'complete', 1)
    assert queue.take().message == 'complete'


def test_trigger_names_the_object_by_camera_and_stamp():
    queue, clock = make(trigger_timeout=1.0, size=3, info_timeout=0.0)
    put_trigger(queue, 'both', [], 1)
    put_trigger(queue, 'only b', ['b'], 2)
    queue.put_image('a', 'first', 1)
    queue.put_image('b', 'second', 2)
    assert [queue.take().match, queue.take().match] == [Match('both'), Match('only b')]
    queue.put_image('a', 'not exposed by that trigger', 2)
    clock.now += 1
    assert queue.take().match is None


def test_trigger_tolerance_takes_the_nearest():
    queue, _ = make(trigger_timeout=1.0, trigger_tolerance=1e-6, info_timeout=0.0)
    put_trigger(queue, 'far', [], 10_000)
    put_trigger(queue, 'near', [], 10_900)
    queue.put_image('a', 'image', 10_800)
    assert queue.take().match == Match('near')


def test_drain_hands_back_what_waits():
    queue, _ = make(size=2, trigger_timeout=9.0)
    queue.put_image('a', 'one', 1)
    queue.put_image('b', 'two', 2)
    put_trigger(queue, 'piece', ['b'], 2)
    assert {(f.message, f.match) for f in queue.drain()} == {
        ('one', None),
        ('two', Match('piece')),
    }
    assert len(queue) == 0


def test_close_wakes_the_worker():
    queue, _ = make()
    taken = []
    worker = threading.Thread(target=lambda: taken.append(queue.take()))
    worker.start()
    queue.close()
    worker.join(10)
    assert taken == [None]


def test_wait_until_answered():
    queue, _ = make(info_timeout=0.0)
    assert queue.wait_until_answered(0.0)
    queue.put_image('a', 'image', 1)
    frame = queue.take()
    assert not queue.wait_until_answered(0.0)
    queue.done(frame)
    assert queue.wait_until_answered(0.0)


def test_only_one_answer_may_be_given():
    queue, _ = make(info_timeout=0.0)
    queue.put_image('a', 'image', 1)
    frame = queue.take()
    assert queue.claim_answer(frame) and not queue.claim_answer(frame)


def test_images_expire_whether_they_wait_or_are_in_work():
    queue, clock = make(info_timeout=0.0, size=3)
    queue.put_image('a', 'in work', 1)
    in_work = queue.take()
    queue.put_image('a', 'waits', 2)
    clock.now += 2.0
    queue.put_image('a', 'new', 3)
    assert queue.expire(2.5) == []
    assert [f.message for f in queue.expire(2.0)] == ['in work', 'waits']
    queue.claim_answer(in_work)
    assert queue.expire(2.0) == [] and len(queue) == 1


def belt_queue(**options):
    """Camera a looks at 0 m; the belt moves at 1 m/s; a piece is seen within +- 10 mm."""
    values = {'speed': 1.0, 'window': 0.01, 'cameras': {'a': {'position': 0.0}}}
    association = BeltAssociation(layout_of(values | options))
    return FrameQueue(['a'], association, info_timeout=0.0)


def test_an_image_of_the_empty_belt_never_costs_one_of_a_piece():
    queue = belt_queue()
    queue.update_association(lambda b: b.add_trigger('piece', [], 10**9, -0.1))
    at_camera_ns = 10**9 + 10**8
    assert queue.put_image('a', 'piece', at_camera_ns) == ([], [])
    replaced, needless = queue.put_image('a', 'empty', at_camera_ns + 10**9)
    assert replaced == [] and [f.message for f in needless] == ['empty']
    assert queue.take().match == Match('piece')


def test_an_unknown_image_gives_way_to_one_of_a_piece():
    queue = belt_queue(unannounced='inspect')
    queue.put_image('a', 'unknown', 1)
    queue.update_association(lambda b: b.add_trigger('piece', [], 10**9, 0.0))
    replaced, _ = queue.put_image('a', 'piece', 10**9)
    assert [f.stamp_ns for f in replaced] == [1]
    replaced, _ = queue.put_image('a', 'unknown', 5 * 10**9)
    assert [f.stamp_ns for f in replaced] == [5 * 10**9]
    assert queue.take().message == 'piece'


def test_a_replaced_image_is_answered_for_its_piece_when_the_trigger_comes_later():
    queue, clock = make(trigger_timeout=1.0, info_timeout=0.0)
    queue.put_image('a', 'old', 1)
    assert queue.put_image('a', 'new', 2) == ([], [])
    put_trigger(queue, 'piece', [], 1)
    frame = queue.take()
    assert frame.replaced and frame.match == Match('piece') and frame.message is None
    queue.put_image('a', 'newest', 3)
    assert len(queue) == 2
    clock.now += 1.0
    assert [queue.take().replaced, queue.take().replaced] == [True, False]


def test_replaced_images_are_drained_and_expire_too():
    queue, clock = make(trigger_timeout=9.0)
    for stamp in (1, 2):
        queue.put_image('a', 'image', stamp)
    clock.now += 1.0
    assert [f.stamp_ns for f in queue.expire(1.0)] == [1, 2]
    for stamp in (3, 4):
        queue.put_image('a', 'image', stamp)
    assert [f.stamp_ns for f in queue.drain()] == [3, 4] and len(queue) == 0


def test_memory_of_replaced_images_is_bounded():
    queue, _ = make(trigger_timeout=3600.0)
    given_up = [f.stamp_ns for stamp in range(1000) for f in queue.put_image('a', 'i', stamp)[0]]
    assert len(queue) == 257 and given_up == list(range(743))


def taken(queue):
    queue.put_camera_info('a', 'info', 7)
    queue.put_image('a', 'image', 7)
    return queue.take()


def test_a_held_image_is_taken_once_more_after_what_it_waits_for():
    queue, clock = make(exact_info=False)
    queue.put_camera_info('b', 'info', 7)
    first = taken(queue)
    clock.now += 1.0
    queue.put_image('b', 'later', 7)
    asked = []

    def seconds_left(waiting, now):
        asked.append(([frame.camera for frame in waiting], now))
        return None if waiting else 0.0

    assert queue.hold(first, 'found', seconds_left)
    queue.done(first)
    assert len(queue) == 2
    second = queue.take()
    assert second.camera == 'b' and second.first is None
    assert queue.take() is first and first.first == 'found'
    assert asked[0] == (['b'], clock.now) and not len(queue)


def test_a_held_image_is_answered_once_when_its_time_is_over_or_all_end():
    queue, clock = make()
    frame = taken(queue)
    assert queue.hold(frame, 'found', lambda waiting, now: 1000.0)
    clock.now += 5.0
    assert queue.expire(10.0) == []
    assert queue.expire(5.0) == [frame] and queue.claim_answer(frame)
    assert queue.expire(5.0) == queue.drain() == [] and not len(queue)

    queue, _ = make()
    frame = taken(queue)
    assert queue.hold(frame, 'found', lambda waiting, now: 1000.0)
    assert queue.drain() == [frame] and queue.wait_until_answered(0.0)

    # the deadline came while it was inspected
    queue, clock = make()
    frame = taken(queue)
    assert queue.expire(0.0) == [frame] and queue.claim_answer(frame)
    assert not queue.hold(frame, 'found', lambda waiting, now: 0.0)
    queue.done(frame)
    assert not len(queue) and queue.wait_until_answered(0.0)


def test_of_two_pieces_with_one_stamp_an_image_shows_neither():
    queue, _ = make(trigger_timeout=5.0)
    put_trigger(queue, 'p1', ['a'], 7)
    put_trigger(queue, 'p1', ['a'], 7)
    put_trigger(queue, 'p2', ['b'], 7)
    queue.put_camera_info('a', 'info', 7)
    queue.put_image('a', 'image', 7)
    assert queue.take().match == Match('p1')
    # now of both, or of two products
    put_trigger(queue, 'p2', ['a'], 7)
    queue.put_image('a', 'image', 7)
    frame = queue.take()
    assert frame.match.object_id == ''
    assert frame.match.fault == '2 triggers are of its stamp, wanted one: p1, p2'
    queue.update_association(lambda a: a.add_trigger('p2', ['b'], 7, object_type='truck'))
    queue.put_image('b', 'image', 7)
    assert 'p2, p2 truck' in queue.take().match.fault
    counts = queue.update_association(lambda a: a.counts)
    assert counts['images of two pieces at once'] == 2


def test_a_name_that_comes_again_much_later_is_another_piece():
    association, s = TriggerAssociation(), 10**9
    for seconds in (0, 5, 100, 101):
        association.add_trigger('p', [], seconds * s)
    uses = [association.find('a', seconds * s).use for seconds in (0, 5, 100, 101)]
    assert uses[0] == uses[1] != uses[2] == uses[3]
    for number in range(2000):
        association.add_trigger(f'other {number}', [], 101 * s)
    association.add_trigger('p', [], 102 * s)
    assert association.find('a', 102 * s).use not in uses
    assert len(association._uses) <= 256


def test_an_image_is_as_old_as_its_message():
    queue, clock = make(trigger_timeout=5.0)
    queue.put_image('a', 'old', 7, age=4.0)
    queue.put_image('b', 'new', 7)
    assert [f.message for f in queue.expire(3.0)] == ['old']
    clock.now += 2.0
    assert not queue.expire(3.0)


def test_when_the_clock_is_set_back_nothing_waits_on():
    queue, clock = make(trigger_timeout=5.0, info_timeout=5.0, size=2)
    queue.put_image('b', 'held', 7)
    queue.put_camera_info('b', 'info', 7)
    put_trigger(queue, 'p', ['b'], 7)
    held = queue.take()
    queue.hold(held, 'first', lambda waiting, now: held.arrived + 5.0 - now)
    queue.put_image('a', 'waits', 7)
    clock.now -= 1000.0
    assert {queue.take().message, queue.take().message} == {'held', 'waits'}
    queue.put_image('a', 'late', 8)
    clock.now -= 1000.0
    assert [f.message for f in queue.expire(3600.0)][-1] == 'late'
    assert queue.age(held) == math.inf


def test_simulated_time_may_run_while_a_queue_waits():
    queue, clock = make(info_timeout=1000.0, is_simulated=True)
    queue.put_image('a', 'image', 7)
    taken = []
    worker = threading.Thread(target=lambda: taken.append(queue.take()))
    worker.start()
    worker.join(0.1)
    assert not taken
    clock.now += 1000.0
    worker.join(10)
    assert taken[0].info is None


def test_an_answer_that_is_given_back_may_be_given_once_more():
    queue, _ = make()
    queue.put_image('a', 'image', 7)
    (frame,) = queue.drain()
    assert queue.claim_answer(frame) and not queue.claim_answer(frame)
    queue.give_back_answer(frame)
    assert queue.claim_answer(frame) and not queue.claim_answer(frame)
