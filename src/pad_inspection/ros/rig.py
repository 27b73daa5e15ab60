"""Views of one exposure help each other: cameras that are fixed to each other, fired together.

An image that is not localised alone waits until the other images of its exposure have been
inspected, and is then inspected from where they saw the piece.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pad_inspection.datatypes import Frame, Inspection, PoseEstimate, PoseStatus, Reason, Rigid3
from pad_inspection.object_inspection import inspect_from_others
from pad_inspection.ros.frame_queue import QueuedFrame
from pad_inspection.ros.model_loading import Model

# Views that are remembered.
_MAX_REMEMBERED = 64


class Found(NamedTuple):
    """What an inspection gave.

    Attributes:
        frame: what was inspected.
        inspection: the result.
        product: '' when not recognised, or of an only model.
        model: that was used; None = none.
    """

    frame: Frame
    inspection: Inspection
    product: str
    model: Model | None


@dataclass(frozen=True)
class _View:
    """A view that was inspected, without its pictures."""

    camera: str
    object_id: str
    stamp_ns: int
    pose: PoseEstimate
    product: str
    model: Model | None


class RigViews:
    """The views of the last exposures. Used by the thread alone that inspects."""

    def __init__(self, cam_from_rig: Mapping[str, Rigid3], *, tolerance: float, patience: float):
        """No views yet.

        Args:
            cam_from_rig: by camera.
            tolerance: stamps of one exposure differ by this at most, s.
            patience: how long after its arrival an image waits for others that are not here, s.
        """
        self._cam_from_rig = dict(cam_from_rig)
        self._tolerance_ns = round(tolerance * 1e9)
        self._patience = patience
        self._views: deque[_View] = deque(maxlen=_MAX_REMEMBERED)

    def note(self, found: Found) -> None:
        """Remember a view that was inspected by itself."""
        frame = found.frame
        if frame.camera_name not in self._cam_from_rig:
            return
        if found.model is not None:
            # poses of a model that was exchanged are in another object's frame
            self._views = deque(
                (v for v in self._views if v.model is found.model or v.product != found.product),
                maxlen=_MAX_REMEMBERED,
            )
        self._views.append(
            _View(
                frame.camera_name,
                frame.object_id,
                frame.stamp_ns,
                found.inspection.pose,
                found.product,
                found.model,
            )
        )

    def can_help(self, found: Found) -> bool:
        """Whether other views might tell what this one could not: where a known piece is."""
        inspection, frame = found.inspection, found.frame
        return (
            frame.camera_name in self._cam_from_rig
            and bool(frame.object_id)
            and inspection.reason == Reason.NOT_LOCALIZED
            and inspection.pose.status != PoseStatus.LOCALIZED
        )

    def seconds_left(
        self, held: QueuedFrame, waiting: Sequence[QueuedFrame], now: float
    ) -> float | None:
        """How long an image still waits for other views; see FrameQueue.hold."""
        if any(
            other.camera in self._cam_from_rig
            and other.camera != held.camera
            and self._is_together(other.stamp_ns, held.stamp_ns)
            for other in waiting
        ):
            return None
        judged = {v.camera for v in self._views if self._is_together(v.stamp_ns, held.stamp_ns)}
        if judged >= set(self._cam_from_rig):
            return 0.0
        return held.arrived + self._patience - now

    def inspect_again(self, found: Found) -> Found | None:
        """Inspect a view from where the others of its exposure saw the piece.

        Returns:
            None when there are none, they do not agree, or the picture does not confirm it.
        """
        frame = found.frame
        others = [
            view
            for view in self._views
            if view.camera != frame.camera_name
            and view.object_id == frame.object_id
            and self._is_together(view.stamp_ns, frame.stamp_ns)
            and view.pose.status == PoseStatus.LOCALIZED
            and view.model is not None
            and (found.model is None or view.model is found.model)
        ]
        if not others or any(view.model is not others[0].model for view in others):
            return None
        model = others[0].model
        again = inspect_from_others(
            model.inspector,
            frame,
            self._cam_from_rig[frame.camera_name],
            [(view.pose, self._cam_from_rig[view.camera]) for view in others],
        )
        return None if again is None else Found(frame, again, others[0].product, model)

    def _is_together(self, first_ns: int, second_ns: int) -> bool:
        """Whether two stamps are of one exposure."""
        return abs(first_ns - second_ns) <= self._tolerance_ns
