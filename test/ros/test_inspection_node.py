"""inspection_node over DDS: images in, results out."""

import array
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from lifecycle_msgs.srv import ChangeState
from pad_msgs.msg import InspectionResult
from pad_msgs.srv import ReloadModel
from sensor_msgs.msg import CompressedImage

from helpers.ros_line import camera
from helpers.small_dataset import SIZE, picture
from helpers.small_inspector import write_bundle
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.graph import NodeDiedError, NodeSpec
from pad_inspection.ros.model_loading import bundle_path

UNDETERMINED, PASS, REJECT = (
    InspectionResult.VERDICT_UNDETERMINED,
    InspectionResult.VERDICT_PASS,
    InspectionResult.VERDICT_REJECT,
)


def test_verdicts_maps_debug_pictures_and_triggers(line):
    maps = line.listen(interfaces.ANOMALY_MAP)
    overlays = line.listen(interfaces.OVERLAY)
    references = line.listen(interfaces.REFERENCE)
    markers = line.listen(interfaces.MARKERS)
    line.start_inspection(trigger_timeout=30.0)

    good = line.image()
    stamp_ns = conversions.stamp_to_ns(good.header.stamp)
    line.send(good)
    line.trigger('piece 7', stamp_ns, ['camera'], 1)
    result = line.result_of(good.header)
    assert (result.verdict, result.reason) == (PASS, InspectionResult.REASON_NONE)
    assert result.object_id == 'piece 7' and result.camera_name == 'camera'
    assert result.header == good.header and result.model_id == 'small'
    assert result.object_threshold == 1.0 and result.inspection_id

    bad = line.image(defect=True)
    line.trigger('piece 8', conversions.stamp_to_ns(bad.header.stamp), [], 1)
    line.send(bad)
    result = line.result_of(bad.header)
    assert (result.verdict, result.reason) == (REJECT, InspectionResult.REASON_ANOMALY)
    assert result.object_id == 'piece 8' and len(result.regions) == 1

    line.wait(lambda: len(overlays) == len(references) == 2, 'debug pictures')
    assert overlays[1].header == bad.header and overlays[1].encoding == 'rgb8'
    line.wait(lambda: len(maps) == 2 and len(markers) == 2, 'maps and markers')
    scores = conversions.image_to_array(maps[1])
    assert maps[1].header == bad.header and scores.shape == (SIZE, SIZE)
    assert np.isnan(scores[0, 0]) and scores[SIZE // 2, SIZE // 2] == 1.0
    assert len(markers[1].markers) == 2 and markers[1].markers[1].pose.position.z > 0.2


def test_results_tell_what_the_views_of_a_piece_say_together(line):
    # topics have no order among each other, and a new one is heard only once it is connected
    line.publisher(interfaces.OBJECT_TRIGGER)
    line.start_inspection(
        inspector='helpers.small_inspector:JoiningInspector', trigger_timeout=60.0
    )
    for number, (name, defect) in enumerate(
        [('a', False), ('b', True), ('a', False), ('b', True)]
    ):
        picture = line.image(defect)
        line.trigger(name, conversions.stamp_to_ns(picture.header.stamp), ['camera'], 2)
        line.send(picture)
        result = line.result_of(picture.header)
        if number < 2:
            assert np.isnan(result.piece_score) and result.piece_views == 0
        else:
            assert result.piece_views == 2 and 'join' in result.step_names
            assert (result.piece_score > 0.5) == defect


def test_bad_input_is_answered_and_the_node_goes_on(line):
    line.start_inspection(camera_info_timeout=0.3)

    def image(**changes):
        message = line.image()
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    def info_with(message, **changes):
        info = conversions.camera_to_info(camera(), message.header)
        for name, value in changes.items():
            setattr(info, name, value)
        return info

    no_info = image()
    nan_info = image()
    wrong_size = image()
    stampless = line.image(header=line.header(stamp_ns=0))
    cases = [
        (image(encoding='8UC3'), True, '8UC3'),
        (image(encoding='\u2603'), True, 'encoding'),
        (image(width=0, height=0, step=0, data=array.array('B')), True, 'size is 0x0'),
        (image(data=array.array('B', bytes(10))), True, '10 bytes'),
        (image(step=1), True, 'step 1'),
        (image(width=2**32 - 1, height=2**32 - 1), True, 'size is'),
        (no_info, False, 'no CameraInfo on camera/camera_info'),
        (nan_info, info_with(nan_info, p=np.full(12, np.nan)), 'CameraInfo.p holds NaN'),
        (wrong_size, info_with(wrong_size, width=SIZE + 1), 'CameraInfo says'),
        (stampless, True, 'no stamp'),
    ]
    for message, info, words in cases:
        line.send(message, info=info)
        result = line.result_of(message.header)
        assert (result.verdict, result.reason) == (
            UNDETERMINED,
            InspectionResult.REASON_IMAGE_INVALID,
        ), words
        assert words in result.message
        assert np.isnan(result.anomaly_score)

    empty = line.image()
    empty.data = array.array('B', bytes(SIZE * SIZE * 3))
    line.send(empty)
    assert line.result_of(empty.header).reason == InspectionResult.REASON_NOT_LOCALIZED

    good = line.image()
    line.send(good)
    assert line.result_of(good.header).verdict == PASS


def test_replaced_and_late_images_are_answered(line):
    write_bundle(line.bundle, delay_s=0.5)
    line.start_inspection(queue_size=1)
    sent = [line.image() for _ in range(6)]
    for message in sent:
        line.send(message)
    results = [line.result_of(message.header) for message in sent]
    dropped = [r for r in results if r.reason == InspectionResult.REASON_FRAME_DROPPED]
    assert results[-1].verdict == PASS
    assert 3 <= len(dropped) <= 5 and all(r.verdict == UNDETERMINED for r in dropped)

    line.graph.stop()
    for name in list(line.received):
        line.received[name].clear()
    write_bundle(line.bundle, delay_s=0.4)
    line.start_inspection(deadline=0.2, queue_size=5)
    message = line.image()
    line.send(message)
    result = line.result_of(message.header)
    assert (result.verdict, result.reason) == (
        UNDETERMINED,
        InspectionResult.REASON_DEADLINE_MISSED,
    )


def test_lifecycle(line):
    line.start_inspection(autostart=False, diagnostics_period=0.1)
    assert line.state() == 'unconfigured'
    assert not line.transition('activate')
    assert line.transition('configure')
    assert line.state() == 'inactive'

    diagnostics = line.listen(interfaces.DIAGNOSTICS)
    while_inactive = line.image()
    line.send(while_inactive)

    def ignored():
        values = {v.key: v.value for m in diagnostics for s in m.status for v in s.values}
        return values.get('ignored while inactive') == '1'

    line.wait(ignored, 'count of ignored images')
    assert line.transition('activate')
    first = line.image()
    line.send(first)
    assert line.result_of(first.header).verdict == PASS
    results = line.received['camera/inspection_results']
    assert all(r.header.stamp != while_inactive.header.stamp for r in results)

    # an image without trigger and CameraInfo waits; deactivation answers it
    waiting = line.image()
    line.send(waiting, info=False)
    queued = []

    def is_queued():
        queued[:] = [
            v.value for s in diagnostics[-1].status for v in s.values if v.key == 'queued'
        ]
        return queued == ['1'] or any(r.header.stamp == waiting.header.stamp for r in results)

    line.wait(is_queued, 'queued image')
    assert line.transition('deactivate')
    result = line.result_of(waiting.header)
    assert result.verdict == UNDETERMINED
    assert line.transition('cleanup')
    assert line.state() == 'unconfigured'

    (line.bundle / 'model.json').unlink()
    assert not line.transition('configure')
    assert line.state() == 'unconfigured'
    write_bundle(line.bundle)
    assert line.transition('configure') and line.transition('activate')
    last = line.image(defect=True)
    line.send(last)
    assert line.result_of(last.header).verdict == REJECT
    assert line.transition('shutdown')
    process = line.graph.process('/inspection_node')
    assert process.wait(30) == 0


def test_reload_keeps_the_old_model_on_failure(line):
    line.start_inspection()
    models = line.received[interfaces.MODEL_INFO.name]

    def reload(uri):
        request = ReloadModel.Request(model_uri=str(uri))
        return line.call(ReloadModel, '/inspection_node/reload_model', request)

    codes = ReloadModel.Response
    damaged = write_bundle(line.path / 'damaged')
    (damaged / 'model.json').write_text('{')
    other_version = write_bundle(line.path / 'version', version='9')
    for uri, code in (
        (line.path / 'nowhere', codes.RESULT_NOT_FOUND),
        (damaged, codes.RESULT_INVALID),
        (other_version, codes.RESULT_UNSUPPORTED_VERSION),
        ('http://somewhere/model', codes.RESULT_INVALID),
        ('package://no_such_package/model', codes.RESULT_NOT_FOUND),
    ):
        answer = reload(uri)
        assert answer.result == code, answer.message
        assert answer.message and answer.model.model_id == 'small'
    assert len(models) == 1

    strict = write_bundle(line.path / 'strict', model_id='strict', threshold=1e6)
    answer = reload(strict.as_uri())
    assert answer.result == codes.RESULT_SUCCESS and answer.model.model_id == 'strict'
    line.wait(lambda: [m.model_id for m in models] == ['small', 'strict'], 'model_info')
    bad = line.image(defect=True)
    line.send(bad)
    result = line.result_of(bad.header)
    assert result.verdict == PASS and result.model_id == 'strict'
    assert reload('').model.model_id == 'strict'


def test_best_effort_camera(line):
    line.start_inspection(reliable_images=False, camera_info_sync='latest', queue_size=50)
    results = line.received['camera/inspection_results']

    def sent_and_answered():
        line.send(line.image())
        return results

    line.wait(sent_and_answered, 'result of a best-effort image')
    assert results[0].results[0].verdict == PASS


def test_raw_and_compressed_cameras_with_other_names(line):
    line.start_inspection(
        cameras=['left'], compressed=True, image_topic='image_color', camera_info_sync='latest'
    )
    header = line.header('left')
    line.publish(interfaces.CAMERA_INFO, conversions.camera_to_info(camera(), header), 'left')
    data = cv2.imencode('.png', picture(True)[..., ::-1])[1].tobytes()
    header = line.header('left')
    topic = interfaces.COMPRESSED_IMAGE.with_name('left/image_color/compressed')
    line.publish(topic, CompressedImage(header=header, format='png', data=array.array('B', data)))
    assert line.result_of(header, 'left').verdict == REJECT


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'bundle': '/nowhere/at/all'}, 'does not exist'),
        ({'bundle': ''}, "'bundle' is ''"),
    ],
)
def test_a_node_that_cannot_start_says_why(line, values, words):
    with pytest.raises(NodeDiedError, match=words):
        line.start_inspection(**values)
    assert line.graph.process('/inspection_node').returncode == 1


