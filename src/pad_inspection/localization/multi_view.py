"""Several views of one object from cameras that know each other: one pose for all of them.

A rig is cameras that are fixed to each other, or one camera and a turntable: cam_from_rig of each
view is known, the object does not move in the rig's frame. A view that was localised then says
where the object is in every other view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pad_inspection.datatypes import Rigid3
from pad_inspection.geometry import compose, invert, rotation_angle_deg, transform

# Poses of one object that two views give differ by less than this, or one of them is wrong.
SAME_ANGLE_DEG = 6.0
# Share of the object's distance; along the optical axis a single view is the least precise.
SAME_SHIFT = 0.06


@dataclass(frozen=True)
class RigPose:
    """A pose of the object in the rig's frame that some views agree on.

    Attributes:
        rig_from_object: m.
        views: indices of the views that agree, in order.
    """

    rig_from_object: Rigid3
    views: tuple[int, ...]

    def cam_from_object(self, cam_from_rig: Rigid3) -> Rigid3:
        """Where a camera of the rig sees the object."""
        return compose(cam_from_rig, self.rig_from_object)


def agreeing_poses(
    cam_from_object: Mapping[int, Rigid3],
    cam_from_rig: Sequence[Rigid3],
    object_center: np.ndarray,
    confidence: Mapping[int, float],
) -> list[RigPose]:
    """Group the poses of single views by the pose in the rig that they stand for.

    Args:
        cam_from_object: poses of the views that were localised, by index.
        cam_from_rig: pose of each view's camera in the rig.
        object_center: (3,) m, object frame.
        confidence: of the poses, by index.

    Returns:
        Groups, each view in one of them: that of most views first, then by confidence. The pose
        of a group is that of its most confident view.
    """
    in_rig = {
        index: compose(invert(cam_from_rig[index]), pose)
        for index, pose in cam_from_object.items()
    }
    left = sorted(in_rig, key=lambda index: (-confidence[index], index))
    groups: list[RigPose] = []
    while left:
        supporters = {
            index: [o for o in left if _near(in_rig, index, o, cam_from_object, object_center)]
            for index in left
        }
        members = max(supporters.values(), key=len)
        leader = max(members, key=lambda index: confidence[index])
        groups.append(RigPose(in_rig[leader], tuple(sorted(members))))
        left = [index for index in left if index not in members]
    return sorted(
        groups, key=lambda g: (-len(g.views), -sum(confidence[index] for index in g.views))
    )


def _near(
    in_rig: Mapping[int, Rigid3],
    first: int,
    second: int,
    cam_from_object: Mapping[int, Rigid3],
    object_center: np.ndarray,
) -> bool:
    """Whether two views give the same pose in the rig, as precisely as single views can."""
    a, b = in_rig[first], in_rig[second]
    center = np.asarray(object_center, np.float64)[None]
    distance = max(
        float(np.linalg.norm(transform(cam_from_object[index], center)))
        for index in (first, second)
    )
    shift = float(np.linalg.norm(transform(a, center) - transform(b, center)))
    return rotation_angle_deg(a, b) < SAME_ANGLE_DEG and shift < SAME_SHIFT * distance
