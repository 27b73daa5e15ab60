"""Views of pieces that come one by one; the model is small, and no picture is inspected."""

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.splats import random_gaussians, test_camera, view
from pad_inspection.calibration import Calibration
from pad_inspection.comparison import image_score
from pad_inspection.config import InspectionConfig
from pad_inspection.datatypes import Inspection, PoseEstimate, PoseStatus, Reason, Verdict
from pad_inspection.joined_views import PosedMap, ViewJoiner
from pad_inspection.piece_views import PieceViews
from pad_inspection.rendering.renderer import SplatScene

CAMERA = test_camera(64)


class Model(SimpleNamespace):
    """What PieceViews needs of an inspector."""


@pytest.fixture(scope='module')
def inspector():
    gaussians = random_gaussians(2000, degree=0, radius=0.05, size=0.003)
    scene = SplatScene(gaussians, device='cpu', threads=1)
    config = InspectionConfig()
    return Model(
        config=config,
        calibration=Calibration(2.0, 1.0, joined_image_threshold=0.5),
        joiner=ViewJoiner(scene, gaussians, config.comparison),
    )


def inspection(azimuth, level, object_id='a'):
    scores = np.full((64, 64), level, np.float32)
    pose = PoseEstimate(PoseStatus.LOCALIZED, view(azimuth, height=0.02))
    return Inspection(
        Verdict.PASS, Reason.NONE, pose=pose, score=level, threshold=2.0, anomaly_map=scores,
        query=np.zeros((64, 64, 3), np.uint8), camera=CAMERA, object_id=object_id,
    )  # fmt: skip


def test_each_view_tells_what_all_of_them_say(inspector):
    pieces = PieceViews()
    views = [inspection(10.0 * k, 0.2 * (k + 1)) for k in range(3)]
    first, other, second, third = (
        pieces.add(inspector, one)
        for one in (views[0], inspection(0.0, 9.0, object_id='b'), *views[1:])
    )
    for alone in (first, other):
        assert np.isnan(alone.piece_score) and alone.piece_views == 0
    assert (second.piece_views, third.piece_views) == (2, 3)
    maps = inspector.joiner.join(
        [PosedMap(CAMERA, v.pose.cam_from_object, v.anomaly_map) for v in views]
    )
    highest = max(image_score(m, inspector.config.comparison) for m in maps)
    assert third.piece_score == pytest.approx(highest / 0.5)
    # all else of the result is as it was
    assert third.query is views[2].query and third.score == views[2].score
    assert set(third.timings_ms) == {'join'}


def test_pieces_of_one_name_are_not_joined(inspector):
    pieces = PieceViews()
    pieces.add(inspector, inspection(0.0, 0.2), 1)
    assert pieces.add(inspector, inspection(10.0, 0.2), 2).piece_views == 0
    assert pieces.add(inspector, inspection(20.0, 0.2), 2).piece_views == 2


def test_what_cannot_be_joined_stays_as_it_is(inspector):
    pieces = PieceViews()
    pieces.add(inspector, inspection(0.0, 0.2))
    one = inspection(10.0, 0.2)
    for other in (
        replace(one, verdict=Verdict.UNDETERMINED, reason=Reason.VIEW_NOT_COVERED),
        replace(one, object_id=''),
        replace(one, anomaly_map=None),
    ):
        assert pieces.add(inspector, other) is other
    for without in (
        Model(),
        Model(**{**vars(inspector), 'joiner': None}),
        Model(**{**vars(inspector), 'calibration': Calibration(2.0, 1.0)}),
    ):
        assert pieces.add(without, one) is one
    # views of a model that was exchanged are not joined with those of the new one
    exchanged = Model(**vars(inspector))
    assert pieces.add(exchanged, one).piece_views == 0
    assert pieces.add(inspector, one).piece_views == 2
    # nor do they keep it in memory
    gone = weakref.ref(exchanged)
    del exchanged
    gc.collect()
    assert gone() is None


def test_memory_is_bounded(inspector):
    pieces = PieceViews(memory=1)
    for azimuth in (0.0, 10.0, 20.0):
        assert pieces.add(inspector, inspection(azimuth, 0.2)).piece_views == 0
    assert len(pieces._kept) == 1
