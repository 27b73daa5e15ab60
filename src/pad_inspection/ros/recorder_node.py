"""Node of `pad bag record`: the topics of a line into a new bag."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rclpy.node import Node

from pad_inspection.ros import interfaces
from pad_inspection.ros.bag import BagRecorder

_LINE_TOPICS = (
    interfaces.OBJECT_TRIGGER,
    interfaces.BELT_STATE,
    interfaces.OBJECT_TYPE,
    interfaces.MODEL_INFO,
    interfaces.REJECT_SIGNAL,
)
_CAMERA_TOPICS = (interfaces.CAMERA_INFO, interfaces.RESULTS)
# How often it is looked whether time is over, and told how much there is, s.
_CHECK_S, _TELL_S = 0.2, 2.0


class RecorderNode(Node):
    """See the module's text; raw and compressed images are both recorded when they are sent."""

    def __init__(
        self,
        folder: Path,
        cameras: Sequence[str],
        *,
        image_topic: str,
        namespace: str = '',
        storage: str = 'mcap',
        seconds: float = 0.0,
        reliable_images: bool = False,
    ):
        """Start recording.

        Args:
            folder: of the bag; must not exist.
            cameras: names.
            image_topic: below the camera.
            namespace: of the line.
            storage: 'mcap' or 'sqlite3'.
            seconds: end then; 0 = never.
            reliable_images: see BagRecorder.

        Raises:
            FileExistsError: the folder exists.
        """
        super().__init__('bag_recorder', namespace=namespace or None)
        self.finished: int | None = None
        topics = {topic.name: topic.message for topic in _LINE_TOPICS}
        for camera in cameras:
            topics |= {topic.of(camera): topic.message for topic in _CAMERA_TOPICS}
            topics[f'{camera}/{image_topic}'] = interfaces.IMAGE.message
            topics[f'{camera}/{image_topic}/compressed'] = interfaces.COMPRESSED_IMAGE.message
        self._recorder = BagRecorder(
            self, folder, topics, storage=storage, reliable_images=reliable_images
        )
        self._end = time.monotonic() + seconds if seconds else None
        self._told = 0
        self.create_timer(_CHECK_S, self._check)
        self.create_timer(_TELL_S, self._tell)
        self.get_logger().info(f'recording {len(topics)} topics into {folder}')

    @property
    def num_messages(self) -> int:
        """Messages that were recorded."""
        return self._recorder.num_messages

    def _check(self) -> None:
        if self._end is not None and time.monotonic() >= self._end:
            self.finished = 0

    def _tell(self) -> None:
        if self.num_messages != self._told:
            self._told = self.num_messages
            self.get_logger().info(f'{self._told} messages so far')

    def close(self) -> None:
        """Finish the bag."""
        self._recorder.close()
