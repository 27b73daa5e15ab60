"""Inspects the images of a bag offline: no nodes, no DDS, nothing dropped for lack of time."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pad_msgs.msg import InspectionResultArray
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from pad_inspection.datatypes import Frame, Inspection, Reason, Verdict
from pad_inspection.piece_views import PieceViews
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.association import TriggerAssociation
from pad_inspection.ros.bag import BagWriter, RecordedMessage, bag_topics, read_bag
from pad_inspection.ros.frame_building import build_frame
from pad_inspection.ros.model_loading import Loader, Model, load_inspector, loaded_model
from pad_inspection.ros.result_messages import MAKERS

_IMAGE_KINDS = (interfaces.IMAGE.message, interfaces.COMPRESSED_IMAGE.message)


def inspect_bag(
    source: Path,
    bundle: Path,
    target: Path,
    *,
    image_topic: str = 'image_rect_color',
    rectified: bool = True,
    image_bits: int = 16,
    allow_grey: bool = False,
    storage: str = 'mcap',
    load: Loader = load_inspector,
    trusted_keys: Sequence[str] = (),
    on_image: Callable[[int], object] = lambda total: None,
) -> Counter[str]:
    """Inspect every image and write a new bag with the recorded messages and the results.

    Args:
        source: bag with images and CameraInfo.
        bundle: model bundle.
        target: new bag.
        image_topic: name of the image topics below the camera.
        rectified: see camera_infos.read_camera_info.
        image_bits: see image_encodings.to_rgb.
        allow_grey: see datatypes.Frame.
        storage: 'mcap' or 'sqlite3'.
        load: makes an inspector of the bundle.
        trusted_keys: see model_loading.load_inspector.
        on_image: called after each image with the number of images there are.

    Returns:
        How many images got each verdict.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: a bag or the bundle is missing, damaged
            or exists; the bag has no images.
    """
    known = bag_topics(source)
    cameras = {
        name: name.split(f'/{image_topic}')[0].strip('/')
        for name, kind in known.items()
        if kind in _IMAGE_KINDS and f'/{image_topic}' in name
    }
    if not cameras:
        raise ValueError(f'bag {source} has no images on */{image_topic}, it has {sorted(known)}')
    lookup = _Lookup(source, cameras, known)
    model = loaded_model(load(bundle, {}, lambda: None, trusted_keys), bundle, Header())
    # results that were recorded live are left out: the new ones take their topics
    produced = {
        f'/{topic.of(c)}' for c in cameras.values() for topic in (interfaces.RESULTS, *MAKERS)
    }
    counts: Counter[str] = Counter()
    frame_of = partial(
        build_frame, rectified=rectified, image_bits=image_bits, allow_grey=allow_grey
    )
    pieces = PieceViews()
    with BagWriter(target, storage=storage) as writer:
        writer.write(
            f'/{interfaces.MODEL_INFO.name}',
            interfaces.MODEL_INFO.message,
            lookup.first_ns,
            serialize_message(conversions.model_info_to_message(model.info, Header())),
        )
        for message in read_bag(source, [name for name in known if name not in produced]):
            writer.write(message.topic, message.message_type, message.time_ns, message.data)
            if message.topic in cameras:
                camera = cameras[message.topic]
                verdict = _inspect(message, camera, lookup, model, frame_of, pieces, writer)
                counts[verdict.name] += 1
                on_image(lookup.num_images)
    return counts


class _Lookup:
    """CameraInfo and triggers of a bag; an image may have been recorded before either."""

    def __init__(self, source: Path, cameras: dict[str, str], known: dict[str, str]):
        self.num_images, self.first_ns = 0, 0
        self.association = TriggerAssociation(max_triggers=None)
        self._infos: dict[tuple[str, int], bytes] = {}
        self._last_info: dict[str, bytes] = {}
        names = {f'/{camera}/camera_info': camera for camera in cameras.values()}
        for message in read_bag(source):
            self.first_ns = self.first_ns or message.time_ns
            if message.topic in cameras:
                self.num_images += 1
            elif message.topic in names:
                camera = names[message.topic]
                self._infos[camera, message.stamp_ns] = message.data
                self._last_info.setdefault(camera, message.data)
            elif known[message.topic] == interfaces.OBJECT_TRIGGER.message:
                self._add_trigger(message)

    def _add_trigger(self, message: RecordedMessage) -> None:
        kind = interfaces.message_class(message.message_type)
        trigger = deserialize_message(message.data, kind)
        if trigger.object_id:
            self.association.add_trigger(trigger.object_id, trigger.cameras, message.stamp_ns)

    def info(self, camera: str, stamp_ns: int):
        """CameraInfo of an image, that camera's first one, or None."""
        data = self._infos.get((camera, stamp_ns)) or self._last_info.get(camera)
        kind = interfaces.message_class(interfaces.CAMERA_INFO.message)
        return None if data is None else deserialize_message(data, kind)


def _inspect(
    recorded: RecordedMessage,
    camera: str,
    lookup: _Lookup,
    model: Model,
    frame_of: Callable[..., Frame],
    pieces: PieceViews,
    writer: BagWriter,
) -> Verdict:
    """Inspect one image and write what comes of it; tells the verdict."""
    message = deserialize_message(recorded.data, interfaces.message_class(recorded.message_type))
    stamp_ns = conversions.stamp_to_ns(message.header.stamp)
    match = lookup.association.find(camera, stamp_ns)
    object_id = interfaces.object_id_of_stamp(stamp_ns) if match is None else match.object_id
    info = lookup.info(camera, stamp_ns)
    try:
        if match is not None and match.fault:
            raise ValueError(match.fault)
        if info is None:
            raise ValueError(f'the bag has no CameraInfo on /{camera}/camera_info')
        frame = frame_of(message, info, camera_name=camera, object_id=object_id)
        inspection = pieces.add(
            model.inspector, model.inspector.inspect(frame), 0 if match is None else match.use
        )
    except ValueError as error:
        inspection = Inspection(
            Verdict.UNDETERMINED,
            Reason.IMAGE_INVALID,
            str(error),
            camera_name=camera,
            object_id=object_id,
            stamp_ns=stamp_ns,
        )
    result = conversions.result_to_message(
        inspection,
        message.header,
        inspection_id=str(uuid.uuid4()),
        model=model.info,
        object_threshold=model.info.object_threshold,
        seconds=sum(inspection.timings_ms.values()) / 1e3,
    )
    made = {topic: make(inspection, message.header, model) for topic, make in MAKERS.items()}
    made[interfaces.RESULTS] = InspectionResultArray(header=message.header, results=[result])
    for topic, content in made.items():
        if content is not None:
            data = serialize_message(content)
            writer.write(f'/{topic.of(camera)}', topic.message, recorded.time_ns, data)
    return inspection.verdict
