"""Faults at the cameras over DDS: nothing is lost, nothing passes that was not judged."""

import array
import time

import cv2
import yaml
from pad_msgs.msg import InspectionResult
from pad_msgs.srv import ReloadModel
from sensor_msgs.msg import CompressedImage, RegionOfInterest

from helpers.ros_line import camera
from helpers.small_dataset import picture
from helpers.small_inspector import write_bundle
from pad_inspection.ros import conversions, interfaces

S = 10**9
START_NS = 1_700_000_000 * S
CAMERAS = ['left', 'right']
PASS = InspectionResult.VERDICT_PASS


def signals_of(line, count):
    """Signals by piece; exactly one for each."""
    signals = line.received[interfaces.REJECT_SIGNAL.name]
    line.wait(lambda: len(signals) >= count, f'{count} signals')
    by_id = {signal.object_id: signal for signal in signals}
    assert len(by_id) == len(signals)
    return by_id


def assert_passes_were_judged(line, signals, cameras):
    """Each pass stands on as many results PASS as it has views."""
    results = {
        result.inspection_id: result
        for name in cameras
        for message in line.received[interfaces.RESULTS.of(name)]
        for result in message.results
    }
    for signal in signals:
        if not signal.reject:
            judged = [results[i].verdict for i in signal.inspection_ids]
            assert judged == [PASS] * signal.num_views and judged


def expose(line, object_id, stamp_ns, cameras=CAMERAS, expected=CAMERAS):
    """A trigger for all expected cameras, images of some of them."""
    line.trigger(object_id, stamp_ns, expected)
    for name in cameras:
        image = line.image(header=line.header(name, stamp_ns))
        line.send(image, name=name)


def test_a_camera_that_stops_rejects_and_is_reported(line):
    diagnostics = line.listen(interfaces.DIAGNOSTICS)
    line.start_inspection(
        cameras=CAMERAS, trigger_timeout=30.0, camera_timeout=1.0, diagnostics_period=0.2
    )
    line.start_reject(cameras=CAMERAS, object_timeout=4.0)
    line.wait_served()
    expose(line, 'whole', START_NS)
    signals_of(line, 1)

    def warned():
        states = [s for m in diagnostics[-20:] for s in m.status if s.name.endswith('cameras')]
        return any(s.level == s.WARN and 'right' in s.message for s in states)

    def stopped():
        # the left one goes on; its pieces wait for the other one in vain
        stamp_ns = START_NS + len(sent) * S
        expose(line, f'half {len(sent)}', stamp_ns, cameras=['left'])
        sent.append(stamp_ns)
        return warned()

    sent = [START_NS]
    line.wait(stopped, 'warning about the right camera')
    expose(line, 'whole again', START_NS - S)
    signals = signals_of(line, len(sent) + 1)
    halves = [s for name, s in signals.items() if name.startswith('half')]
    assert len(halves) == len(sent) - 1 and all(s.reject for s in halves)
    assert all(s.reason == InspectionResult.REASON_DEADLINE_MISSED for s in halves)
    assert not signals['whole'].reject and not signals['whole again'].reject
    assert_passes_were_judged(line, signals.values(), CAMERAS)


