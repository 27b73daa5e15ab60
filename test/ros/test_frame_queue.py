import threading

from pad_inspection.ros.frame_queue import FrameQueue


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def make(**options):
    clock = Clock()
    return FrameQueue(['a', 'b'], clock=clock, **options), clock


def test_image_leaves_with_the_info_of_its_stamp():
    queue, _ = make()
    queue.put_camera_info('a', 'other', 6)
    queue.put_camera_info('a', 'info', 7)
    assert queue.put_image('a', 'image', 7) == []
    frame = queue.take()
    assert (frame.camera, frame.message, frame.info, frame.object_id) == (
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
        assert queue.put_image('a', f'image {stamp}', stamp) == []
    assert queue.put_image('b', 'other camera', 1) == []
    assert [f.message for f in queue.put_image('a', 'image 3', 3)] == ['image 1']
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
    queue.put_trigger('both', [], 1)
    queue.put_trigger('only b', ['b'], 2)
    queue.put_image('a', 'first', 1)
    queue.put_image('b', 'second', 2)
    assert [queue.take().object_id, queue.take().object_id] == ['both', 'only b']
    queue.put_image('a', 'not exposed by that trigger', 2)
    clock.now += 1
    assert queue.take().object_id is None


def test_trigger_tolerance_takes_the_nearest():
    queue, _ = make(trigger_timeout=1.0, trigger_tolerance=1e-6, info_timeout=0.0)
    queue.put_trigger('far', [], 10_000)
    queue.put_trigger('near', [], 10_900)
    queue.put_image('a', 'image', 10_800)
    assert queue.take().object_id == 'near'


def test_drain_hands_back_what_waits():
    queue, _ = make(size=2, trigger_timeout=9.0)
    queue.put_image('a', 'one', 1)
    queue.put_image('b', 'two', 2)
    queue.put_trigger('piece', ['b'], 2)
    assert {(f.message, f.object_id) for f in queue.drain()} == {('one', None), ('two', 'piece')}
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
    queue.take()
    assert not queue.wait_until_answered(0.0)
    queue.done()
    assert queue.wait_until_answered(0.0)
