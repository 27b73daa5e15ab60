"""Bags: recorded from the nodes, replayed to them, read without ROS tools."""

import json
import time

import numpy as np
import pytest
from pad_msgs.msg import InspectionResultArray
from rclpy.serialization import deserialize_message

from helpers.small_dataset import SIZE, picture, write_dataset
from pad_inspection.ros import bag, conversions, interfaces
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
    with bag.BagRecorder(line.node, folder, topics, storage=storage) as recorder:
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
        ({'bag': str(tmp_path / 'nowhere')}, 'does not exist'),
        ({}, 'wanted one of them'),
        ({'class_dir': str(tmp_path / 'nowhere')}, 'nowhere'),
    ):
        process = line.graph.start(NodeSpec('replay_node', values))
        assert process.wait(60) == 2
        assert words in line.graph.log_tail('/replay_node')
