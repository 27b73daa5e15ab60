"""A map of every second demo view, made once for all tests; and object masks from true poses."""

import functools
import tempfile
from pathlib import Path

from pad_inspection.config import LocalizationConfig, MappingConfig
from pad_inspection.dataset import read_training_views
from pad_inspection.localization.alignment import silhouette

DEMO = Path(__file__).resolve().parents[2] / 'demo' / 'data' / 'coupe'


@functools.cache
def small_map():
    """offline.build_model.MappingResult with XFeat, and its folder."""
    from pad_inspection.offline.build_model import map_views

    work_dir = Path(tempfile.mkdtemp(prefix='pad_small_map_'))
    views = read_training_views(DEMO)[::2]
    return map_views(views, MappingConfig(), LocalizationConfig(), work_dir), work_dir


def mask_of(test_image, reference):
    """Object probability float32 (H, W) of a test image: its true pose's points, grown."""
    mask = silhouette(reference, test_image.cam_from_object, test_image.camera)
    return mask.astype('float32')
