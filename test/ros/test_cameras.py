"""inspection_node over DDS with several cameras, products, nodes, and a belt between them."""

import array
import time

import cv2
import numpy as np
import yaml
from pad_msgs.msg import InspectionResult
from pad_msgs.srv import ReloadModel
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import String

from helpers.ros_line import camera
from helpers.small_dataset import GREEN, picture
from helpers.small_inspector import write_bundle
from pad_inspection.ros import conversions, interfaces

S = 10**9
START_NS = 1_700_000_000 * S
UNDETERMINED, PASS, REJECT = (
    InspectionResult.VERDICT_UNDETERMINED,
    InspectionResult.VERDICT_PASS,
    InspectionResult.VERDICT_REJECT,
)
GREY = (120, 120, 120)


def belt_file(tmp_path, **options):
    values = {
        'trigger_position': -1.0,
        'cameras': {'left': {'position': 0.0}, 'right': {'position': 0.5}},
    }
    path = tmp_path / 'belt.yaml'
    path.write_text(yaml.safe_dump(values | options))
    return str(path)


def travel(line, seconds, x):
    """A sample of the encoder."""
    header = line.header(stamp_ns=START_NS + round(seconds * S))
    message = JointState(header=header, name=['belt'], position=[float(x)])
    line.publish(interfaces.BELT_STATE, message)


def shoot(line, name, seconds, **look):
    """Send an image of a camera; returns its header."""
    image = line.image(header=line.header(name, START_NS + round(seconds * S)), **look)
    line.send(image, name=name)
    return image.header


def test_views_along_the_belt_come_to_one_signal(line, tmp_path):
    """Free-running cameras, an encoder, a light barrier: two pieces, one of them defective."""
    cameras = ['left', 'right']
    line.start_inspection(
        cameras=cameras,
        association='belt',
        belt_layout=belt_file(tmp_path),
        queue_size=20,
        trigger_timeout=5.0,
    )
    line.start_reject(cameras=cameras, object_timeout=60.0)
    line.wait_served()
    signals = line.received[interfaces.REJECT_SIGNAL.name]
    line.publisher(interfaces.BELT_STATE)
    line.wait_connected()
    # 0.5 m/s; pieces pass the barrier at 0 s and 1 s, 1 m before the first camera
    for k in range(25):
        travel(line, k / 4, k / 8)
    line.trigger('p1', START_NS)
    line.trigger('p2', START_NS + S)
    seen = {
        ('left', 2.0): ('p1', PASS),
        ('left', 2.02): ('', UNDETERMINED),
        ('left', 2.5): ('', UNDETERMINED),
        ('left', 3.0): ('p2', REJECT),
        ('right', 3.0): ('p1', PASS),
        ('right', 4.02): ('p2', PASS),
        ('right', 5.5): ('', UNDETERMINED),
    }
    headers = {key: shoot(line, *key, defect=key == ('left', 3.0)) for key in seen}
    for (name, seconds), (object_id, verdict) in seen.items():
        result = line.result_of(headers[name, seconds], name)
        assert (result.object_id, result.verdict) == (object_id, verdict), (name, seconds)
        if not object_id:
            assert result.reason == InspectionResult.REASON_NO_PIECE
    line.wait(lambda: len(signals) == 2, 'two signals')
    by_id = {signal.object_id: signal for signal in signals}
    assert not by_id['p1'].reject and by_id['p1'].num_judged == 2
    assert by_id['p2'].reject and by_id['p2'].reason == InspectionResult.REASON_ANOMALY


def test_a_piece_that_nobody_announced_is_found_and_announced(line, tmp_path):
    cameras = ['left', 'right']
    triggers = line.listen(interfaces.OBJECT_TRIGGER)
    line.start_inspection(
        cameras=cameras,
        association='belt',
        belt_layout=belt_file(tmp_path, unannounced='inspect', expected_views=2),
        queue_size=20,
        trigger_timeout=1.0,
    )
    line.start_reject(cameras=cameras, object_timeout=60.0)
    line.wait_served()
    line.wait_connected()
    line.publisher(interfaces.BELT_STATE)
    line.wait_connected()
    for k in range(9):
        travel(line, k / 4, k / 8)
    first = shoot(line, 'left', 0)
    found = line.result_of(first, 'left')
    assert found.verdict == PASS and found.object_id.startswith('seen-')
    line.wait(lambda: triggers, 'announcement')
    assert triggers[0].object_id == found.object_id and triggers[0].position.x == 0.0
    empty = shoot(line, 'right', 0.2, color=GREY)
    assert line.result_of(empty, 'right').object_id == ''
    second = shoot(line, 'right', 1.0)
    assert line.result_of(second, 'right').object_id == found.object_id
    signals = line.received[interfaces.REJECT_SIGNAL.name]
    line.wait(lambda: signals, 'signal')
    assert not signals[0].reject and signals[0].object_id == found.object_id


