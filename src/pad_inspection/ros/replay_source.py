"""What replay_node sends: test images of a dataset as camera messages, or messages of a bag.

Only what a camera and a trigger know is sent; labels of the dataset never leave this module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Point
from pad_msgs.msg import ObjectTrigger
from std_msgs.msg import Header

from pad_inspection import images
from pad_inspection.dataset import TestImage, read_test_images
from pad_inspection.ros import bag, conversions, interfaces

_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')


@dataclass(frozen=True)
class Batch:
    """What is sent at one moment.

    Attributes:
        at_s: when, since the start of the recording; None: as soon as possible.
        messages: (topic name, message or CDR bytes).
        frames: (camera, stamp_ns) of the images among them.
        object_ids: pieces that are announced.
    """

    at_s: float | None
    messages: tuple[tuple[str, Any], ...]
    frames: tuple[tuple[str, int], ...]
    object_ids: tuple[str, ...] = ()


def camera_name(image: TestImage) -> str:
    """Camera that plays a test image: its own, else one for each number of a view.

    Raises:
        ValueError: not a name that ROS takes.
    """
    name = image.camera_name or f'camera_{image.view}'
    if not _CAMERA_NAME.fullmatch(name):
        raise ValueError(f'camera is named {name!r}, wanted letters, digits and underscores')
    return name


class DatasetSource:
    """Test images, one exposure of a piece after the other."""

    def __init__(self, class_dir: Path, image_topic: str, limit: int = 0):
        """Read the list of images.

        Args:
            class_dir: dataset folder.
            image_topic: name below the camera.
            limit: pieces at most; 0 = all.

        Raises:
            FileNotFoundError: no such folder or no list of test images.
            ValueError: a damaged list, or no images.
        """
        pieces: dict[str, list[TestImage]] = {}
        for image in read_test_images(class_dir):
            pieces.setdefault(image.object_id, []).append(image)
        kept = list(pieces.items())[: limit or None]
        if not kept:
            raise ValueError(f'{class_dir} has no test images')
        self._image_topic = image_topic
        self.exposures = [
            (object_id, len(views), exposure)
            for object_id, views in kept
            for exposure in _exposures(views)
        ]
        self.cameras = sorted({camera_name(i) for _, views in kept for i in views})
        self.num_frames = sum(len(views) for _, views in kept)
        self.num_objects = len(kept)

    @property
    def topics(self) -> dict[str, str]:
        """Topics that are sent: name -> type."""
        found = {interfaces.OBJECT_TRIGGER.name: interfaces.OBJECT_TRIGGER.message}
        for camera in self.cameras:
            found[f'{camera}/{self._image_topic}'] = interfaces.IMAGE.message
            found[interfaces.CAMERA_INFO.of(camera)] = interfaces.CAMERA_INFO.message
        return found

    def batches(self, now_ns) -> Iterator[Batch]:
        """Exposures with fresh stamps.

        Args:
            now_ns: () -> time in ns, called for each exposure.

        Raises:
            ValueError, FileNotFoundError: a picture cannot be read.
        """
        last_ns = 0
        for object_id, num_views, exposure in self.exposures:
            pictures = [
                images.undistort(images.read_rgb(image.path, image.camera), image.camera)
                for image in exposure
            ]
            stamp_ns = last_ns = max(now_ns(), last_ns + 1)
            stamp = conversions.stamp_of_ns(stamp_ns)
            cameras = [camera_name(image) for image in exposure]
            trigger = ObjectTrigger(
                header=Header(stamp=stamp, frame_id=interfaces.CONVEYOR_FRAME),
                object_id=object_id,
                cameras=cameras,
                expected_views=num_views,
                position=Point(x=math.nan, y=math.nan, z=math.nan),
            )
            messages: list[tuple[str, Any]] = [(interfaces.OBJECT_TRIGGER.name, trigger)]
            for camera, (picture, calibration) in zip(cameras, pictures):
                header = Header(stamp=stamp, frame_id=interfaces.optical_frame(camera))
                messages += [
                    (
                        interfaces.CAMERA_INFO.of(camera),
                        conversions.camera_to_info(calibration, header),
                    ),
                    (
                        f'{camera}/{self._image_topic}',
                        conversions.array_to_image(picture, 'rgb8', header),
                    ),
                ]
            yield Batch(None, tuple(messages), tuple((c, stamp_ns) for c in cameras), (object_id,))


def _exposures(views: Sequence[TestImage]) -> list[list[TestImage]]:
    """Views of a piece in groups in which each camera occurs once."""
    groups: list[list[TestImage]] = []
    for image in sorted(views, key=lambda i: i.view):
        name = camera_name(image)
        free = (g for g in groups if all(camera_name(other) != name for other in g))
        group = next(free, None)
        if group is None:
            groups.append([image])
        else:
            group.append(image)
    return groups


class BagSource:
    """Messages of a bag with their recorded times, undecoded."""

    def __init__(self, folder: Path, image_topic: str, topics: Sequence[str] = ()):
        """Look into a bag.

        Args:
            folder: of the bag.
            image_topic: name of image topics below the camera.
            topics: names to play; empty = images, CameraInfo and triggers.

        Raises:
            FileNotFoundError: no such bag, or the package of a type is not installed.
            ValueError: it is no bag, or holds none of the topics.
        """
        known = bag.bag_topics(folder)
        played = (
            interfaces.IMAGE.message,
            interfaces.COMPRESSED_IMAGE.message,
            interfaces.CAMERA_INFO.message,
            interfaces.OBJECT_TRIGGER.message,
        )
        names = [image_topic, f'{image_topic}/compressed', 'camera_info']
        names.append(interfaces.OBJECT_TRIGGER.name)
        self._folder = Path(folder)
        self.topics = {
            name: kind
            for name, kind in known.items()
            if (name in topics if topics else kind in played and _ends_with(name, names))
        }
        if not self.topics:
            raise ValueError(
                f'bag {folder} has none of the topics to play, it has {sorted(known)}'
            )
        image_kinds = (interfaces.IMAGE.message, interfaces.COMPRESSED_IMAGE.message)
        self._images = {
            name: name.split(f'/{image_topic}')[0].strip('/')
            for name, kind in self.topics.items()
            if kind in image_kinds
        }
        self.cameras = sorted(set(self._images.values()))
        self.num_objects = 0
        self.num_frames = sum(1 for m in bag.read_bag(folder) if m.topic in self._images)

    def batches(self, now_ns) -> Iterator[Batch]:
        """Recorded messages; stamps stay as they were recorded."""
        del now_ns
        first_ns = None
        for message in bag.read_bag(self._folder, list(self.topics)):
            first_ns = message.time_ns if first_ns is None else first_ns
            frames = ()
            if message.topic in self._images:
                frames = ((self._images[message.topic], message.stamp_ns),)
            yield Batch(
                (message.time_ns - first_ns) / 1e9, ((message.topic, message.data),), frames
            )


def _ends_with(topic: str, names: Sequence[str]) -> bool:
    """Whether the last part of a topic is one of the names."""
    return any(topic == name or topic.endswith(f'/{name}') for name in names)
