"""LineExecutor with real nodes in one process, on a domain of its own."""

import itertools
import threading
import time

import pytest
import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from std_msgs.msg import Int64
from std_srvs.srv import Trigger

from pad_inspection.ros.executor import LineExecutor, QuickCallbackGroup
from pad_inspection.ros.graph import ros_environment

PATIENCE_S = 60.0
KEEP_ALL = QoSProfile(depth=5000)


class Pair:
    """A node that receives by LineExecutor, and one that sends."""

    def __init__(self, domain_id):
        self._context = Context()
        rclpy.init(args=[], context=self._context, domain_id=domain_id)
        self.receiver = rclpy.create_node('receiver', context=self._context)
        self.sender = rclpy.create_node('sender', context=self._context)
        self.executor = LineExecutor(2, context=self._context)
        self.executor.add_node(self.receiver)
        self.sending = SingleThreadedExecutor(context=self._context)
        self.sending.add_node(self.sender)

    def close(self):
        self.executor.shutdown()
        self.sending.shutdown()
        for node in (self.receiver, self.sender):
            node.destroy_node()
        self._context.try_shutdown()

    def topic(self, name, callback, group):
        """Publisher of a topic that the receiver has."""
        self.receiver.create_subscription(Int64, name, callback, KEEP_ALL, callback_group=group)
        publisher = self.sender.create_publisher(Int64, name, KEEP_ALL)
        end = time.monotonic() + PATIENCE_S
        while not publisher.get_subscription_count():
            assert time.monotonic() < end, f'{name} does not connect'
            time.sleep(0.005)
        return lambda number: publisher.publish(Int64(data=number))

    def spin(self, condition, what):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f'no {what}'
            self.executor.spin_once(timeout_sec=0.2)


@pytest.fixture
def pair(monkeypatch, domain_id):
    for name, value in ros_environment().items():
        monkeypatch.setenv(name, value)
    made = Pair(domain_id)
    yield made
    made.close()


def test_quick_callbacks_run_where_it_spins_while_a_slow_one_runs_in_the_pool(pair):
    begun, may_end, slow, quick = threading.Event(), threading.Event(), [], []

    def on_slow(message):
        begun.set()
        assert may_end.wait(PATIENCE_S)
        slow.append((message.data, threading.current_thread()))

    send_slow = pair.topic('slow', on_slow, MutuallyExclusiveCallbackGroup())
    send_quick = pair.topic(
        'quick',
        lambda message: quick.append((message.data, threading.current_thread())),
        QuickCallbackGroup(),
    )
    send_slow(1)
    pair.spin(begun.is_set, 'beginning of the slow callback')
    for number in range(5):
        send_quick(number)
    pair.spin(lambda: len(quick) == 5, 'quick messages')
    assert quick == [(number, threading.current_thread()) for number in range(5)]
    assert not slow
    may_end.set()
    pair.spin(lambda: slow, 'end of the slow callback')
    assert slow[0][0] == 1 and slow[0][1] is not threading.current_thread()


def test_every_message_arrives_in_order_and_each_topic_has_its_turn(pair):
    """Topic a is flooded before and while it is read; b and c are not kept waiting by it."""
    received, group = [], QuickCallbackGroup()
    backlog, added = 300, 300
    send = {}

    def note(name):
        def callback(message):
            received.append((name, message.data))
            if name == 'a':
                time.sleep(0.001)
                # the flood goes on: for each message that is read comes another
                if message.data < added:
                    send['a'](backlog + message.data)

        return callback

    for name in 'abc':
        send[name] = pair.topic(name, note(name), group)
    for number in range(backlog):
        send['a'](number)
    for number in range(20):
        send['b'](number)
        send['c'](number)
    pair.spin(lambda: len(received) == backlog + added + 40, 'all messages')
    for name, count in (('a', backlog + added), ('b', 20), ('c', 20)):
        assert [number for topic, number in received if topic == name] == list(range(count))
    # from when it is there on, each topic is read as often as the flooded one
    for name in 'bc':
        places = [i for i, (topic, _) in enumerate(received) if topic == name]
        floods = [
            sum(topic == 'a' for topic, _ in received[first:last])
            for first, last in itertools.pairwise(places)
        ]
        assert sorted(floods)[len(floods) // 2] <= 2, floods
        assert places[-1] < received.index(('a', backlog + added - 1))


def test_messages_of_a_pool_group_arrive_in_order_and_one_at_a_time(pair):
    received, running, together = [], [], []
    group = MutuallyExclusiveCallbackGroup()

    def note(name):
        def callback(message):
            running.append(name)
            together.append(len(running))
            time.sleep(0.001)
            received.append((name, message.data))
            running.pop()

        return callback

    send = {name: pair.topic(name, note(name), group) for name in 'ab'}
    for number in range(50):
        for name in 'ab':
            send[name](number)
    pair.spin(lambda: len(received) == 100, 'all messages')
    for name in 'ab':
        assert [number for topic, number in received if topic == name] == list(range(50))
    assert set(together) == {1}


@pytest.mark.parametrize('group', [QuickCallbackGroup, MutuallyExclusiveCallbackGroup])
def test_an_exception_of_a_callback_ends_the_spinning(pair, group):
    def fail(message):
        raise KeyError(message.data)

    pair.topic('bad', fail, group())(7)
    with pytest.raises(KeyError, match='7'):
        pair.spin(lambda: False, 'exception')
    # it is told once
    for _ in range(3):
        pair.executor.spin_once(timeout_sec=0.01)


def test_shutdown_waits_for_the_pool_and_begins_nothing(pair):
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def answer(_, response):
        begun.set()
        assert may_end.wait(PATIENCE_S)
        ended.append(1)
        response.success = True
        return response

    pair.receiver.create_service(
        Trigger, 'slow', answer, callback_group=MutuallyExclusiveCallbackGroup()
    )
    client = pair.sender.create_client(Trigger, 'slow')
    assert client.wait_for_service(PATIENCE_S)
    future = client.call_async(Trigger.Request())
    pair.spin(begun.is_set, 'beginning of the service')
    late = []
    send = pair.topic('late', late.append, MutuallyExclusiveCallbackGroup())
    send(1)
    closing = threading.Thread(target=pair.executor.shutdown)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive() and not ended
    may_end.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive() and ended == [1]
    # and its answer has gone out
    pair.sending.spin_until_future_complete(future, PATIENCE_S)
    assert future.result().success and not late
