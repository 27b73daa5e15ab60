"""Views of one object from cameras that know each other: one view carries another."""

import dataclasses

import numpy as np
import pytest

from pad_inspection.bundle_config import bundle_config
from pad_inspection.comparison import image_score
from pad_inspection.config import InspectionConfig, from_dict
from pad_inspection.dataset import read_test_images
from pad_inspection.datatypes import (
    Frame,
    Inspection,
    PoseEstimate,
    PoseStatus,
    Reason,
    Rigid3,
    Verdict,
)
from pad_inspection.geometry import compose, pose_error_px, rotation_from_axis_angle
from pad_inspection.object_inspection import (
    inspect_from_others,
    inspect_object,
    join_inspections,
)
from pad_inspection.piece_views import PieceViews
from pad_inspection.pipeline import Inspector

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def views(demo_dir):
    """Three views of one intact piece; their true poses are those of the cameras in a rig."""
    return [t for t in read_test_images(demo_dir) if t.object_id == '04']


class DamagedInspector(Inspector):
    """The real inspector with what a broken camera or a wrong pose would give in one view."""

    unseen: set[int]
    poses: dict[int, Rigid3]

    def observe(self, frame, cam_from_object=None):
        """As Inspector.observe."""
        self._is_unseen = frame.stamp_ns in self.unseen
        if cam_from_object is None and frame.stamp_ns in self.poses:
            # as if localisation had taken this pose for verified
            seen = super().observe(frame, self.poses[frame.stamp_ns])
            wrong = PoseEstimate(PoseStatus.LOCALIZED, self.poses[frame.stamp_ns], confidence=1.0)
            return dataclasses.replace(seen, pose=wrong)
        return super().observe(frame, cam_from_object)

    def localize(self, query, probability, camera):
        """As Inspector.localize."""
        if self._is_unseen:
            return [PoseEstimate(PoseStatus.NO_OBJECT, message='not recognised')]
        return super().localize(query, probability, camera)


@pytest.fixture
def inspector(demo_bundle):
    # one small pass of the segmentation network is enough here, and fast
    small = {'segmentation': {'input_px': 512, 'second_input_px': 0}}
    config = from_dict(InspectionConfig, small, bundle_config(demo_bundle))
    found = DamagedInspector.from_bundle(demo_bundle, config)
    found.unseen, found.poses = set(), {}
    return found


def frames_of(views):
    return [Frame(v.load_image(), v.camera, stamp_ns=i) for i, v in enumerate(views)]


def errors_px(found, views, inspector):
    points = inspector.object_points()
    return [
        pose_error_px(v.camera, f.pose.cam_from_object, v.cam_from_object, points)
        for f, v in zip(found, views)
    ]


def test_a_view_that_is_not_recognised_is_carried_by_the_others(inspector, views):
    inspector.unseen = {1}
    frames = frames_of(views)
    alone = inspector.observe(frames[1])
    assert alone.pose.status == PoseStatus.NO_OBJECT
    found = inspect_object(inspector, frames, [v.cam_from_object for v in views])
    assert [f.pose.status for f in found] == [PoseStatus.LOCALIZED] * 3
    assert max(errors_px(found, views, inspector)) < 2.0
    assert found[1].anomaly_map is not None

    # one view after the other, as on a line
    rig = [v.cam_from_object for v in views]
    others = [(found[i].pose, rig[i]) for i in (0, 2)]
    again = inspect_from_others(inspector, frames[1], rig[1], others)
    assert max(errors_px([again], views[1:2], inspector)) < 2.0
    assert again.score == pytest.approx(found[1].score, rel=0.05)
    # two that contradict each other
    assert inspect_from_others(inspector, frames[1], rig[1], [(found[0].pose, rig[2])]) is None
    mixed = [others[0], (found[0].pose, rig[2])]
    assert inspect_from_others(inspector, frames[1], rig[1], mixed) is None


def test_a_view_that_contradicts_the_others_is_put_right(inspector, views):
    half_turn = Rigid3(rotation_from_axis_angle([0, 0, np.pi]), np.zeros(3))
    inspector.poses[2] = compose(views[2].cam_from_object, half_turn)
    found = inspect_object(inspector, frames_of(views), [v.cam_from_object for v in views])
    assert max(errors_px(found, views, inspector)) < 2.0


def test_the_maps_of_one_piece_are_joined(inspector, demo_dir):
    views = [t for t in read_test_images(demo_dir) if t.defect == 'added'][:3]
    assert len({t.object_id for t in views}) == 1
    # other options than the model's have no limits, and without one nothing is judged
    inspector.calibration = dataclasses.replace(inspector.calibration, image_threshold=4.0)
    found = [inspector.inspect(frame) for frame in frames_of(views)]
    lost = Inspection(Verdict.UNDETERMINED, Reason.NOT_LOCALIZED)
    joined = join_inspections(inspector, [found[0], lost, *found[1:]])
    assert joined[1] is lost
    for own, one, test in zip(found, [joined[0], *joined[2:]], views):
        assert one.joined_map.shape == own.anomaly_map.shape
        assert (np.isnan(one.joined_map) == np.isnan(own.anomaly_map)).all()
        assert one.anomaly_map is own.anomaly_map
        assert one.verdict == own.verdict and one.score == own.score
        assert one.joined_score == image_score(one.joined_map, inspector.config.comparison)
        assert one.timings_ms['join'] > 0
        mask = test.load_mask()
        if mask.sum() > 100:
            assert np.nanmean(one.joined_map[mask]) > 3 * np.nanmedian(one.joined_map)
        assert one.regions == own.regions  # the model has no threshold for joined maps
    inspector.calibration = dataclasses.replace(inspector.calibration, joined_pixel_threshold=0.5)
    again = join_inspections(inspector, found)
    assert all(one.regions and one.regions[0].max_score >= 0.5 for one in again)
    assert all(region.area_px >= 30 for one in again for region in one.regions)
    # what the maps say of the piece, all at once or as its views come
    inspector.calibration = dataclasses.replace(inspector.calibration, joined_image_threshold=2.0)
    again = join_inspections(inspector, found)
    highest = max(one.joined_score for one in again)
    assert [one.piece_score for one in again] == pytest.approx([highest / 2.0] * len(found))
    assert {one.piece_views for one in again} == {len(found)}
    pieces = PieceViews()
    coming = [pieces.add(inspector, dataclasses.replace(f, object_id='p')) for f in found]
    assert [one.piece_views for one in coming] == [0, *range(2, len(found) + 1)]
    assert coming[-1].piece_score == pytest.approx(highest / 2.0)
    assert coming[-1].query is not None and coming[-1].timings_ms['join'] > 0
    alone = join_inspections(inspector, [found[0], lost])
    assert alone[0].joined_map is None and np.isnan(alone[0].joined_score)


def test_the_numbers_of_frames_and_cameras_must_agree(inspector, views):
    with pytest.raises(ValueError, match='3 frames, but 1 camera poses'):
        inspect_object(inspector, frames_of(views), [views[0].cam_from_object])
