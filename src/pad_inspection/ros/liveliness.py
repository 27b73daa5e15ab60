"""Knows whether anybody who publishes a topic is alive, by the signs of life of the middleware.

They end with the publishing process (or the network), not when it is slow; slow ones are what
deadlines are for.
"""

from __future__ import annotations

import time

from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import LivelinessPolicy

from pad_inspection.ros import interfaces

# Publishers that were there before are found within this time after the start, s: until then it is
# not known that nobody is alive. Some hundred milliseconds as a rule, seconds on busy machines.
_DISCOVERY_S = 5.0


class LivelinessWatch:
    """Watches the publishers of one subscription.

    A subscription that asks for signs of life gets nothing from a publisher that offers none. So
    this has a subscription of its own, which reads no message, and whoever publishes without signs
    of life counts as alive while it is connected.
    """

    def __init__(self, node: Node, topic: interfaces.Topic, subscription):
        """Watch.

        Args:
            node: whose subscription it is.
            topic: of the subscription, with a lease.
            subscription: to the same topic.
        """
        self._node, self._subscription = node, subscription
        self._alive = 0
        self._lost_since = time.monotonic() + _DISCOVERY_S
        profile = interfaces.qos(topic, depth=1)
        profile.liveliness = LivelinessPolicy.AUTOMATIC
        profile.liveliness_lease_duration = Duration(seconds=topic.lease)
        self._watch = node.create_subscription(
            interfaces.message_class(topic.message),
            subscription.topic_name,
            lambda _: None,
            profile,
            event_callbacks=SubscriptionEventCallbacks(
                liveliness=self._on_change,
                # see the class's text
                incompatible_qos=lambda event: None,
                use_default_callbacks=False,
            ),
            raw=True,
            callback_group=subscription.callback_group,
        )

    def _on_change(self, event) -> None:
        """Publishers came to life or died."""
        before, self._alive = self._alive, event.alive_count
        if before and not event.alive_count:
            self._lost_since = time.monotonic()
            self._node.get_logger().error(
                f'whoever publishes {self._watch.topic_name} has died', throttle_duration_sec=1.0
            )

    @property
    def alive(self) -> int:
        """Publishers that are alive."""
        every = interfaces.num_publishers(self._node, self._subscription)
        if not every:
            # a sign of life was heard, but no message would be yet
            return 0
        # those without signs of life do not fit the other subscription
        silent = every - interfaces.num_publishers(self._node, self._watch)
        return self._alive + max(0, silent)

    @property
    def lost_since(self) -> float | None:
        """Since when nobody is alive, monotonic s; None: somebody is.

        In the future while the publishers may be there but have not been found yet.
        """
        return None if self.alive else self._lost_since
