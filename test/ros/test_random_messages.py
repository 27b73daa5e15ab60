"""A thousand random and malformed messages into inspection_node: it lives, each is answered."""

import array

import cv2
import numpy as np
from pad_msgs.msg import InspectionResult, ObjectTrigger
from sensor_msgs.msg import CompressedImage

from helpers.ros_line import camera
from helpers.small_dataset import SIZE, picture
from pad_inspection.ros import conversions, interfaces

NUM_MESSAGES = 1000
SIZES = [0, 1, 2, SIZE - 1, SIZE, 65_535, 2**31, 2**32 - 1]
ENCODINGS = 'rgb8 bgr8 mono8 rgba8 bgra8 mono16 32FC1 8UC3 64FC99 bayer_gbrg16 yuv422'.split()
ENCODINGS += ['', '\u00e4' * 99, '\x01', 'rgb8 ']
SPECIALS = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-300, 1e300]
MODELS = ['plumb_bob', 'rational_polynomial', 'equidistant', '', 'nonsense', '\u2603']


class Random:
    """Messages of a seeded generator."""

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)
        self._jpeg = cv2.imencode('.jpg', picture()[..., ::-1])[1].tobytes()

    def __call__(self, share):
        return self._rng.random() < share

    def pick(self, values):
        return values[self._rng.integers(len(values))]

    def data(self, most):
        return array.array('B', self._rng.bytes(int(self._rng.integers(0, most))))

    def image(self, message):
        if self(0.3):
            message.width, message.height = self.pick(SIZES), self.pick(SIZES)
        if self(0.25):
            message.encoding = self.pick(ENCODINGS)
        if self(0.25):
            message.step = self.pick(SIZES)
        if self(0.25):
            message.data = self.data(3 * SIZE * SIZE)
        message.is_bigendian = int(self._rng.integers(0, 256))
        return message

    def compressed(self, header):
        data = bytearray(self._jpeg)
        for _ in range(self._rng.integers(0, 30)):
            data[self._rng.integers(len(data))] = self._rng.integers(256)
        content = self.data(500) if self(0.3) else array.array('B', bytes(data))
        return CompressedImage(header=header, format=self.pick(ENCODINGS), data=content)

    def info(self, info):
        if self(0.25):
            info.width, info.height = self.pick(SIZES), self.pick(SIZES)
        if self(0.2):
            info.p = np.array([self.pick(SPECIALS) for _ in range(12)])
            info.k = np.array([self.pick(SPECIALS) for _ in range(9)])
        if self(0.2):
            info.distortion_model = self.pick(MODELS)
            count = int(self._rng.integers(0, 20))
            info.d = [float(self.pick(SPECIALS)) for _ in range(count)]
        if self(0.2):
            info.binning_x, info.binning_y = self.pick(SIZES), self.pick(SIZES)
            info.roi.x_offset, info.roi.width = self.pick(SIZES), self.pick(SIZES)
        return info


def test_random_messages_are_all_answered(line):
    cameras = ['plain', 'distorted', 'packed']
    line.start_inspection(
        cameras=cameras,
        image_topics=['image_rect_color', 'image_rect_color', 'image_rect_color/compressed'],
        distorted_cameras=['distorted'],
        queue_size=NUM_MESSAGES,
        camera_info_timeout=0.05,
        trigger_timeout=0.01,
    )
    line.publisher(interfaces.OBJECT_TRIGGER)
    random = Random(0)
    sent = []
    for index in range(NUM_MESSAGES):
        name = cameras[index % 3]
        header = line.header(name)
        info = random.info(conversions.camera_to_info(camera(), header))
        if not random(0.02):
            line.publish(interfaces.CAMERA_INFO, info, name)
        if random(0.1):
            stamp = trigger_stamp(random, header)
            names = random.pick([[], cameras, ['nobody'], ['\u2603']])
            trigger = ObjectTrigger(
                object_id=random.pick(['', 'p', '\u00e4' * 999]), cameras=names
            )
            trigger.header.stamp, trigger.position.x = stamp, random.pick(SPECIALS)
            line.publish(interfaces.OBJECT_TRIGGER, trigger)
        if name == 'packed':
            topic = interfaces.COMPRESSED_IMAGE.with_name('packed/image_rect_color/compressed')
            line.publish(topic, random.compressed(header), name)
        else:
            line.publish(interfaces.IMAGE, random.image(line.image(header=header)), name)
        sent.append((name, header.stamp))
    arrays = [line.received[interfaces.RESULTS.of(name)] for name in cameras]
    line.wait(lambda: sum(map(len, arrays)) >= NUM_MESSAGES, f'{NUM_MESSAGES} results', 300)
    results = [result for messages in arrays for m in messages for result in m.results]
    keys = [(r.camera_name, r.header.stamp.sec, r.header.stamp.nanosec) for r in results]
    assert sorted(keys) == sorted((n, s.sec, s.nanosec) for n, s in sent)

    reasons = [r.reason for r in results]
    assert InspectionResult.REASON_INTERNAL_ERROR not in reasons
    assert reasons.count(InspectionResult.REASON_IMAGE_INVALID) > 400
    undetermined = InspectionResult.VERDICT_UNDETERMINED
    assert all(r.message for r in results if r.verdict == undetermined)
    verdicts = {r.verdict for r in results}
    assert InspectionResult.VERDICT_PASS in verdicts
    good = line.image()
    line.send(good, name='plain')
    assert line.result_of(good.header, 'plain').verdict == InspectionResult.VERDICT_PASS


def trigger_stamp(random, header):
    """The image's own stamp, or a strange one."""
    stamp = type(header.stamp)(sec=header.stamp.sec, nanosec=header.stamp.nanosec)
    if random(0.5):
        stamp.sec = random.pick([0, -(2**31), 2**31 - 1])
    return stamp