def test_images_that_cannot_be_used_reject_their_piece_only(line):
    """Each is told from its own fields; what the fields say of a good one is obeyed."""
    cameras = ['raw', 'packed']
    line.start_inspection(
        cameras=cameras,
        image_topics=['image_rect_color', 'image_rect_color/compressed'],
        distorted_cameras=['raw'],
        trigger_timeout=30.0,
    )
    line.start_reject(cameras=cameras, object_timeout=60.0, **{'decision.min_views': len(cameras)})
    line.wait_served()
    jpeg = cv2.imencode('.jpg', picture()[..., ::-1])[1].tobytes()
    exchanged = cv2.imencode('.jpg', picture())[1].tobytes()
    small = cv2.imencode('.jpg', picture(size=32)[..., ::-1])[1].tobytes()
    # what differs of the JPEG image, of the raw one, and of the raw one's calibration
    cases = {
        'good 1': ({}, {}, {}),
        'good exchanged': (
            {'data': exchanged, 'format': 'rgb8; jpeg compressed rgb8'}, {}, {}
        ),
        'truncated': ({'data': jpeg[: len(jpeg) // 3]}, {}, {}),
        'other size': ({'data': small}, {}, {}),
        'depth': ({'format': '16UC1; compressedDepth png'}, {}, {}),
        'encoding': ({}, {'encoding': '8UC3'}, {}),
        'lens': ({}, {}, {'distortion_model': 'thin_prism_fisheye', 'd': [0.0] * 4}),
        'region': ({}, {}, {'roi': RegionOfInterest(x_offset=9, y_offset=9)}),
        'good 2': ({}, {}, {}),
    }  # fmt: skip
    for index, (name, changes) in enumerate(cases.items()):
        stamp_ns = START_NS + index * S
        headers = {camera_name: line.header(camera_name, stamp_ns) for camera_name in cameras}
        line.trigger(name, stamp_ns, cameras)
        raw = with_values(line.image(header=headers['raw']), changes[1])
        info = conversions.camera_to_info(camera(), headers['raw'])
        line.send(raw, name='raw', info=with_values(info, changes[2]))
        info = conversions.camera_to_info(camera(), headers['packed'])
        line.publish(interfaces.CAMERA_INFO, info, 'packed')
        topic = interfaces.COMPRESSED_IMAGE.with_name('packed/image_rect_color/compressed')
        packed = {'data': jpeg, 'format': 'jpeg'} | changes[0]
        message = CompressedImage(header=headers['packed'], format=packed['format'])
        message.data = array.array('B', packed['data'])
        line.publish(topic, message)
        signals_of(line, index + 1)
    signals = signals_of(line, len(cases))
    good = {name for name in cases if name.startswith('good')}
    assert {name for name, signal in signals.items() if not signal.reject} == good
    for name in cases.keys() - good:
        assert signals[name].reason == InspectionResult.REASON_IMAGE_INVALID, name
    assert_passes_were_judged(line, signals.values(), cameras)


def with_values(message, values):
    """A message with other values in some fields."""
    for name, value in values.items():
        setattr(message, name, value)
    return message


def test_a_jump_of_the_clock(line, tmp_path):
    """Pieces on the belt are rejected, later ones are judged; each image is answered."""
    layout = {
        'speed': 0.5,
        'cameras': {'left': {'position': 0.0}, 'right': {'position': 0.5}},
    }
    path = tmp_path / 'belt.yaml'
    path.write_text(yaml.safe_dump(layout))
    line.start_inspection(
        cameras=CAMERAS,
        association='belt',
        belt_layout=str(path),
        queue_size=20,
        trigger_timeout=4.0,
    )
    line.start_reject(cameras=CAMERAS, object_timeout=20.0)
    line.wait_served()
    begin, headers = time.monotonic(), []

    def now_ns(jump_s=0):
        return START_NS + jump_s * S + round((time.monotonic() - begin) * S)

    def pass_by(object_id, jump_s, is_seen_by):
        # at the first camera when announced
        line.trigger(object_id, now_ns(jump_s), x=0.0)
        for name in CAMERAS:
            if name == 'right':
                due = time.monotonic() + 1.0
                line.wait(lambda due=due: time.monotonic() >= due, 'piece at the right camera')
            if name in is_seen_by:
                image = line.image(header=line.header(name, now_ns(jump_s)))
                line.send(image, name=name)
                headers.append((image.header, name))

    pass_by('before', 0, CAMERAS)
    pass_by('during', 0, ['left'])
    jump_s = -7200
    # both cameras show that the clock has been set back
    for name in CAMERAS:
        image = line.image(header=line.header(name, now_ns(jump_s)))
        line.send(image, name=name)
        headers.append((image.header, name))
    for header, name in headers:
        line.result_of(header, name)
    pass_by('after', jump_s, CAMERAS)
    for header, name in headers:
        line.result_of(header, name)
    signals = signals_of(line, 3)
    assert not signals['before'].reject and not signals['after'].reject
    assert signals['during'].reject
    assert_passes_were_judged(line, signals.values(), CAMERAS)


def test_ten_times_more_images_than_can_be_inspected(line):
    write_bundle(line.bundle, delay_s=0.2)
    # nothing may be lost on the way: the node is what is tested
    line.start_inspection(cameras=['left'], trigger_timeout=30.0, image_buffer=1000)
    line.start_reject(cameras=['left'], object_timeout=600.0)
    line.wait_served()
    begin, headers = time.monotonic(), {}
    for index in range(100):
        due = begin + index * 0.02
        line.wait(lambda due=due: time.monotonic() >= due, 'time of the next image')
        stamp_ns = START_NS + index * S // 50
        defect = index % 10 == 3
        line.trigger(f'p{index}', stamp_ns, ['left'])
        image = line.image(defect, header=line.header('left', stamp_ns))
        line.send(image, name='left')
        headers[f'p{index}'] = image.header, defect
    results = {name: line.result_of(header, 'left') for name, (header, _) in headers.items()}
    dropped = [r for r in results.values() if r.reason == InspectionResult.REASON_FRAME_DROPPED]
    judged = [r for r in results.values() if r.verdict]
    assert len(judged) >= 2 and len(dropped) > 50 and len(judged) + len(dropped) == 100
    assert all(results[f'p{index}'].object_id == f'p{index}' for index in range(100))
    signals = signals_of(line, 100)
    assert sorted(signals) == sorted(headers)
    for name, signal in signals.items():
        assert signal.reject == (results[name].verdict != PASS)
    assert_passes_were_judged(line, signals.values(), ['left'])


def test_a_reload_between_two_images_loses_none(line):
    """While images come a damaged bundle changes nothing, a good one the model of later ones."""
    line.start_inspection(queue_size=1000)
    write_bundle(line.path / 'next', model_id='next')
    damaged = write_bundle(line.path / 'damaged')
    (damaged / 'model.json').write_text('{"model_id": ')
    client = line.node.create_client(ReloadModel, '/inspection_node/reload_model')
    line.wait(client.service_is_ready, 'service')
    headers, answers = [], []
    for uri in ('damaged', 'next'):
        request = ReloadModel.Request(model_uri=str(line.path / uri))
        future = client.call_async(request)

        def send_until_answered(future=future):
            image = line.image()
            line.send(image)
            headers.append(image.header)
            return future.done()

        line.wait(send_until_answered, f'reload of {uri}')
        answers.append(future.result().result)
        for _ in range(3):
            send_until_answered()
        line.result_of(headers[-1])
    codes = ReloadModel.Response
    assert answers == [codes.RESULT_INVALID, codes.RESULT_SUCCESS]
    results = [line.result_of(header) for header in headers]
    assert all(r.verdict == PASS for r in results)
    ids = [r.model_id for r in results]
    assert ids == sorted(ids, reverse=True) and set(ids) == {'small', 'next'}
