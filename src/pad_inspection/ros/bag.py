"""Rosbag2 folders (mcap, sqlite3) without the rosbag2 tools: record and read, messages undecoded.

    with BagRecorder(node, 'out/bag', {'camera/camera_info': 'sensor_msgs/msg/CameraInfo'}): ...

Bags written here open in `ros2 bag`, rviz2, rerun and foxglove; those of `ros2 bag record` are
read.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pad_inspection.ros import interfaces

CAMERA_KINDS = tuple(
    t.message for t in (interfaces.IMAGE, interfaces.COMPRESSED_IMAGE, interfaces.CAMERA_INFO)
)


@dataclass(frozen=True)
class RecordedMessage:
    """One message of a bag.

    Attributes:
        topic: absolute name.
        message_type: 'package/msg/Name'.
        time_ns: when it was recorded.
        data: CDR bytes.
    """

    topic: str
    message_type: str
    time_ns: int
    data: bytes

    @property
    def stamp_ns(self) -> int:
        """Stamp of the message's header, which must be its first field."""
        # 4 bytes of encapsulation, of which the second's lowest bit is the byte order
        order = '<' if self.data[1] & 1 else '>'
        seconds, nanoseconds = struct.unpack_from(f'{order}iI', self.data, 4)
        return seconds * 10**9 + nanoseconds


def type_store():
    """Message definitions for rosbags: those of ROS 2 and of pad_msgs.

    Raises:
        FileNotFoundError: pad_msgs is not installed.
    """
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    share = interfaces.package_share('pad_msgs')
    store, added = get_typestore(Stores.ROS2_KILTED), {}
    for path in sorted((share / 'msg').glob('*.msg')):
        added |= get_types_from_msg(path.read_text(), f'pad_msgs/msg/{path.stem}')
    store.register(added)
    return store


class BagWriter:
    """A new bag; topics are added when their first message is written."""

    def __init__(self, folder: Path, *, storage: str = 'mcap'):
        """Open it.

        Args:
            folder: of the bag; must not exist.
            storage: 'mcap' or 'sqlite3'.

        Raises:
            FileExistsError: the folder exists.
            OSError: it cannot be written; so do the other methods.
        """
        from rosbags.rosbag2 import StoragePlugin, Writer

        self._folder = folder = Path(folder)
        if folder.exists():
            raise FileExistsError(f'bag {folder} exists')
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.num_messages = 0
        self._store = type_store()
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
        try:
            with self._telling():
                self._writer.open()
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._connections: dict[str, Any] = {}

    def add_topic(self, topic: str, kind: str) -> None:
        """Add a topic that may stay without messages."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._store
            )

    def write(self, topic: str, kind: str, time_ns: int, data: bytes) -> None:
        """Add a message.

        Args:
            topic: absolute name.
            kind: 'package/msg/Name'.
            time_ns: when it was received.
            data: CDR bytes.
        """
        with self._telling():
            self.add_topic(topic, kind)
            self._writer.write(self._connections[topic], time_ns, data)
        self.num_messages += 1

    def close(self) -> None:
        """Finish the bag."""
        with self._telling():
            self._writer.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Name the bag in what goes wrong with its files."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise OSError(f'bag {self._folder} cannot be written: {error}') from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind, *_) -> None:
        """Finish the bag; one that cannot be finished, or whose making failed, is removed."""
        done = False
        try:
            self.close()
            done = kind is None or not issubclass(kind, Exception)
        except OSError:
            if kind is None:
                raise
        finally:
            if not done:
                shutil.rmtree(self._folder, ignore_errors=True)


class BagRecorder:
    """Records topics into a new bag while its node is spun."""

    def __init__(
        self,
        node,
        folder: Path,
        topics: Mapping[str, str],
        *,
        storage: str = 'mcap',
        reliable_images: bool = False,
    ):
        """Open the bag and subscribe.

        Args:
            node: rclpy node that the caller spins.
            folder: of the bag; must not exist.
            topics: name -> 'package/msg/Name'.
            storage: 'mcap' or 'sqlite3'.
            reliable_images: lose none (a best-effort camera then delivers nothing).

        Raises:
            FileExistsError: the folder exists.
        """
        self._node = node
        self._reliable_images = reliable_images
        self._writer = BagWriter(folder, storage=storage)
        self._subscriptions = [self._subscribe(name, kind) for name, kind in topics.items()]

    @property
    def num_messages(self) -> int:
        """Messages that were written."""
        return self._writer.num_messages

    def _subscribe(self, name: str, kind: str):
        """Subscribe to one topic, undecoded."""
        absolute = self._node.resolve_topic_name(name)
        self._writer.add_topic(absolute, kind)
        # best effort fits every camera driver; results and triggers must not be lost
        reliable = self._reliable_images or kind not in CAMERA_KINDS
        latched = any(topic.latched and topic.name == name for topic in interfaces.TOPICS)
        topic = interfaces.Topic(name, kind, '', 100, '', reliable=reliable, latched=latched)
        return self._node.create_subscription(
            interfaces.message_class(kind),
            name,
            lambda data: self._writer.write(absolute, kind, time.time_ns(), data),
            interfaces.qos(topic),
            raw=True,
        )

    def close(self) -> None:
        """Stop recording and finish the bag."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._writer.close()

    def __enter__(self) -> BagRecorder:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def bag_topics(folder: Path) -> dict[str, str]:
    """Topics of a bag: name -> 'package/msg/Name'.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is not a bag.
    """
    with _reader(folder) as reader:
        return {connection.topic: connection.msgtype for connection in reader.connections}


def read_bag(folder: Path, topics: list[str] | None = None) -> Iterator[RecordedMessage]:
    """Messages of a bag in order of time. Raises as bag_topics."""
    with _reader(folder) as reader:
        wanted = [c for c in reader.connections if topics is None or c.topic in topics]
        for connection, time_ns, data in reader.messages(wanted):
            yield RecordedMessage(connection.topic, connection.msgtype, time_ns, bytes(data))


def _reader(folder: Path):
    """Open rosbags' reader."""
    from rosbags.rosbag2 import Reader, ReaderError

    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'bag {folder} does not exist')
    try:
        return Reader(folder)
    except (ReaderError, FileNotFoundError) as error:
        raise ValueError(f'{folder} is no rosbag2 bag: {error}') from error
