"""Views of one exposure that help each other: by themselves, and in inspection_node over DDS."""

import math
from dataclasses import replace

import numpy as np
import pytest
import yaml
from pad_msgs.msg import InspectionResult
from std_msgs.msg import Header

from helpers.ros_line import camera
from helpers.small_dataset import SIZE, picture
from helpers.small_inspector import SmallInspector, write_bundle
from pad_inspection.datatypes import Frame, PoseStatus, Reason, Verdict
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.frame_queue import QueuedFrame
from pad_inspection.ros.model_loading import loaded_model
from pad_inspection.ros.rig import Found, RigViews
from pad_inspection.ros.rig_file import read_rig

UPRIGHT = [0.0, 0.0, 0.0, 1.0]
# Where the cameras stand, m, and where they see a piece that is straight ahead of the left one, px
# from the middle; no view's middle is on the piece of another.
STANDS = {'left': 0.0, 'right': 0.08, 'top': -0.08}
SHIFTS = {name: round(-x * 90 / 0.3) for name, x in STANDS.items()}
DARK = (40, 40, 40)


def rig_file(folder, names=('left', 'right'), stands=STANDS):
    poses = {
        name: {'translation': [stands[name], 0, 0], 'rotation_xyzw': UPRIGHT} for name in names
    }
    path = folder / 'rig.yaml'
    path.write_text(yaml.safe_dump({'cameras': poses}))
    return path


def frame(name, shift=None, stamp_ns=1, object_id='piece', **look):
    shift = SHIFTS[name] if shift is None else shift
    return Frame(picture(shift=shift, **look), camera(), stamp_ns, name, object_id)


class Views:
    """A rig and its one model."""

    def __init__(self, folder, names=('left', 'right'), **options):
        values = {'tolerance': 0.0, 'patience': 1.0} | options
        self.rig = RigViews(read_rig(rig_file(folder, names), names), **values)
        self.model = self.load(folder)

    def load(self, folder):
        bundle = write_bundle(folder / 'bundle')
        return loaded_model(SmallInspector.from_bundle(bundle), bundle, Header())

    def see(self, taken, product=''):
        """A view by itself."""
        found = Found(taken, self.model.inspector.inspect(taken), product, self.model)
        self.rig.note(found)
        return found


def test_a_view_is_inspected_from_the_pose_in_another(tmp_path):
    views = Views(tmp_path)
    lost = views.see(frame('right', color=DARK, defect=True))
    assert lost.inspection.pose.status == PoseStatus.NO_OBJECT and views.rig.can_help(lost)
    assert views.rig.inspect_again(lost) is None
    seen = views.see(frame('left'))
    assert not views.rig.can_help(seen)
    again = views.rig.inspect_again(lost)
    assert again.inspection.verdict == Verdict.REJECT and again.model is views.model
    center = again.inspection.pose.cam_from_object.translation
    np.testing.assert_allclose(center, [-0.08, 0, 0.3], atol=0.005)


@pytest.mark.parametrize(
    'change',
    [
        {'shift': 0},  # its picture shows nothing where the piece should be
        {'stamp_ns': 2},  # another exposure
        {'object_id': 'other'},
    ],
)
def test_a_view_that_the_others_do_not_fit_stays_as_it_is(tmp_path, change):
    views = Views(tmp_path)
    views.see(frame('left'))
    assert views.rig.inspect_again(views.see(frame('right', color=DARK, **change))) is None


def test_views_that_contradict_each_other_help_nobody(tmp_path):
    views = Views(tmp_path, tuple(STANDS))
    views.see(frame('left'))
    views.see(frame('right', shift=0))
    lost = views.see(frame('top', color=DARK))
    assert views.rig.inspect_again(lost) is None
    # two that agree are believed
    agreed = Views(tmp_path, tuple(STANDS))
    agreed.see(frame('left'))
    agreed.see(frame('right'))
    again = agreed.rig.inspect_again(lost._replace(model=agreed.model))
    assert again.inspection.verdict == Verdict.PASS


def test_poses_of_an_exchanged_model_or_another_product_are_not_used(tmp_path):
    views = Views(tmp_path)
    views.see(frame('left'))
    views.model = views.load(tmp_path)
    assert views.rig.inspect_again(views.see(frame('right', color=DARK))) is None
    views.see(frame('left'), 'coupe')
    lost = views.see(frame('right', color=DARK))
    truck = Views(tmp_path).model
    assert views.rig.inspect_again(lost._replace(product='truck', model=truck)) is None
    # one that was not recognised is what the other view was recognised as
    again = views.rig.inspect_again(lost._replace(product='', model=None))
    assert again.product == 'coupe' and again.model is views.model


def test_who_needs_help(tmp_path):
    rig = Views(tmp_path).rig
    found = Views(tmp_path).see(frame('right', color=DARK))
    assert rig.can_help(found)
    assert not rig.can_help(found._replace(frame=replace(found.frame, camera_name='aside')))
    # without a piece nobody knows which other view shows the same one
    assert not rig.can_help(found._replace(frame=replace(found.frame, object_id='')))
    late = replace(found.inspection, reason=Reason.DEADLINE_MISSED)
    assert not rig.can_help(found._replace(inspection=late))


