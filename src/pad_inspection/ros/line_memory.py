"""What reject_node remembers over a restart: open pieces, signals, the stop request; and its log.

The journal (signal_journal.py) is written before a signal goes out, without waiting for a disk;
the verdict log (log_writer.py) afterwards, by another thread. Plain Python without ROS.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from pad_inspection.datatypes import Reason
from pad_inspection.ros.log_writer import LogWriter
from pad_inspection.ros.node_configs import RejectNodeConfig
from pad_inspection.ros.signal_journal import SignalJournal
from pad_inspection.ros.tracked_pieces import Decided, Decision, Piece
from pad_inspection.ros.verdict_log import LoggedVerdict

_BOOT_ID = Path('/proc/sys/kernel/random/boot_id')
# Of a signal's views, what the journal keeps for the log at most, characters.
_MAX_VIEWS = 4096
_CLOSE_S = 3.0


class LineMemory:
    """See the module's text. One thread writes to it.

    Attributes:
        writer: of the verdict log.
        is_new: no earlier process remembered anything here.
    """

    def __init__(self, config: RejectNodeConfig, *, simulated: bool = False):
        """Open what an earlier process left.

        Args:
            config: log_dir and limits of the log.
            simulated: deadlines are in simulated time.

        Raises:
            ValueError: another process uses the folder, or it can never be written.
        """
        folder = Path(config.log_dir)
        self._journal = SignalJournal(folder)
        self.is_new = self._journal.is_new
        self._clock_id = 'simulated' if simulated else _boot_id()
        # what an earlier process may not have stored
        known = [LoggedVerdict.of_row(signal['row']) for signal in self._journal.signals.values()]
        self.writer = LogWriter(
            folder,
            known,
            max_verdicts=config.log_max_verdicts,
            max_pictures=config.log_max_pictures,
        )

    # ---- from the last process ---------------------------------------------------------------

    @property
    def last_sequence(self) -> int:
        """Highest number of a signal; 0 where none is known."""
        return max(self._journal.signals, default=0)

    @property
    def stop(self) -> str:
        """Why the line was asked to stop; '' = it was not."""
        return self._journal.stop

    def open_pieces(self) -> list[Piece]:
        """Pieces that were open when the last process ended.

        The monotonic clock goes on over a restart of the process; after one of the computer the
        time of all of them is over.
        """
        return [self._piece(name, content) for name, content in self._journal.open_pieces.items()]

    def decided(self, now: float, forget_after: float) -> dict[str, Decided]:
        """Pieces decided within the last ``forget_after`` s, oldest first; ``now``: s."""
        found = {}
        for signal in self._journal.signals.values():
            age = max(0.0, (time.time_ns() - signal['row'][1]) / 1e9)
            if age < forget_after:
                found.pop(signal['object_id'], None)
                found[signal['object_id']] = Decided(
                    now - age, signal['last_ns'], signal['complete']
                )
        return found

    def unsent(self) -> list[tuple[int, int, Decision]]:
        """Sequence, time (ns) and decision of signals that may not have gone out, oldest first."""
        found = []
        for sequence, signal in self._journal.signals.items():
            if signal['sent']:
                continue
            logged = LoggedVerdict.of_row(signal['row'])
            deadline = signal['deadline'] if signal['clock'] == self._clock_id else -math.inf
            decision = replace(
                logged.decision(),
                deadline=deadline,
                last_ns=signal['last_ns'],
                complete=signal['complete'],
            )
            found.append((sequence, logged.decided_ns, decision))
        return found

    def was_decided(self, object_id: str, stamp_ns: int) -> bool:
        """Whether a signal on this piece came of this exposure or a later one."""
        return self._journal.was_decided(object_id, stamp_ns)

    # ---- of this process ---------------------------------------------------------------------

    def save_open(self, piece: Piece) -> None:
        """Remember a piece that is not decided yet, or what is new about it."""
        self._journal.save_open(
            piece.object_id,
            {
                'clock': self._clock_id,
                'since': piece.since,
                'deadline': piece.deadline,
                'stamp_ns': piece.stamp_ns,
                'position': piece.position,
                'announced': dict(piece.announced),
                'triggers': [[stamp, list(cameras)] for stamp, cameras in piece.triggers],
                'expected_views': piece.expected_views,
                'fault': piece.fault,
                'fault_reason': int(piece.fault_reason),
            },
        )

    def before_signal(self, sequence: int, decided_ns: int, decision: Decision) -> LoggedVerdict:
        """Remember a signal that goes out now; returns its line of the log."""
        logged = LoggedVerdict.of(sequence, decided_ns, decision)
        row = logged.row()
        if len(logged.views) > _MAX_VIEWS:
            row[-1] = '[]'
        self._journal.add_signal(
            sequence,
            {
                'object_id': decision.object_id,
                'last_ns': decision.last_ns,
                'complete': decision.complete,
                'clock': self._clock_id,
                'deadline': decision.deadline,
                'row': row,
            },
        )
        return logged

    def after_signal(self, logged: LoggedVerdict) -> None:
        """A signal is out: it goes into the log."""
        self._journal.mark_sent(logged.sequence)
        self.writer.add(logged)

    def set_stop(self, text: str) -> None:
        """Remember why the line is asked to stop; '' = it is not."""
        self._journal.set_stop(text)

    def faults(self) -> list[str]:
        """What is wrong with the disk at the moment."""
        found = [self._journal.fault] if self._journal.fault else []
        if self.writer.fault:
            found.append(f'the verdict log cannot be written: {self.writer.fault}')
        return found

    def counts(self) -> Counter[str]:
        """Of the log."""
        counts = Counter(self.writer.counts)
        counts['log: waiting'] = len(self.writer)
        return counts

    def close(self) -> None:
        """Write what can be written; the rest is in the journal for the next process."""
        self.writer.close(_CLOSE_S)
        self._journal.close()

    def _piece(self, name: str, content: dict[str, Any]) -> Piece:
        """Piece as it was saved."""
        same_clock = content['clock'] == self._clock_id
        return Piece(
            name,
            content['since'] if same_clock else -math.inf,
            content['deadline'] if same_clock else -math.inf,
            content['stamp_ns'],
            tuple(map(float, content['position'])),
            Counter(content['announced']),
            {(stamp, tuple(cameras)) for stamp, cameras in content['triggers']},
            content['expected_views'],
            fault=content['fault'],
            fault_reason=Reason(content['fault_reason']),
        )


def _boot_id() -> str:
    """Differs after each start of the computer."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ''
