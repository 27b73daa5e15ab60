"""A signal that cannot be sent ends reject_node loudly; the others still go out."""

import rclpy

from pad_inspection.ros import reject_node
from pad_inspection.ros.tracked_pieces import Decision


def test_a_signal_that_cannot_be_sent_ends_the_node(domain_id, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain_id))
    rclpy.init(args=[])
    node = reject_node.RejectNode()
    sent = []
    try:
        assert node.finished is None
        told = {name: Decision(name, _passed(), 1.0, 5) for name in ('broken', 'whole')}

        def publish(message, real=node._signals.publish):
            if message.object_id == 'broken':
                raise RuntimeError('the middleware is gone')
            sent.append(message.object_id)
            real(message)

        monkeypatch.setattr(node._signals, 'publish', publish)
        node._publish([*told.values()])
        assert sent == ['whole'] and node.finished == 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _passed():
    from pad_inspection.datatypes import Reason, Verdict
    from pad_inspection.decision import ObjectVerdict

    return ObjectVerdict(Verdict.PASS, Reason.NONE, 0.5, '', 1, 1, False)