def test_how_long_a_view_waits_for_the_others(tmp_path):
    views = Views(tmp_path, tuple(STANDS), tolerance=1e-6, patience=2.0)

    def queued(name, stamp_ns=1):
        return QueuedFrame(name, None, None, stamp_ns, arrived=10.0)

    def left(waiting=(), now=10.5):
        return views.rig.seconds_left(queued('right'), waiting, now)

    views.see(frame('right', color=DARK))
    assert left() == 1.5
    assert left([queued('left', stamp_ns=1000)], now=99.0) is None
    others = [queued('left', stamp_ns=5000), queued('right'), queued('aside')]
    assert left(others) == 1.5
    views.see(frame('left'))
    assert left() == 1.5
    views.see(frame('top', color=DARK))
    assert left() == 0.0


@pytest.mark.parametrize(
    ('content', 'wanted'),
    [
        ('[1]', 'wanted one mapping "cameras"'),
        ('cameras: 7', 'cameras is 7, wanted a mapping'),
        ('cameras: {left: {translation: [0, 0, 0]}}', 'camera left is .* rotation_xyzw'),
        ('cameras: {left: {translation: [0, 0], rotation_xyzw: [0, 0, 0, 1]}}', 'camera left'),
        ('cameras: {}', r'has \[\], wanted two or more of the cameras of this node.*left'),
        ('cameras: {', 'expected'),
    ],
)
def test_a_bad_rig_is_told(tmp_path, content, wanted):
    path = tmp_path / 'rig.yaml'
    path.write_text(content)
    with pytest.raises(ValueError, match=wanted) as error:
        read_rig(path, ['left', 'right'])
    assert str(error.value).startswith(str(path))


def test_cameras_of_other_nodes_in_a_rig_are_left_out(tmp_path):
    assert set(read_rig(rig_file(tmp_path), ['left', 'right', 'aside'])) == {'left', 'right'}
    with pytest.raises(FileNotFoundError, match='does not exist'):
        read_rig(tmp_path / 'nowhere', ['left'])


def shoot(line, name, piece, **look):
    """Send an image of a camera; returns its header."""
    header = line.header(name, 1_700_000_000 * 10**9 + piece * 10**9)
    image = picture(shift=SHIFTS[name], size=SIZE, **look)
    line.send(conversions.array_to_image(image, 'rgb8', header), name=name)
    return header


def test_a_camera_that_alone_sees_nothing_gets_its_verdict(line, tmp_path):
    # a trigger that is waited for without end: nothing here may wait for that long
    line.start_inspection(
        cameras=['left', 'right'],
        rig=str(rig_file(tmp_path)),
        trigger_timeout=3600.0,
        diagnostics_period=0.1,
        queue_size=4,
    )

    def expose(piece, first, second):
        headers = [shoot(line, name, piece, **look) for name, look in (first, second)]
        line.trigger(f'piece {piece}', conversions.stamp_to_ns(headers[0].stamp), [], 2)
        return [
            line.result_of(header, name) for header, (name, _) in zip(headers, (first, second))
        ]

    # whichever camera comes first
    right, left = expose(1, ('right', {'color': DARK, 'defect': True}), ('left', {}))
    assert right.verdict == InspectionResult.VERDICT_REJECT and len(right.regions) == 1
    assert left.verdict == InspectionResult.VERDICT_PASS
    assert left.object_id == right.object_id == 'piece 1'
    left, right = expose(2, ('left', {}), ('right', {'color': DARK}))
    assert left.verdict == right.verdict == InspectionResult.VERDICT_PASS
    assert not math.isnan(right.anomaly_score)
    # none of them sees it
    for result in expose(3, ('left', {'color': DARK}), ('right', {'color': DARK})):
        assert result.reason == InspectionResult.REASON_NOT_LOCALIZED
    # the other view never comes: the image waits for it, and is answered when the node ends
    waiting = shoot(line, 'right', 4, color=DARK)
    line.trigger('piece 4', conversions.stamp_to_ns(waiting.stamp), [], 2)

    def values():
        arrays = line.listen(interfaces.DIAGNOSTICS)
        found = [{v.key: v.value for v in s.values} for a in arrays for s in a.status]
        return [one for one in found if 'queued' in one][-1:]

    def has_held_the_fifth():
        return any(one.get('waited for other views') == '5' for one in values())

    line.wait(has_held_the_fifth, 'image that waits')
    assert values()[0]['inspected from the pose in other views'] == '2'
    assert line.transition('deactivate')
    result = line.result_of(waiting, 'right')
    assert result.reason == InspectionResult.REASON_FRAME_DROPPED and result.object_id == 'piece 4'
    for name in ('left', 'right'):
        stamps = [a.header.stamp.sec for a in line.listen(interfaces.RESULTS, name)]
        assert len(set(stamps)) == len(stamps) == (3 if name == 'left' else 4)


def test_a_view_waits_for_the_others_no_longer_than_for_its_trigger(line, tmp_path):
    line.start_inspection(
        cameras=['left', 'right'], rig=str(rig_file(tmp_path)), trigger_timeout=0.2
    )
    alone = shoot(line, 'right', 1, color=DARK)
    assert line.result_of(alone, 'right').reason == InspectionResult.REASON_NOT_LOCALIZED
