"""A line for tests: nodes as processes, and a test node that plays camera, PLC and gate."""

import math
import os
import time

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from lifecycle_msgs.srv import ChangeState, GetState
from pad_msgs.msg import InspectionResult, InspectionResultArray, ObjectTrigger
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header

from helpers.small_dataset import SIZE, picture
from helpers.small_inspection_node import PROGRAMS, SMALL, program
from helpers.small_inspector import write_bundle
from pad_inspection.datatypes import Camera
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.domains import ReservedDomain
from pad_inspection.ros.graph import NodeGraph, NodeSpec, ros_environment

# Generous: other work may run on the machine. Nothing waits as long when it works.
PATIENCE_S = 120.0


def camera(size=SIZE):
    return Camera(size, size, np.array([[90.0, 0, size / 2], [0, 90, size / 2], [0, 0, 1]]))


class Line:
    """Context: ``start`` nodes, ``publish``, ``listen``, ``wait``."""

    def __init__(self, tmp_path):
        self.path = tmp_path
        self.bundle = write_bundle(tmp_path / 'bundle')
        self.received = {}
        self._publishers = {}
        self._subscriptions = []
        self._stamp_ns = 1_700_000_000 * 10**9

    def __enter__(self):
        self._domain = ReservedDomain()
        self._environment = dict(os.environ)
        os.environ.update(self._domain.environment)
        os.environ.update(ros_environment(log_dir=self.path / 'log'))
        self.graph = NodeGraph([], log_dir=self.path / 'log', programs=PROGRAMS)
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node('test_node')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        return self

    def __exit__(self, *_):
        codes = self.graph.stop()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()
        self._domain.release()
        os.environ.clear()
        os.environ.update(self._environment)
        killed = [name for name, code in codes.items() if code == -9]
        logs = '\n'.join((self.path / 'log' / f'{name[1:]}.log').read_text() for name in killed)
        assert not killed or getattr(self, 'may_be_killed', False), f'had to kill {killed}; {logs}'

    # ---- nodes

    def start_inspection(self, node_name='', inspector=SMALL, **parameters):
        """Start inspection_node; wait until it is active (unless autostart is off).

        ``inspector`` is the class that inspects, as module:name.
        """
        values = self.inspection_parameters(**parameters)
        spec = NodeSpec('inspection_node', values, node_name=node_name)
        self.graph.start(spec, program(inspector))
        cameras = values.get('cameras', ['camera'])
        for name in cameras:
            self.listen(interfaces.RESULTS, name)
        if values.get('autostart', True):
            models = self.listen(interfaces.MODEL_INFO)
            before = len(models) if node_name else 0
            self.wait(lambda: len(models) > before, 'model_info')
            self.wait_connected()

    def inspection_parameters(self, **parameters):
        """Of a small inspection_node."""
        # best effort may lose what is sent before both ends know each other
        values = {'reliable_images': True, 'bundle': str(self.bundle)}
        values |= parameters
        if 'bundles' in values:
            del values['bundle']
        return values

    def start_reject(self, **parameters):
        triggers = self.publisher(interfaces.OBJECT_TRIGGER)
        self.wait_connected()
        others = triggers.get_subscription_count()
        self.graph.start(NodeSpec('reject_node', parameters))
        self.listen(interfaces.REJECT_SIGNAL)
        self.wait(lambda: triggers.get_subscription_count() > others, 'reject_node')
        self.wait_connected()

    def wait_served(self):
        """Wait until reject_node hears an inspection node of each camera, and they know of it.

        The ends of two other processes find each other when they like, and not at once; what is
        sent before that is lost.
        """

        def hears_all():
            found = self.diagnostics('reject_node')
            values = {} if found is None else {v.key: v.value for v in found.values}
            return values.get('without inspection node') == ''

        def is_heard():
            # this test, reject_node, and its watch over signs of life
            told = {
                value.key: int(value.value)
                for array in self.listen(interfaces.DIAGNOSTICS)
                for status in array.status
                for value in status.values
                if value.key.endswith(': listeners')
            }
            return told and min(told.values()) >= 3

        self.wait(hears_all, 'inspection nodes in the diagnostics of reject_node')
        self.wait(is_heard, 'listeners in the diagnostics of inspection nodes')

    def start_line_controller(self, **parameters):
        self.graph.start(NodeSpec('line_controller_node', parameters))
        stops = self.listen(interfaces.STOP_REQUEST)
        self.wait(
            lambda: any(m.source == '/line_controller_node' for m in stops), 'line_controller_node'
        )

    def kill(self, kind):
        """End a node as a crash would, by SIGKILL."""
        process = self.graph._processes.pop(f'/{kind}')
        process.kill()
        process.wait()

    def spin(self, seconds):
        """Let messages come and go for a while, as a line does between two pieces."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=max(0.0, end - time.monotonic()))

    # ---- topics

    def listen(self, topic, camera='camera', depth=1000):
        """List that grows by the messages of a topic."""
        name = topic.of(camera)
        if name not in self.received:
            self.received[name] = []
            self._subscriptions.append(
                self.node.create_subscription(
                    interfaces.message_class(topic.message),
                    name,
                    self.received[name].append,
                    self._profile(topic, depth),
                )
            )
        return self.received[name]

    def _profile(self, topic, depth):
        """QoS of a subscription; where history is kept, with what is sent before both connect."""
        profile = interfaces.qos(topic, depth=None if topic.latched else depth)
        if topic.history:
            profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
        return profile

    def publisher(self, topic, camera='camera'):
        name = topic.of(camera)
        if name not in self._publishers:
            self._publishers[name] = self.node.create_publisher(
                interfaces.message_class(topic.message),
                name,
                interfaces.offered_qos(topic, depth=1000),
            )
        return self._publishers[name]

    def publish(self, topic, message, camera='camera'):
        publisher = self.publisher(topic, camera)
        self.wait(lambda: publisher.get_subscription_count() > 0, f'listener of {topic.name}')
        publisher.publish(message)

    def wait_connected(self):
        """Wait until all topics of the test node have somebody at the other end."""
        if not self.graph.names:
            return
        self.wait(
            lambda: all(p.get_subscription_count() for p in self._publishers.values()),
            f'listeners of {list(self._publishers)}',
        )
        self.wait(
            lambda: all(interfaces.num_publishers(self.node, s) for s in self._subscriptions),
            f'publishers of {list(self.received)}',
        )

    def wait(self, condition, what, timeout=PATIENCE_S):
        """Spin until a condition holds; fails with the nodes' output."""
        end = time.monotonic() + timeout
        while not (result := condition()):
            self.graph.check()
            if time.monotonic() > end:
                logs = '\n'.join(self.graph.log_tail(n) for n in self.graph.names)
                raise AssertionError(f'no {what} within {timeout} s; nodes say:\n{logs}')
            self.executor.spin_once(timeout_sec=0.05)
        return result

    def call(self, service_type, name, request):
        """Call a service and wait for its answer."""
        client = self.node.create_client(service_type, name)
        self.wait(client.service_is_ready, f'service {name}')
        future = client.call_async(request)
        self.wait(future.done, f'answer of {name}')
        self.node.destroy_client(client)
        return future.result()

    def transition(self, label):
        """Lifecycle transition of inspection_node; returns whether it worked."""
        request = ChangeState.Request()
        request.transition.label = label
        return self.call(ChangeState, '/inspection_node/change_state', request).success

    def state(self):
        answer = self.call(GetState, '/inspection_node/get_state', GetState.Request())
        return answer.current_state.label

    def signals(self):
        """Object id -> its one signal; fails when a piece has two.

        One that may not have gone out before a crash is sent again with its number: the same one.
        """
        found = {}
        for message in self.received[interfaces.REJECT_SIGNAL.name]:
            first = found.setdefault(message.object_id, message)
            assert first.sequence == message.sequence, f'two signals of {message.object_id}'
        return found

    def diagnostics(self, kind):
        """The last status of a node on /diagnostics; None before the first."""
        statuses = [
            status
            for array in self.listen(interfaces.DIAGNOSTICS)
            for status in array.status
            if f'/{kind}:' in status.name
        ]
        return statuses[-1] if statuses else None

    # ---- messages

    def header(self, camera='camera', stamp_ns=None):
        if stamp_ns is None:
            self._stamp_ns += 10**6
            stamp_ns = self._stamp_ns
        stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return Header(stamp=stamp, frame_id=interfaces.optical_frame(camera))

    def image(self, defect=False, header=None, size=SIZE, **look):
        header = self.header() if header is None else header
        return conversions.array_to_image(picture(defect, size=size, **look), 'rgb8', header)

    def send(self, message, *, name='camera', info=True, size=SIZE):
        """Send an image with its CameraInfo; ``info`` may be a message or False."""
        if info is True:
            info = conversions.camera_to_info(camera(size), message.header)
        if info is not False:
            self.publish(interfaces.CAMERA_INFO, info, name)
        self.publish(interfaces.IMAGE, message, name)

    def result_of(self, header, camera='camera'):
        """The one result on the image with this header."""
        arrays = self.received[interfaces.RESULTS.of(camera)]

        def found():
            return [a for a in arrays if a.header.stamp == header.stamp]

        self.wait(found, f'result of {header.stamp}')
        assert len(found()) == 1 and len(found()[0].results) == 1
        return found()[0].results[0]

    def result(self, object_id, stamp_ns, camera, score=1.0, **values):
        """Send a result as inspection_node would; a score of 2 and more is a reject."""
        rejected = score >= 2.0
        header = self.header(camera, stamp_ns)
        message = InspectionResult(
            header=header,
            object_id=object_id,
            camera_name=camera,
            inspection_id=f'{object_id} {camera}',
            verdict=InspectionResult.VERDICT_REJECT if rejected else InspectionResult.VERDICT_PASS,
            reason=InspectionResult.REASON_ANOMALY if rejected else InspectionResult.REASON_NONE,
            anomaly_score=score,
            threshold=2.0,
            object_threshold=1.0,
        )
        for name, value in values.items():
            setattr(message, name, value)
        array = InspectionResultArray(header=header, results=[message])
        self.publisher(interfaces.RESULTS, camera).publish(array)

    def trigger(self, object_id, stamp_ns, cameras=(), expected_views=0, x=math.nan, product=''):
        message = ObjectTrigger(
            header=self.header(stamp_ns=stamp_ns),
            object_id=object_id,
            cameras=list(cameras),
            expected_views=expected_views,
            position=Point(x=x, y=math.nan, z=math.nan),
            object_type=product,
        )
        message.header.frame_id = interfaces.CONVEYOR_FRAME
        message.position.x = x
        self.publisher(interfaces.OBJECT_TRIGGER).publish(message)