def test_products_by_topic_trigger_and_recognition(line):
    green = write_bundle(line.path / 'green', model_id='green-model', color='green')
    line.publisher(interfaces.OBJECT_TYPE)
    line.start_inspection(
        bundles=[f'blue={line.bundle}', f'green={green}'], trigger_timeout=0.5, queue_size=20
    )
    models = line.received[interfaces.MODEL_INFO.name]
    line.wait(lambda: len(models) == 2, 'both models')
    assert {(m.object_type, m.model_id) for m in models} == {
        ('blue', 'small'),
        ('green', 'green-model'),
    }

    def send(**look):
        image = line.image(**look)
        line.send(image)
        return line.result_of(image.header)

    recognised = send(color=GREEN)
    assert (recognised.object_type, recognised.verdict) == ('green', PASS)
    assert recognised.model_id == 'green-model'
    defective = send(defect=True)
    assert (defective.object_type, defective.verdict) == ('blue', REJECT)
    nothing = send(color=GREY)
    assert nothing.object_type == '' and nothing.verdict == UNDETERMINED
    assert nothing.reason == InspectionResult.REASON_NOT_LOCALIZED

    line.publish(interfaces.OBJECT_TYPE, String(data='blue'))

    def is_blue_expected():
        result = send(color=GREEN)
        return (result.object_type, result.verdict) == ('blue', UNDETERMINED)

    line.wait(is_blue_expected, 'product of the topic')
    image = line.image(color=GREEN)
    stamp_ns = conversions.stamp_to_ns(image.header.stamp)
    line.trigger('p', stamp_ns, product='green')
    line.send(image)
    told = line.result_of(image.header)
    assert (told.object_type, told.verdict, told.object_id) == ('green', PASS, 'p')

    strict = write_bundle(line.path / 'strict', model_id='strict', threshold=1e6)
    for product, ok in (('red', False), ('', False), ('blue', True)):
        request = ReloadModel.Request(model_uri=str(strict), object_type=product)
        answer = line.call(ReloadModel, '/inspection_node/reload_model', request)
        assert (answer.result == ReloadModel.Response.RESULT_SUCCESS) == ok, answer.message
    assert answer.model.model_id == 'strict' and answer.model.object_type == 'blue'
    assert send(defect=True).verdict == PASS


def test_cameras_of_all_kinds_on_one_node(line):
    """A rectified, a distorted and a compressed one, fired together."""
    cameras = ['plain', 'fisheye', 'jpeg']
    line.start_inspection(
        cameras=cameras,
        image_topics=['image_rect_color', 'image_color', 'image_rect_color/compressed'],
        distorted_cameras=['fisheye'],
        trigger_timeout=30.0,
    )
    stamp_ns = START_NS
    line.trigger('p', stamp_ns, cameras)
    headers = {name: line.header(name, stamp_ns) for name in cameras}
    infos = {name: conversions.camera_to_info(camera(), headers[name]) for name in cameras}
    infos['fisheye'].distortion_model, infos['fisheye'].d = 'equidistant', [0.1, 0.0, 0.0, 0.0]
    infos['fisheye'].p = np.zeros(12)
    for name in cameras:
        line.publish(interfaces.CAMERA_INFO, infos[name], name)
    raw = {name: line.image(header=headers[name]) for name in cameras}
    data = cv2.imencode('.jpg', picture()[..., ::-1])[1].tobytes()
    jpeg = CompressedImage(header=headers['jpeg'], format='jpeg', data=array.array('B', data))
    line.publish(interfaces.IMAGE, raw['plain'], 'plain')
    line.publish(interfaces.IMAGE.with_name('fisheye/image_color'), raw['fisheye'])
    line.publish(interfaces.COMPRESSED_IMAGE.with_name('jpeg/image_rect_color/compressed'), jpeg)
    for name in cameras:
        result = line.result_of(headers[name], name)
        assert (result.verdict, result.object_id) == (PASS, 'p'), (name, result.message)


def test_two_nodes_share_the_cameras_of_one_piece(line):
    line.start_inspection(cameras=['left'], trigger_timeout=30.0)
    line.start_inspection(node_name='inspection_node_2', cameras=['right'], trigger_timeout=30.0)
    line.start_reject(cameras=['left', 'right'], object_timeout=60.0, diagnostics_period=0.1)
    line.wait_served()
    line.trigger('p', START_NS, ['left', 'right'])
    for name in ('left', 'right'):
        shoot(line, name, 0.0)
    signals = line.received[interfaces.REJECT_SIGNAL.name]
    line.wait(lambda: signals, 'signal')
    assert not signals[0].reject and signals[0].num_judged == 2
    assert line.graph.names[:2] == ['/inspection_node', '/inspection_node_2']


def test_a_deadline_holds_while_an_inspection_runs(line):
    """The result comes at the deadline, not after the inspection; and only once."""
    write_bundle(line.bundle, delay_s=2.0)
    line.start_inspection(deadline=0.4, queue_size=5)
    sent = [line.image() for _ in range(3)]
    for image in sent:
        line.send(image)
    for image in sent:
        result = line.result_of(image.header)
        assert result.reason == InspectionResult.REASON_DEADLINE_MISSED
        duration = result.processing_time.sec + result.processing_time.nanosec / 1e9
        assert 0.4 <= duration < 2.0
    results = line.received[interfaces.RESULTS.of('camera')]
    end = time.monotonic() + 2.5  # the worker is done with the first image by then
    while time.monotonic() < end:
        line.executor.spin_once(timeout_sec=0.1)
    assert len(results) == 3
