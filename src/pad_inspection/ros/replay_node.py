"""Plays the test images of a dataset folder, or a rosbag2, as cameras and their trigger.

    python -m pad_inspection.ros.replay_node --ros-args -p class_dir:=demo/data/coupe

Waits until the other nodes are there; sends the next exposure only while fewer than
``max_in_flight`` wait for results, so that a slow machine loses nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from pad_msgs.msg import InspectionResultArray, ModelInfo, ReplayStatus
from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import Header

from pad_inspection.ros import conversions, interfaces, parameters
from pad_inspection.ros.replay_source import BagSource, Batch, DatasetSource
from pad_inspection.ros.runner import run

# How often readiness of other nodes is looked at (there is no event for it), s.
_POLL_S = 0.05
# A process that ends takes with it what was not delivered yet, s.
_FLUSH_S = 3.0


def _profile(name: str, kind: str):
    """QoS of a played topic; a reject_node that was restarted gets the triggers that it missed."""
    if name.endswith(interfaces.OBJECT_TRIGGER.name):
        return interfaces.offered_qos(interfaces.OBJECT_TRIGGER)
    return interfaces.qos(interfaces.Topic(name, kind, '', 100, ''))


class ReplayNode(Node):
    """See the module's text."""

    def __init__(self):
        super().__init__('replay_node')
        parameters.declare(self, 'replay_node')
        self._config = parameters.read_own(self, 'replay_node')
        self.finished: int | None = None
        self._source = self._open_source()
        self._changed = threading.Condition()
        self._waiting: dict[tuple[str, int], float] = {}
        self._sent: set[tuple[str, int]] = set()
        self._answered: set[tuple[str, int]] = set()
        self._objects: set[str] = set()
        self._lost = 0
        self._model_seen = threading.Event()
        self._stop = threading.Event()
        self._make_topics()
        self._player = threading.Thread(target=self._play, name='player', daemon=True)

    def _open_source(self) -> DatasetSource | BagSource:
        """Source that the parameters name.

        Raises:
            ValueError: none is named, or it is damaged.
            FileNotFoundError: it does not exist.
        """
        config = self._config
        config.check_start()
        if config.bag:
            return BagSource(config.bag, config.image_topic, config.topics)
        return DatasetSource(config.class_dir, config.image_topic, config.limit)

    def _make_topics(self) -> None:
        """Publishers of the source's topics and of the status; subscriptions to the results."""
        self._publishers_by_topic = {
            name: self.create_publisher(interfaces.message_class(kind), name, _profile(name, kind))
            for name, kind in self._source.topics.items()
        }
        self._status = self.create_publisher(
            ReplayStatus, interfaces.REPLAY_STATUS.name, interfaces.qos(interfaces.REPLAY_STATUS)
        )
        self._results = [
            self.create_subscription(
                InspectionResultArray,
                interfaces.RESULTS.of(camera),
                lambda message, camera=camera: self._on_results(camera, message),
                interfaces.qos(interfaces.RESULTS),
            )
            for camera in self._source.cameras
        ]
        self.create_subscription(
            ModelInfo,
            interfaces.MODEL_INFO.name,
            lambda _: self._model_seen.set(),
            interfaces.qos(interfaces.MODEL_INFO),
        )

    def start(self, is_stopping: Callable[[], bool]) -> None:
        """Begin to play."""
        del is_stopping
        self._player.start()

    def close(self) -> None:
        """End the player."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._player.is_alive():
            self._player.join(5.0)

    def _on_results(self, camera: str, message: InspectionResultArray) -> None:
        key = (camera, conversions.stamp_to_ns(message.header.stamp))
        with self._changed:
            if key in self._sent:
                self._answered.add(key)
                self._waiting.pop(key, None)
                self._changed.notify_all()

    # ---- player thread -----------------------------------------------------------------------

    def _play(self) -> None:
        """Wait for the others, play all, wait for the last results."""
        try:
            missing = self._wait_until_ready()
            if self._stop.is_set():
                return
            if missing:
                self._fail(f'not ready after {self._config.startup_timeout:g} s: {missing}')
                return
            self._play_batches()
            if self._config.wait_for_results:
                self._wait_in_flight(1)
            else:
                self._flush()
            if self._stop.is_set():
                return
            self._publish_status(finished=True)
            text = f'{len(self._sent)} images sent, {len(self._answered)} results'
            self.get_logger().info(text)
            if self._config.exit_when_done:
                self.finished = 1 if self._lost else 0
        except Exception as error:  # a thread that ends silently would leave the node waiting
            kind = '' if isinstance(error, (ValueError, OSError)) else f'{type(error).__name__}: '
            self._fail(f'{kind}{error}')

    def _fail(self, text: str) -> None:
        """Tell why nothing more is played, and end the node."""
        self.get_logger().error(text)
        self.finished = 1

    def _wait_until_ready(self) -> str:
        """Wait for the other nodes; returns what is missing when they do not come."""
        end = time.monotonic() + self._config.startup_timeout
        missing = self._missing()
        while missing and time.monotonic() < end and not self._stop.is_set():
            self._stop.wait(_POLL_S)
            missing = self._missing()
        return missing

    def _missing(self) -> str:
        """What must still appear before playing; '' when all is there."""
        if self._config.wait_for_model and not self._model_seen.is_set():
            return f'no {interfaces.MODEL_INFO.name} from an inspection node'
        image_topics = [n for n in self._source.topics if n.split('/')[-1] != 'camera_info']
        for name in image_topics:
            count = self._publishers_by_topic[name].get_subscription_count()
            is_trigger = name.endswith(interfaces.OBJECT_TRIGGER.name)
            wanted = (
                self._config.min_listeners if is_trigger else min(1, self._config.min_listeners)
            )
            if count < wanted:
                return f'{name} has {count} subscribers, wanted {wanted}'
        for subscription in self._results if self._config.wait_for_model else ():
            if interfaces.num_publishers(self, subscription) == 0:
                return f'nobody publishes {subscription.topic_name}'
        return ''

    def _play_batches(self) -> None:
        """Send all batches at their times."""
        begin, period = time.monotonic(), 1.0 / self._config.rate
        self._publish_status()
        for index, batch in enumerate(self._source.batches(self._now_ns)):
            offset = index * period if batch.at_s is None else batch.at_s / self._config.rate
            self._stop.wait(max(0.0, begin + offset - time.monotonic()))
            if batch.frames and self._config.max_in_flight and self._config.wait_for_results:
                limit = self._config.max_in_flight * max(1, len(batch.frames))
                self._wait_in_flight(limit - len(batch.frames) + 1)
            if self._stop.is_set():
                return
            self._send(batch)

    def _flush(self) -> None:
        """Wait a little until all that was sent has reached its subscribers."""
        for publisher in self._publishers_by_topic.values():
            publisher.wait_for_all_acked(Duration(seconds=_FLUSH_S))

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _send(self, batch: Batch) -> None:
        """Publish a batch; its frames are noted first, results may be quick."""
        with self._changed:
            now = time.monotonic()
            for frame in batch.frames:
                self._waiting[frame] = now
                self._sent.add(frame)
            self._objects.update(batch.object_ids)
        for name, message in batch.messages:
            self._publishers_by_topic[name].publish(message)
        if batch.frames:
            self._publish_status()

    def _wait_in_flight(self, limit: int) -> None:
        """Wait until fewer than ``limit`` frames have no result; give up on those too old."""
        with self._changed:
            while len(self._waiting) >= limit and not self._stop.is_set():
                oldest, since = min(self._waiting.items(), key=lambda item: item[1])
                left = since + self._config.result_timeout - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                del self._waiting[oldest]
                self._lost += 1
                self.get_logger().error(
                    f'no result on {oldest[0]}, stamp {oldest[1]} ns, within '
                    f'{self._config.result_timeout:g} s'
                )

    def _publish_status(self, *, finished: bool = False) -> None:
        """Tell how far the replay is."""
        with self._changed:
            status = ReplayStatus(
                header=Header(stamp=self.get_clock().now().to_msg()),
                frames_total=self._source.num_frames,
                frames_sent=len(self._sent),
                objects_sent=len(self._objects),
                results_received=len(self._answered),
                finished=finished,
            )
        self._status.publish(status)


def main(args: list[str] | None = None) -> int:
    """Console script."""
    return run(ReplayNode, args, threads=1)


if __name__ == '__main__':
    sys.exit(main())
