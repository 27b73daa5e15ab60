"""Knows for which cameras no inspection node is alive, by the liveliness of their publishers.

The sign of life comes from the middleware of the publishing process: it ends with the process (or
the network), not when an inspection is slow; slow ones are what deadlines are for.
"""

from __future__ import annotations

import time

from pad_msgs.msg import InspectionResultArray
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import LivelinessPolicy

from pad_inspection.ros import interfaces


class InspectionWatch:
    """See the module's text.

    A subscription that asks for signs of life gets nothing from a publisher that offers none. So
    this has subscriptions of its own, which read no results, and whoever publishes results without
    signs of life counts as alive while it is connected.
    """

    def __init__(self, node: Node, results: dict[str, object]):
        """Watch.

        Args:
            node: whose subscriptions these are.
            results: subscription of the results of each camera.
        """
        self._node, self._results = node, results
        self._alive = dict.fromkeys(results, 0)
        self._lost_since = dict.fromkeys(results, time.monotonic())
        profile = interfaces.qos(interfaces.RESULTS, depth=1)
        profile.liveliness = LivelinessPolicy.AUTOMATIC
        profile.liveliness_lease_duration = Duration(seconds=interfaces.RESULTS.lease)
        self._watches = {
            camera: node.create_subscription(
                InspectionResultArray,
                interfaces.RESULTS.of(camera),
                lambda _: None,
                profile,
                event_callbacks=SubscriptionEventCallbacks(
                    liveliness=lambda event, camera=camera: self._on_change(camera, event),
                    # see the class's text
                    incompatible_qos=lambda event: None,
                    use_default_callbacks=False,
                ),
                raw=True,
            )
            for camera in results
        }

    def _on_change(self, camera: str, event) -> None:
        """Publishers came to life or died."""
        before, self._alive[camera] = self._alive[camera], event.alive_count
        if before and not event.alive_count:
            self._lost_since[camera] = time.monotonic()
            self._node.get_logger().error(
                f'no inspection node of {camera} is alive', throttle_duration_sec=1.0
            )

    def lost_since(self) -> dict[str, float]:
        """Cameras that nobody inspects, and since when (monotonic, s)."""
        return {
            camera: since
            for camera, since in self._lost_since.items()
            if not self._alive[camera] and not self._has_silent_publisher(camera)
        }

    def _has_silent_publisher(self, camera: str) -> bool:
        """Whether results are published by somebody who gives no sign of life."""
        every = interfaces.num_publishers(self._node, self._results[camera])
        return every > interfaces.num_publishers(self._node, self._watches[camera])
