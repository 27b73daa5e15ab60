"""A thousand random and malformed messages into inspection_node: it lives, each is answered."""

from pad_msgs.msg import InspectionResult, ObjectTrigger

from helpers.random_messages import SPECIALS, Random
from helpers.ros_line import camera
from pad_inspection.ros import conversions, interfaces

NUM_MESSAGES = 1000


def test_random_messages_are_all_answered(line):
    cameras = ['plain', 'distorted', 'packed']
    line.start_inspection(
        cameras=cameras,
        image_topics=['image_rect_color', 'image_rect_color', 'image_rect_color/compressed'],
        distorted_cameras=['distorted'],
        queue_size=NUM_MESSAGES,
        camera_info_timeout=0.05,
        trigger_timeout=0.01,
    )
    line.publisher(interfaces.OBJECT_TRIGGER)
    random = Random(0)
    sent = []
    for index in range(NUM_MESSAGES):
        name = cameras[index % 3]
        header = line.header(name)
        info = random.info(conversions.camera_to_info(camera(), header))
        if not random(0.02):
            line.publish(interfaces.CAMERA_INFO, info, name)
        if random(0.1):
            stamp = trigger_stamp(random, header)
            names = random.pick([[], cameras, ['nobody'], ['\u2603']])
            trigger = ObjectTrigger(
                object_id=random.pick(['', 'p', '\u00e4' * 999]), cameras=names
            )
            trigger.header.stamp, trigger.position.x = stamp, random.pick(SPECIALS)
            line.publish(interfaces.OBJECT_TRIGGER, trigger)
        if name == 'packed':
            topic = interfaces.COMPRESSED_IMAGE.with_name('packed/image_rect_color/compressed')
            line.publish(topic, random.compressed(header), name)
        else:
            line.publish(interfaces.IMAGE, random.image(line.image(header=header)), name)
        sent.append((name, header.stamp))
    arrays = [line.received[interfaces.RESULTS.of(name)] for name in cameras]
    line.wait(lambda: sum(map(len, arrays)) >= NUM_MESSAGES, f'{NUM_MESSAGES} results', 300)
    results = [result for messages in arrays for m in messages for result in m.results]
    keys = [(r.camera_name, r.header.stamp.sec, r.header.stamp.nanosec) for r in results]
    assert sorted(keys) == sorted((n, s.sec, s.nanosec) for n, s in sent)

    reasons = [r.reason for r in results]
    assert InspectionResult.REASON_INTERNAL_ERROR not in reasons
    assert reasons.count(InspectionResult.REASON_IMAGE_INVALID) > 400
    undetermined = InspectionResult.VERDICT_UNDETERMINED
    assert all(r.message for r in results if r.verdict == undetermined)
    verdicts = {r.verdict for r in results}
    assert InspectionResult.VERDICT_PASS in verdicts
    good = line.image()
    line.send(good, name='plain')
    assert line.result_of(good.header, 'plain').verdict == InspectionResult.VERDICT_PASS


def trigger_stamp(random, header):
    """The image's own stamp, or a strange one."""
    stamp = type(header.stamp)(sec=header.stamp.sec, nanosec=header.stamp.nanosec)
    if random(0.5):
        stamp.sec = random.pick([0, -(2**31), 2**31 - 1])
    return stamp
