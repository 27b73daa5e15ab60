"""Which product an image shows."""

import numpy as np
import pytest

from pad_inspection.datatypes import (
    Camera,
    Frame,
    Inspection,
    PoseEstimate,
    PoseStatus,
    Reason,
    Rigid3,
    Verdict,
)
from pad_inspection.recognition import recognize

FRAME = Frame(
    np.zeros((4, 4, 3), np.uint8),
    Camera(4, 4, np.array([[4.0, 0, 2], [0, 4, 2], [0, 0, 1]])),
    stamp_ns=7,
    camera_name='left',
    object_id='p',
)


class Model:
    """Localises with an agreement; None = does not."""

    def __init__(self, agreement, reason=Reason.NOT_LOCALIZED):
        self._agreement = agreement
        self._reason = reason

    def inspect(self, frame):
        origin = {'camera_name': 'left', 'object_id': 'p', 'stamp_ns': 7, 'query': frame.image}
        if self._agreement is None:
            return Inspection(Verdict.UNDETERMINED, self._reason, 'too few matches', **origin)
        pose = PoseEstimate(
            PoseStatus.LOCALIZED, Rigid3(np.eye(3), np.ones(3)), confidence=self._agreement
        )
        return Inspection(Verdict.PASS, Reason.NONE, pose=pose, score=0.5, **origin)


def test_the_model_that_explains_the_image_best():
    models = {'car': Model(0.7), 'truck': Model(0.9), 'boat': Model(None)}
    name, inspection = recognize(models, FRAME, margin=0.1)
    assert name == 'truck' and inspection.verdict == Verdict.PASS
    assert inspection.pose.confidence == 0.9


@pytest.mark.parametrize('agreements', [(0.9, 0.85), (0.9, 0.9), (float('nan'), float('nan'))])
def test_two_alike_are_undetermined(agreements):
    models = {'car': Model(agreements[0]), 'truck': Model(agreements[1])}
    name, inspection = recognize(models, FRAME, margin=0.1)
    assert name == '' and inspection.verdict == Verdict.UNDETERMINED
    assert inspection.reason == Reason.NOT_LOCALIZED and 'alike' in inspection.message
    assert inspection.pose.cam_from_object is None
    assert (inspection.camera_name, inspection.object_id, inspection.stamp_ns) == ('left', 'p', 7)


def test_an_unknown_product_is_undetermined():
    name, inspection = recognize({'car': Model(None), 'truck': Model(None)}, FRAME, margin=0.1)
    assert name == '' and inspection.reason == Reason.NOT_LOCALIZED
    assert 'car: too few matches' in inspection.message and 'truck' in inspection.message
    _, broken = recognize({'car': Model(None, Reason.INTERNAL_ERROR)}, FRAME, margin=0.1)
    assert broken.reason == Reason.INTERNAL_ERROR
