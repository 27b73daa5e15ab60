"""Hands verdicts over to the line controller one by one, each until it is acknowledged.

The handshake: all values of a verdict are written, then its ``sequence``. The controller, which
sees sequence != acknowledge, takes the verdict and copies sequence to acknowledge; then the next
one is written. Meanwhile a heartbeat changes, and ``ready`` says whether verdicts can be trusted
to come. A controller rejects whenever the heartbeat stands still, ready is false, or a piece has
no verdict.

Nothing is lost while the controller is away: verdicts wait in order. A pass that waited for too
long is handed over as a reject, for the gate has acted without it.

A verdict that cannot be handed over at all, because its number was given to another one, is a
fault that stays until an operator resets it: ``ready`` is false, so that the controller rejects.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace

from pad_inspection.datatypes import Reason
from pad_inspection.ros.node_configs import LineControllerNodeConfig
from pad_inspection.ros.plc.handed import Handed
from pad_inspection.ros.plc.link import PlcError, PlcLink, PlcRefusedError, Value
from pad_inspection.ros.plc.sequence_numbers import Seen, SequenceNumbers, is_behind
from pad_inspection.ros.plc.variable_map import VariableMap

# Pause after the controller refused user or certificate, s: many lock a user out who tries often.
_REFUSED_PAUSE_S = 10.0


class Handover:
    """See the module's text. ``put`` and the properties may be used from other threads."""

    def __init__(
        self,
        link: PlcLink,
        variable_map: VariableMap,
        config: LineControllerNodeConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_reset: Callable[[], None] = lambda: None,
        on_error: Callable[[str], None] = lambda text: None,
    ):
        """Start disconnected.

        Args:
            link: to the controller.
            variable_map: which variables it has.
            config: times.
            clock: monotonic time, s.
            on_reset: the controller asks to take back a stop request.
            on_error: told why a connection or a request failed.
        """
        self._link, self._map, self._config = link, variable_map, config
        self._clock, self._on_reset, self._on_error = clock, on_reset, on_error
        self._lock = threading.Lock()
        self._waiting: deque[Handed] = deque()
        self._numbers = SequenceNumbers()
        self._id_bytes = variable_map.id_bytes
        # why a verdict could not be handed over; stays until ``reset``
        self.refused = ''
        self._written: Handed | None = None
        # the number that was offered last, and what the controller had taken when last asked
        self._offered = self._acknowledged = 0
        self._repeat = False
        self._beat = 0
        # what the controller had taken when this process first heard of it
        self._taken_before: int | None = None
        self._controller_beat: tuple[Value | None, float] = (None, clock())
        self._reset = False
        self._next_beat = self._next_attempt = -math.inf
        self._last_answer = self._head_since = clock()
        self.last_error = ''
        self.connected = False
        self.trusted = False
        self.stop = False
        self.counts: Counter[str] = Counter()

    def put(self, verdict: Handed) -> bool:
        """Queue a verdict.

        Returns:
            Whether it waits now. False when it was queued or handed over before, and when it
            cannot be handed over, which is a fault.
        """
        name = verdict.short_id
        if not verdict.sequence:
            self.counts['signals without sequence'] += 1
            self._refuse(f'the signal on {name} has no sequence number: it cannot be handed over')
            return False
        verdict = self._with_fitting_id(verdict)
        with self._lock:
            seen, other = self._numbers.see(verdict)
            taken = self._is_taken(verdict)
            if seen is Seen.OTHER:
                self._demote(verdict.sequence)
        if seen is Seen.OTHER:
            self._refuse_number(verdict, other.short_id)
            return False
        if seen is Seen.REPEATED:
            self.counts['repeated signals'] += 1
        if seen is Seen.REPEATED or taken:
            return False
        if seen is Seen.OUT_OF_ORDER:
            self.counts['sequence numbers out of order'] += 1
        with self._lock:
            if not self._waiting:
                self._head_since = self._clock()
            self._waiting.append(verdict)
        return True

    def reset(self) -> str:
        """The operator has looked after what could not be handed over; gives what that was."""
        refused, self.refused = self.refused, ''
        return refused

    def _with_fitting_id(self, verdict: Handed) -> Handed:
        """The same, as a reject where the id has no room: cut, it may be that of another piece."""
        data = verdict.object_id.encode(errors='replace')
        fitting = data[: self._id_bytes].decode(errors='ignore')
        if fitting == verdict.object_id:
            return verdict
        self.counts['object ids that do not fit'] += 1
        return replace(verdict.as_reject(Reason.INTERNAL_ERROR), object_id=fitting)

    def _refuse(self, text: str) -> None:
        """Keep why a verdict cannot be handed over, and tell the controller with the next step."""
        self._on_error(text)
        self.refused = self.refused or f'{text}; the line may run again after reset_stop'
        self._next_beat = -math.inf

    def _refuse_number(self, verdict: Handed, other: str) -> None:
        """A number was given to two verdicts."""
        self.counts['colliding sequence numbers'] += 1
        self._refuse(
            f'sequence number {verdict.sequence} of {verdict.short_id} was given to {other} too: '
            'it cannot be handed over (are there two reject_nodes?)'
        )

    def _demote(self, sequence: int) -> None:
        """A pass with this number that still waits becomes a reject."""
        self._waiting = deque(
            v.as_reject(Reason.INTERNAL_ERROR) if v.sequence == sequence and not v.reject else v
            for v in self._waiting
        )

    def _is_taken(self, verdict: Handed) -> bool:
        """Whether an earlier process has handed this verdict over."""
        before = self._taken_before
        if not verdict.old or not before:
            return False
        return before == verdict.sequence or is_behind(verdict.sequence, before)

    def __len__(self) -> int:
        """Verdicts that are not acknowledged yet."""
        with self._lock:
            return len(self._waiting)

    @property
    def fault(self) -> str:
        """Why the controller cannot be relied on; '' when all is well."""
        if self.refused:
            return self.refused
        now, limit = self._clock(), self._config.fault_timeout
        silent = now - self._last_answer
        if silent > limit:
            cause = f' ({self.last_error})' if self.last_error else ''
            return f'the line controller has not answered for {silent:.1f} s{cause}'
        with self._lock:
            head = self._waiting[0] if self._waiting else None
            waited = now - self._head_since
        if head is not None and waited > limit:
            return f'verdict {head.sequence} has not been acknowledged for {waited:.1f} s'
        still = now - self._controller_beat[1]
        if 'controller_heartbeat' in self._map.variables and still > limit:
            return f'the heartbeat of the line controller has stood still for {still:.1f} s'
        return ''

    def step(self) -> float:
        """Do what is due; gives the time until something is due again, s."""
        now = self._clock()
        if not self.connected and now < self._next_attempt:
            return self._next_attempt - now
        try:
            if not self.connected:
                self._connect()
            if self._clock() >= self._next_beat:
                self._exchange()
            self._hand_over()
        except PlcError as error:
            pause = self._config.retry_period
            if isinstance(error, PlcRefusedError):
                pause = max(pause, _REFUSED_PAUSE_S)
            self._disconnect(str(error), pause)
            return pause
        if len(self):
            return self._config.poll_period
        return max(0.0, self._next_beat - self._clock())

    def close(self) -> None:
        """Tell the controller that nothing will come any more, and disconnect."""
        if self.connected:
            try:
                self._link.write({'ready': False})
            except PlcError as error:
                self._on_error(str(error))
        self._link.close()
        self.connected = False

    # ---- connection --------------------------------------------------------------------------

    def _connect(self) -> None:
        """Connect, and look how far the controller has come."""
        self._link.connect()
        acknowledged = self._read_acknowledge()
        self.connected = True
        self.last_error = ''
        self._next_beat = -math.inf
        with self._lock:
            if self._taken_before is None:
                self._taken_before = acknowledged
                self._waiting = deque(v for v in self._waiting if not self._is_taken(v))
            self._head_since = self._clock()
        self._controller_beat = (None, self._clock())
        if self._written is not None and acknowledged != self._written.sequence:
            # the controller may be a new one that knows nothing
            self._written = None
        self.counts['connections'] += 1

    def _disconnect(self, text: str, pause: float) -> None:
        """Give up the connection for ``pause`` s."""
        self.last_error = text
        self._on_error(text)
        self._link.close()
        self.connected = False
        self.counts['failures'] += 1
        self._next_attempt = self._clock() + pause

    def _answered(self) -> None:
        self._last_answer = self._clock()

    # ---- values ------------------------------------------------------------------------------

    def _exchange(self) -> None:
        """One beat: tell our state, hear the controller's."""
        fault = self.fault
        self._beat = (self._beat + 1) % 2**16
        values: dict[str, Value] = {
            'heartbeat': self._beat,
            'ready': self.trusted and not fault,
            'stop_request': self.stop or bool(fault),
        }
        self._write(values)
        names = [n for n in ('controller_heartbeat', 'reset_stop') if n in self._map.variables]
        if names:
            self._hear(self._link.read(names))
            self._answered()
        # a controller that was loaded anew has forgotten what waits for its acknowledge
        self._repeat = True
        self._next_beat = self._clock() + self._config.heartbeat_period

    def _hear(self, values: dict[str, Value]) -> None:
        """Take in what the controller says."""
        beat, _ = self._controller_beat
        if values.get('controller_heartbeat') != beat:
            self._controller_beat = (values.get('controller_heartbeat'), self._clock())
        reset, self._reset = self._reset, bool(values.get('reset_stop', False))
        if self._reset and not reset:
            self._on_reset()

    def _read_acknowledge(self) -> int:
        """How far the controller has come."""
        found = self._link.read(['acknowledge'])['acknowledge']
        if type(found) is not int:
            raise PlcError(f'acknowledge is {found!r}, wanted a whole number')
        self._acknowledged = found
        self._answered()
        return self._acknowledged

    def _hand_over(self) -> None:
        """Write the next verdict, or see whether the last one was taken."""
        if self._written is not None:
            if self._read_acknowledge() == self._written.sequence:
                self._finish()
            elif self._repeat or self._written != self._current():
                self._write_verdict()
        while self._written is None and len(self):
            if not self._is_foreign(self._current()):
                self._write_verdict()

    def _is_foreign(self, verdict: Handed) -> bool:
        """Whether the controller took another verdict under this number; then it is refused.

        It would take the acknowledge of the other one for its own.
        """
        if verdict.sequence in (self._offered, 0) or verdict.sequence != self._acknowledged:
            return False
        if self._read_acknowledge() != verdict.sequence:
            return False
        with self._lock:
            self._waiting.popleft()
            self._head_since = self._clock()
        self._refuse_number(verdict, 'what the controller took before')
        return True

    def _current(self) -> Handed:
        """The first verdict as it should be handed over now."""
        with self._lock:
            verdict = self._waiting[0]
        if verdict.reject or self._clock() <= verdict.valid_until:
            return verdict
        return verdict.as_reject(Reason.DEADLINE_MISSED)

    def _write_verdict(self) -> None:
        """Write the first verdict; its number goes last."""
        verdict = self._current()
        self._write(
            {
                'object_id': verdict.object_id,
                'reject': verdict.reject,
                'verdict': verdict.verdict,
                'reason': verdict.reason,
                'score': verdict.score,
                'num_views': min(verdict.num_views, 2**16 - 1),
                'num_judged': min(verdict.num_judged, 2**16 - 1),
            }
        )
        self._offered = verdict.sequence
        self._write({'sequence': verdict.sequence})
        self._written, self._repeat = verdict, False

    def _finish(self) -> None:
        """The first verdict was taken."""
        verdict, self._written = self._written, None
        with self._lock:
            original = self._waiting.popleft()
            self._head_since = self._clock()
        self.counts['rejects handed over' if verdict.reject else 'passes handed over'] += 1
        if verdict.reject and not original.reject:
            self.counts['passes too late'] += 1

    def _write(self, values: dict[str, Value]) -> None:
        """Write those of the values that the controller has a place for."""
        self._link.write({name: v for name, v in values.items() if name in self._map.variables})
        self._answered()
