"""Listens to a running graph over DDS as any other program would: results, signals, pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from rclpy.node import Node

from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.ros import conversions, debug_pictures, interfaces


@dataclass(frozen=True)
class ObservedView:
    """One inspection result.

    Attributes:
        camera, stamp_ns: which image.
        object_id: which piece.
        verdict, reason, message: outcome.
        score, threshold: NaN when not scored.
        seconds: from arrival of the image in the node to the result.
        step_ms: time of each step, ms.
    """

    camera: str
    stamp_ns: int
    object_id: str
    verdict: Verdict
    reason: Reason
    message: str
    score: float
    threshold: float
    seconds: float
    step_ms: dict[str, float]

    @property
    def has_pictures(self) -> bool:
        """Whether an anomaly map, so also an overlay, belongs to it."""
        return math.isfinite(self.score)


@dataclass(frozen=True)
class ObservedSignal:
    """One reject signal."""

    object_id: str
    reject: bool
    verdict: Verdict
    reason: Reason
    message: str
    score: float
    threshold: float


@dataclass
class Observed:
    """All that was seen.

    Attributes:
        views: every result, in order of arrival.
        signals: every reject signal, in order of arrival.
        pictures: (camera, stamp_ns, 'overlay' or 'reference') -> uint8 (H, W, 3) RGB.
        models: ids of the models that were announced.
        frames_sent: as replay_node tells.
        replay_finished: replay_node has sent all and waits for nothing more.
    """

    views: list[ObservedView] = field(default_factory=list)
    signals: list[ObservedSignal] = field(default_factory=list)
    pictures: dict[tuple[str, int, str], np.ndarray] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    frames_sent: int = 0
    replay_finished: bool = False


class ObserverNode(Node):
    """Collects what the nodes publish; the caller spins it."""

    def __init__(self, cameras: Sequence[str], *, pictures: bool = True, depth: int = 1000):
        """Subscribe.

        Args:
            cameras: names.
            pictures: also the debug pictures (subscribing makes the node draw them).
            depth: messages kept while the caller is busy.
        """
        super().__init__('pad_observer')
        self.seen = Observed()
        self._listening: list = []
        for camera in cameras:
            self._listen(interfaces.RESULTS, camera, self._on_results, depth)
            if pictures:
                for topic, kind in (
                    (interfaces.OVERLAY, 'overlay'),
                    (interfaces.REFERENCE, 'reference'),
                ):
                    self._listen(
                        topic,
                        camera,
                        lambda message, camera=camera, kind=kind: self._on_picture(
                            camera, kind, message
                        ),
                        depth,
                    )
        self._listen(interfaces.REJECT_SIGNAL, '', self._on_signal, depth)
        self._listen(
            interfaces.MODEL_INFO, '', lambda m: self.seen.models.append(m.model_id), None
        )
        self._listen(interfaces.REPLAY_STATUS, '', self._on_status, None)

    def _listen(self, topic: interfaces.Topic, camera: str, callback, depth: int | None) -> None:
        """Subscribe to one topic."""
        name = topic.of(camera)
        subscription = self.create_subscription(
            interfaces.message_class(topic.message),
            name,
            callback,
            interfaces.qos(topic, depth=depth),
        )
        if topic is not interfaces.REPLAY_STATUS:
            self._listening.append(subscription)

    def missing_publishers(self) -> list[str]:
        """Topics that this node is not connected to yet (the replay's status may come later)."""
        return [
            subscription.topic_name
            for subscription in self._listening
            if interfaces.num_publishers(self, subscription) == 0
        ]

    def _on_results(self, message) -> None:
        for result in message.results:
            duration = result.processing_time
            self.seen.views.append(
                ObservedView(
                    camera=result.camera_name,
                    stamp_ns=conversions.stamp_to_ns(result.header.stamp),
                    object_id=result.object_id,
                    verdict=_known(Verdict, result.verdict, Verdict.UNDETERMINED),
                    reason=_known(Reason, result.reason, Reason.INTERNAL_ERROR),
                    message=result.message,
                    score=result.anomaly_score,
                    threshold=result.threshold,
                    seconds=duration.sec + duration.nanosec / 1e9,
                    step_ms=dict(zip(result.step_names, map(float, result.step_times_ms))),
                )
            )

    def _on_picture(self, camera: str, kind: str, message) -> None:
        picture = debug_pictures.read(self, f'{kind} of {camera}', message)
        if picture is not None:
            key = (camera, conversions.stamp_to_ns(message.header.stamp), kind)
            self.seen.pictures[key] = picture

    def _on_signal(self, message) -> None:
        self.seen.signals.append(
            ObservedSignal(
                message.object_id,
                message.reject,
                _known(Verdict, message.verdict, Verdict.UNDETERMINED),
                _known(Reason, message.reason, Reason.INTERNAL_ERROR),
                message.message,
                message.anomaly_score,
                message.threshold,
            )
        )

    def _on_status(self, message) -> None:
        self.seen.frames_sent = message.frames_sent
        self.seen.replay_finished = message.finished


def _known(kind, value: int, otherwise):
    """A verdict or reason; ``otherwise`` for a number that nobody defined."""
    try:
        return kind(value)
    except ValueError:
        return otherwise