def test_unknown_parameter_on_the_command_line(line):
    command = [sys.executable, '-m', 'pad_inspection.ros.inspection_node', '--ros-args']
    done = subprocess.run(
        [*command, '-p', 'bundel:=x'],
        env=line.graph.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and 'bundel' in done.stderr


@pytest.mark.parametrize('pause_s', [0.0, 0.02])
def test_two_interrupts_end_it_cleanly_and_answer_what_waits(line, pause_s):
    write_bundle(line.bundle, delay_s=0.3)
    line.start_inspection(queue_size=10)
    sent = [line.image() for _ in range(4)]
    for message in sent:
        line.send(message)
    line.result_of(sent[0].header)
    process = line.graph.process('/inspection_node')
    process.send_signal(signal.SIGINT)
    time.sleep(pause_s)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    arrays = line.received['camera/inspection_results']
    end = time.monotonic() + 10
    while len(arrays) < len(sent) and time.monotonic() < end:
        line.executor.spin_once(timeout_sec=0.1)
    assert len(arrays) == len(sent)
    assert 'Traceback' not in line.graph.log_tail('/inspection_node')


@pytest.mark.parametrize('way', ['autostart', 'configure', 'reload'])
def test_told_to_end_while_models_load_it_ends_after_the_one_that_loads(line, way):
    """Whoever asked for the models: start-up, a lifecycle manager, or the reload service."""
    slow = write_bundle(line.path / 'slow', load_s=2.0)
    products = {'bundles': [f'a={slow}', f'b={slow}']}
    if way == 'reload':
        line.start_inspection()
        request = ReloadModel.Request(model_uri=str(slow))
        client = line.node.create_client(ReloadModel, '/inspection_node/reload_model')
    else:
        values = line.inspection_parameters(**products, autostart=way == 'autostart')
        line.graph.start(NodeSpec('inspection_node', values))
        request = ChangeState.Request()
        request.transition.label = 'configure'
        client = line.node.create_client(ChangeState, '/inspection_node/change_state')
    if way != 'autostart':
        line.wait(client.service_is_ready, 'service')
        client.call_async(request)

    def log():
        return (line.path / 'log' / 'inspection_node.log').read_text()

    line.wait(lambda: f'loading {slow}' in log(), 'beginning of the load')
    process = line.graph.process('/inspection_node')
    for _ in range(2):
        process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert 'told to end while a model was loaded' in log()
    assert log().count(f'loading {slow}') == 1 and f'loaded {slow}' not in log()
    assert way == 'reload' or 'active: model' not in log()
    assert 'Traceback' not in log() and 'cannot configure' not in log()


def test_bundle_path():
    assert str(bundle_path('file:///models/a%20b')) == '/models/a b'
    assert str(bundle_path('models/a')) == 'models/a'
    share = bundle_path('package://pad_msgs/msg')
    assert (share / 'InspectionResult.msg').is_file()
    with pytest.raises(FileNotFoundError):
        bundle_path('package://no_such_package/x')


def test_parameters_of_the_graph_are_checked(line):
    with pytest.raises(ValueError, match='bundel'):
        line.graph.start(NodeSpec('inspection_node', {'bundel': 'x'}))
