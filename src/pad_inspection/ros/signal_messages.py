"""From decisions to RejectSignal messages."""

from __future__ import annotations

import math
from dataclasses import replace

from builtin_interfaces.msg import Time
from pad_msgs.msg import RejectSignal
from std_msgs.msg import Header

from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ObjectVerdict
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.node_configs import RejectNodeConfig
from pad_inspection.ros.tracked_pieces import Decision
from pad_inspection.text_safety import MAX_TEXT_LENGTH, printable

_MAX_SECONDS = 2**31
_MAX_UINT32 = 2**32 - 1


def signal_message(
    config: RejectNodeConfig, sequence: int, decided_ns: int, decision: Decision
) -> RejectSignal:
    """Message of a decision.

    Args:
        config: of reject_node: where the gate is, how long a signal is valid.
        sequence: number of the signal.
        decided_ns: clock of reject_node, ns.
        decision: what is told.
    """
    signal = RejectSignal(
        header=Header(
            stamp=conversions.stamp_of_ns(decision.stamp_ns),
            frame_id=interfaces.CONVEYOR_FRAME,
        ),
        object_id=decision.object_id,
        threshold=float(decision.threshold),
        inspection_ids=list(decision.inspection_ids),
        sequence=sequence % 2**32,
        decided_at=_time(decided_ns),
    )
    fill_verdict(signal, decision.verdict)
    x, y, z = decision.position
    signal.position.x, signal.position.y, signal.position.z = float(x), float(y), float(z)
    if config.signal_lifespan > 0:
        signal.valid_until = _time(decided_ns + int(config.signal_lifespan * 1e9))
    if config.belt_speed > 0 and math.isfinite(x):
        travel_s = (config.gate_position - x) / config.belt_speed
        signal.gate_at = _time(decision.stamp_ns + 1e9 * travel_s)
    return signal


def fill_verdict(signal: RejectSignal, verdict: ObjectVerdict) -> None:
    """Write a verdict into a signal."""
    signal.reject = verdict.reject
    signal.verdict, signal.reason = int(verdict.verdict), int(verdict.reason)
    signal.message = printable(verdict.message, MAX_TEXT_LENGTH)
    signal.anomaly_score, signal.coverage = float(verdict.score), float(verdict.coverage)
    signal.num_views = min(verdict.num_views, _MAX_UINT32)
    signal.num_judged = verdict.num_judged


def stripped(decision: Decision, text: str) -> Decision:
    """A decision that no message can hold, as a reject that every message can hold."""
    verdict = ObjectVerdict(
        Verdict.UNDETERMINED, Reason.INTERNAL_ERROR, math.nan, text, 0, 0, True
    )
    nowhere = (math.nan,) * 3
    return replace(
        decision, verdict=verdict, threshold=math.nan, stamp_ns=0, position=nowhere, views={}
    )


def _time(nanoseconds: float) -> Time:
    """Stamp; 0 = unknown for one that none can hold."""
    if not (math.isfinite(nanoseconds) and 0 <= nanoseconds < _MAX_SECONDS * 1e9):
        return Time()
    return conversions.stamp_of_ns(int(nanoseconds))
