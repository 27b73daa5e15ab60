import numpy as np
import pytest

from pad_inspection.background.segmentation import (
    Average,
    Segmenter,
    create_segmenter,
    keep_main_object,
)
from pad_inspection.config import SegmentationConfig


class Fixed:
    """A network that always gives the same."""

    def __init__(self, probability):
        self.probability = probability

    def predict(self, image):
        return self.probability


def test_other_pieces_and_lines_go():
    probability = np.zeros((200, 200), np.float32)
    probability[60:140, 60:150] = 0.9  # the object
    probability[100:104, 150:200] = 0.8  # a groove that leads away from it
    probability[10:30, 10:30] = 0.95  # another piece
    kept = keep_main_object(probability, 0.5)
    np.testing.assert_allclose(kept[60:140, 60:150], 0.9)
    assert kept[10:30, 10:30].max() == 0
    assert kept[:, 165:].max() == 0


def test_thin_parts_near_the_object_stay():
    probability = np.zeros((200, 200), np.float32)
    probability[60:140, 60:140] = 0.9
    probability[56:60, 98:102] = 0.7  # an aerial
    kept = keep_main_object(probability, 0.5)
    np.testing.assert_allclose(kept[56:60, 98:102], 0.7)


def test_an_object_at_the_border_keeps_its_corners():
    probability = np.zeros((200, 200), np.float32)
    probability[100:200, 120:200] = 1.0
    np.testing.assert_array_equal(keep_main_object(probability, 0.5), probability)


def test_nothing_large_enough_stays_as_it_is():
    probability = np.zeros((200, 200), np.float32)
    probability[50, 50] = 1.0
    np.testing.assert_array_equal(keep_main_object(probability, 0.5), probability)


def test_cleaning_is_an_option():
    probability = np.zeros((100, 100), np.float32)
    probability[20:60, 20:60] = probability[80:90, 80:90] = 1.0
    image = np.zeros((100, 100, 3), np.uint8)
    cleaned = Segmenter(Fixed(probability), SegmentationConfig()).segment(image)
    assert cleaned[85, 85] == 0 and cleaned[40, 40] == 1
    raw = Segmenter(Fixed(probability), SegmentationConfig(single_object=False)).segment(image)
    assert raw[85, 85] == 1


def test_create_says_what_is_missing(tmp_path):
    assert create_segmenter(SegmentationConfig(network='silhouette')) is None
    with pytest.raises(FileNotFoundError, match='segmentation.weights'):
        create_segmenter(SegmentationConfig(network='birefnet'))
    with pytest.raises(FileNotFoundError, match='does not exist'):
        create_segmenter(SegmentationConfig(weights=str(tmp_path / 'x.onnx')))


def test_the_mean_of_two_networks():
    low, high = np.full((8, 8), 0.2, np.float32), np.full((8, 8), 0.6, np.float32)
    mean = Average([Fixed(low), Fixed(high)]).predict(np.zeros((8, 8, 3), np.uint8))
    np.testing.assert_allclose(mean, 0.4, atol=1e-6)
    assert mean.dtype == np.float32
