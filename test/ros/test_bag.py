"""Bags: recorded from the nodes, replayed to them, read without ROS tools."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from pad_msgs.msg import InspectionResult, InspectionResultArray, ObjectTrigger
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from helpers.ros_line import camera as small_camera
from helpers.small_dataset import SIZE, picture, write_dataset
from helpers.small_inspection_node import load_small
from helpers.small_inspector import write_bundle
from pad_inspection import cli
from pad_inspection.ros import bag, bag_inspection, conversions, interfaces
from pad_inspection.ros.graph import NodeSpec

CAMERAS = ['camera_0', 'camera_1']


def replay(line, **parameters):
    """Play something and wait until it is done."""
    values = {'exit_when_done': True, 'rate': 50.0, **parameters}
    process = line.graph.start(NodeSpec('replay_node', values))
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        line.executor.spin_once(timeout_sec=0.05)
    assert process.poll() == 0, line.graph.log_tail('/replay_node')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_recorded_line_gives_the_same_verdicts_when_replayed(line, tmp_path, storage):
    class_dir = write_dataset(tmp_path, ('good', 'added'), views=2)
    line.start_inspection(cameras=CAMERAS, trigger_timeout=30.0, queue_size=10)
    topics = {interfaces.OBJECT_TRIGGER.name: interfaces.OBJECT_TRIGGER.message}
    for camera in CAMERAS:
        for topic in (interfaces.IMAGE, interfaces.CAMERA_INFO, interfaces.RESULTS):
            topics[topic.of(camera)] = topic.message
    folder = tmp_path / 'bag'
    with bag.BagRecorder(
        line.node, folder, topics, storage=storage, reliable_images=True
    ) as recorder:
        # 2 pieces: a trigger each, and image, CameraInfo and result of 2 cameras
        replay(line, class_dir=str(class_dir), min_listeners=2)
        line.wait(lambda: recorder.num_messages == 14, '14 recorded messages')

    assert bag.bag_topics(folder) == {f'/{name}': kind for name, kind in topics.items()}
    messages = list(bag.read_bag(folder))
    assert len(messages) == 14
    image = next(m for m in messages if m.topic == '/camera_0/image_rect_color')
    decoded = bag.type_store().deserialize_cdr(image.data, image.message_type)
    assert decoded.encoding == 'rgb8' and image.stamp_ns == (
        decoded.header.stamp.sec * 10**9 + decoded.header.stamp.nanosec
    )
    np.testing.assert_array_equal(decoded.data.reshape(SIZE, SIZE, 3), picture())

    recorded = results_of(messages)
    assert len(recorded) == 4
    live = {n: list(m) for n, m in line.received.items()}
    for name in line.received:
        line.received[name].clear()
    replay(line, bag=str(folder))
    line.wait(
        lambda: sum(len(line.received[interfaces.RESULTS.of(c)]) for c in CAMERAS) == 4,
        'results of the replayed bag',
    )
    for camera in CAMERAS:
        name = interfaces.RESULTS.of(camera)
        again = {verdict_key(a) for a in line.received[name]}
        assert again == {verdict_key(a) for a in live[name]} <= recorded


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_inspect_writes_a_bag_with_results(tmp_path, storage, monkeypatch):
    """A bag as another tool writes it: an image before its CameraInfo, one damaged, a trigger."""
    source, target = tmp_path / 'recorded', tmp_path / 'inspected'
    cases = {1: (False, 'rgb8'), 2: (True, 'rgb8'), 3: (False, '8UC3')}
    with bag.BagWriter(source, storage=storage) as writer:
        for second, (defect, encoding) in cases.items():
            header = Header(stamp=Time(sec=second), frame_id='camera_0_optical_frame')
            image = conversions.array_to_image(picture(defect), 'rgb8', header)
            image.encoding = encoding
            trigger = ObjectTrigger(header=header, object_id=f'piece {second}')
            for topic, message in (
                (interfaces.IMAGE, image),
                (interfaces.CAMERA_INFO, conversions.camera_to_info(small_camera(), header)),
                (interfaces.OBJECT_TRIGGER, trigger),
            ):
                name, data = f'/{topic.of("camera_0")}', serialize_message(message)
                writer.write(name, topic.message, second * 10**9, data)
    bundle = write_bundle(tmp_path / 'bundle')
    command = ['bag', 'inspect', str(source), '--bundle', str(bundle), '--out', str(target)]
    inspect_bag = partial(bag_inspection.inspect_bag, load=load_small)
    monkeypatch.setattr(bag_inspection, 'inspect_bag', inspect_bag)
    assert cli.main([*command, '--storage', storage]) == 0

    messages = list(bag.read_bag(target))
    found = {}
    for message in messages:
        if message.message_type == interfaces.RESULTS.message:
            (result,) = deserialize_message(message.data, InspectionResultArray).results
            found[result.object_id] = result.verdict
            assert result.camera_name == 'camera_0' and result.model_id == 'small'
    assert found == {
        'piece 1': InspectionResult.VERDICT_PASS,
        'piece 2': InspectionResult.VERDICT_REJECT,
        'piece 3': InspectionResult.VERDICT_UNDETERMINED,
    }
    # what was recorded is there unchanged, and what people look at
    recorded = [(m.topic, m.time_ns, m.data) for m in bag.read_bag(source)]
    assert set(recorded) <= {(m.topic, m.time_ns, m.data) for m in messages}
    topics = bag.bag_topics(target)
    for topic in (interfaces.OVERLAY, interfaces.HEATMAP, interfaces.MARKERS):
        assert topics[f'/{topic.of("camera_0")}'] == topic.message
    overlays = [m for m in messages if m.topic == '/camera_0/debug/overlay']
    assert [m.stamp_ns for m in overlays] == [10**9, 2 * 10**9]
    # results of an inspected bag are made anew, not doubled
    again = tmp_path / 'again'
    counts = inspect_bag(target, bundle, again)
    assert counts == {'PASS': 1, 'REJECT': 1, 'UNDETERMINED': 1}
    kinds = [m.message_type for m in bag.read_bag(again)]
    assert kinds.count(interfaces.RESULTS.message) == 3
    assert cli.main(command) == 2  # the target exists


def test_mcap_is_read_by_an_independent_reader(tmp_path):
    """mcap-ros2-support decodes by the definitions in the file itself."""
    decoder = pytest.importorskip('mcap_ros2.decoder', reason='needs mcap-ros2-support')
    from mcap.reader import make_reader

    header = Header(stamp=Time(sec=5), frame_id='camera_0_optical_frame')
    result = InspectionResult(header=header, object_id='p', anomaly_score=1.5, verdict=2)
    array = InspectionResultArray(header=header, results=[result])
    image = conversions.array_to_image(picture(), 'rgb8', header)
    folder = tmp_path / 'bag'
    with bag.BagWriter(folder) as writer:
        for topic, message in ((interfaces.RESULTS, array), (interfaces.IMAGE, image)):
            name = f'/{topic.of("camera_0")}'
            writer.write(name, topic.message, 5 * 10**9, serialize_message(message))
    (path,) = folder.glob('*.mcap')
    with path.open('rb') as stream:
        reader = make_reader(stream, decoder_factories=[decoder.DecoderFactory()])
        decoded = {channel.topic: m for _, channel, _, m in reader.iter_decoded_messages()}
    read = decoded['/camera_0/inspection_results'].results[0]
    assert (read.object_id, read.anomaly_score, read.verdict) == ('p', 1.5, 2)
    assert bytes(decoded['/camera_0/image_rect_color'].data) == picture().tobytes()


def test_record_and_play_from_the_command_line(line, tmp_path):
    """`pad bag record` of a line, ended by Ctrl-C; `pad bag play` shows it again."""
    folder = tmp_path / 'bag'
    pad = [sys.executable, '-m', 'pad_inspection.cli', 'bag']
    env = line.graph.environment
    words = ['record', str(folder), '--cameras', 'camera_0', '--reliable']
    log = tmp_path / 'log.txt'
    with log.open('w') as stream:
        recorder = subprocess.Popen([*pad, *words], env=env, stdout=stream, stderr=stream)
    try:
        sent = [line.image(header=line.header('camera_0')) for _ in range(3)]
        for image in sent:
            line.send(image, name='camera_0')
        line.wait(lambda: '6 messages so far' in log.read_text(), 'recorded messages')
    finally:
        recorder.send_signal(signal.SIGINT)
        code = recorder.wait(60)
    assert code == 0 and f'6 messages in {folder}' in log.read_text()
    shown = line.listen(interfaces.IMAGE, 'camera_0')
    infos = line.listen(interfaces.CAMERA_INFO, 'camera_0')
    done = subprocess.Popen([*pad, 'play', str(folder), '--rate', '100'], env=env)
    line.wait(lambda: done.poll() is not None, 'end of play')
    assert done.returncode == 0
    # what was sent before both ends knew each other may be missing, never wrong
    stamps = [image.header.stamp for image in sent]
    assert all(message.header.stamp in stamps for message in [*shown, *infos])


def results_of(messages):
    """Verdicts among recorded messages, decoded by rclpy."""
    return {
        verdict_key(deserialize_message(m.data, InspectionResultArray))
        for m in messages
        if m.message_type == interfaces.RESULTS.message
    }


def verdict_key(array):
    result = array.results[0]
    return (
        result.camera_name,
        conversions.stamp_to_ns(result.header.stamp),
        result.object_id,
        result.verdict,
    )


def test_types_have_the_hashes_of_the_built_messages():
    store = bag.type_store()
    share = interfaces.package_share('pad_msgs')
    for path in sorted((share / 'msg').glob('*.json')):
        name = f'pad_msgs/msg/{path.stem}'
        hashes = json.loads(path.read_text())['type_hashes']
        (built,) = [h['hash_string'] for h in hashes if h['type_name'] == name]
        assert store.hash_rihs01(name) == built, name


def test_wrong_bags_are_told(tmp_path, line):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        bag.bag_topics(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='no rosbag2'):
        bag.bag_topics(tmp_path / 'empty')
    with pytest.raises(FileExistsError):
        bag.BagRecorder(line.node, tmp_path / 'empty', {})
    for values, words in (
        ({'bag': str(tmp_path / 'empty')}, 'no rosbag2'),
        ({}, 'wanted one of them'),
        ({'class_dir': str(tmp_path / 'empty')}, 'test.json'),
    ):
        process = line.graph.start(NodeSpec('replay_node', values))
        assert process.wait(60) == 2
        assert words in line.graph.log_tail('/replay_node')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_that_cannot_be_finished_is_removed(tmp_path, storage):
    folder, limit = tmp_path / 'bag', resource.getrlimit(resource.RLIMIT_FSIZE)
    kind = interfaces.REPLAY_STATUS.message
    try:
        with pytest.raises(OSError, match=f'bag {folder} cannot be written'):
            with bag.BagWriter(folder, storage=storage) as writer:
                resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limit[1]))
                for _ in range(50):
                    writer.write('/a', kind, 1, os.urandom(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not folder.exists()
    with pytest.raises(ValueError, match='^mine$'), bag.BagWriter(folder, storage=storage):
        raise ValueError('mine')
    assert not folder.exists()
