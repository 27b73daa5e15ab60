"""Random and malformed messages of a seeded generator."""

import array

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

from helpers.small_dataset import SIZE, picture

SIZES = [0, 1, 2, SIZE - 1, SIZE, 65_535, 2**31, 2**32 - 1]
ENCODINGS = 'rgb8 bgr8 mono8 rgba8 bgra8 mono16 32FC1 8UC3 64FC99 bayer_gbrg16 yuv422'.split()
ENCODINGS += ['', '\u00e4' * 99, '\x01', 'rgb8 ']
SPECIALS = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-300, 1e300]
MODELS = ['plumb_bob', 'rational_polynomial', 'equidistant', '', 'nonsense', '\u2603']


class Random:
    """Makes messages wrong; ``random(share)`` is true in this share of calls."""

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
