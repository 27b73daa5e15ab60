"""Hands verdicts over to the line controller one by one, each until it is acknowledged.

The handshake: all values of a verdict are written, then its ``sequence``. The controller, which
sees sequence != acknowledge, takes the verdict and copies sequence to acknowledge; then the next
one is written. Meanwhile a heartbeat changes, and ``ready`` says whether verdicts can be trusted
to come. A controller rejects whenever the heartbeat stands still, ready is false, or a piece has
no verdict.

Nothing is lost while the controller is away: verdicts wait in order. A pass that waited for too
long is handed over as a reject, for the gate has acted without it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.ros.node_configs import LineControllerNodeConfig
from pad_inspection.ros.plc.link import PlcError, PlcLink, PlcRefusedError, Value
from pad_inspection.ros.plc.variable_map import VariableMap

# Sequence numbers that are remembered: a signal that is sent again is handed over once.
_REMEMBERED = 1000
# Pause after the controller refused user or certificate, s: many lock a user out who tries often.
_REFUSED_PAUSE_S = 10.0


@dataclass(frozen=True)
class Handed:
    """A verdict on its way.

    Attributes:
        sequence, object_id, reject, verdict, reason, score, num_views, num_judged: as in the
            signal.
        valid_until: a pass is handed over as a reject after this, monotonic s.
        old: decided before this process started; an earlier one may have handed it over.
    """

    sequence: int
    object_id: str
    reject: bool
    verdict: int
    reason: int
    score: float
    num_views: int
    num_judged: int
    valid_until: float = math.inf
    old: bool = False


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
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._written: Handed | None = None
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
        """Queue a verdict; False when it was queued, or handed over, before."""
        with self._lock:
            if verdict.sequence in self._seen or self._is_taken(verdict):
                return False
            self._seen[verdict.sequence] = None
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            if not self._waiting:
                self._head_since = self._clock()
            self._waiting.append(verdict)
            return True

    def _is_taken(self, verdict: Handed) -> bool:
        """Whether an earlier process has handed this verdict over."""
        if not verdict.old or not self._taken_before:
            return False
        # numbers wrap around
        return (self._taken_before - verdict.sequence) % 2**32 < 2**31

    def __len__(self) -> int:
        """Verdicts that are not acknowledged yet."""
        with self._lock:
            return len(self._waiting)

    @property
    def fault(self) -> str:
        """Why the controller cannot be relied on; '' when all is well."""
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
        acknowledged = self._link.read(['acknowledge'])['acknowledge']
        self.connected = True
        self._answered()
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

    def _hand_over(self) -> None:
        """Write the next verdict, or see whether the last one was taken."""
        if self._written is not None:
            acknowledged = self._link.read(['acknowledge'])['acknowledge']
            self._answered()
            if acknowledged == self._written.sequence:
                self._finish()
            elif self._repeat or self._written != self._current():
                self._write_verdict()
        if self._written is None and len(self):
            self._write_verdict()

    def _current(self) -> Handed:
        """The first verdict as it should be handed over now."""
        with self._lock:
            verdict = self._waiting[0]
        if verdict.reject or self._clock() <= verdict.valid_until:
            return verdict
        return replace(
            verdict,
            reject=True,
            verdict=int(Verdict.UNDETERMINED),
            reason=int(Reason.DEADLINE_MISSED),
        )

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
        self._write({'sequence': verdict.sequence})
        self._written, self._repeat = verdict, False

    def _finish(self) -> None:
        """The first verdict was taken."""
        verdict, self._written = self._written, None
        with self._lock:
            original = self._waiting.popleft()
            self._head_since = self._clock()
        self.counts['rejects handed over' if verdict.reject else 'passes handed over'] += 1
        if verdict.reject != original.reject:
            self.counts['passes too late'] += 1

    def _write(self, values: dict[str, Value]) -> None:
        """Write those of the values that the controller has a place for."""
        self._link.write({name: v for name, v in values.items() if name in self._map.variables})
        self._answered()
