"""Writes the verdict log from a thread of its own, so that no disk delays a signal.

A disk may be slow, locked or full. What cannot be written now is tried again; what waits is
bounded, and what is given up is counted.
Plain Python without ROS.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

from pad_inspection.ros.verdict_log import LoggedVerdict, VerdictLog

# Verdicts and pictures that wait for the disk.
_MAX_VERDICTS, _MAX_PICTURES = 10000, 256
# Verdicts of one transaction.
_BATCH = 256
# What values raise that SQLite does not take.
_BAD_VALUES = (sqlite3.ProgrammingError, OverflowError, TypeError, ValueError)
# Time between two attempts on a disk that refuses, s.
_RETRY_S = 1.0


class LogWriter:
    """See the module's text. Thread-safe.

    Attributes:
        counts: what was stored and what was given up.
        fault: why nothing can be written at the moment; '' = it can.
        damaged: where a file went that could not be read; None = there was none.
    """

    def __init__(
        self,
        folder: Path,
        known: Sequence[LoggedVerdict] = (),
        *,
        max_verdicts: int,
        max_pictures: int,
    ):
        """Begin to write.

        Args:
            folder: of the log.
            known: verdicts of earlier processes, which may not have been stored.
            max_verdicts: see VerdictLog.
            max_pictures: see VerdictLog.
        """
        self._folder = folder
        self._limits = {'max_verdicts': max_verdicts, 'max_pictures': max_pictures}
        self._changed = threading.Condition()
        self._verdicts: deque[LoggedVerdict] = deque(known)
        self._pictures: deque[tuple[int, str, bytes]] = deque()
        self._until: float | None = None
        self._log: VerdictLog | None = None
        self.counts: Counter[str] = Counter()
        self.fault = ''
        self.damaged: Path | None = None
        self._thread = threading.Thread(target=self._work, name='log', daemon=True)
        self._thread.start()

    def add(self, verdict: LoggedVerdict) -> None:
        """Store a verdict soon."""
        with self._changed:
            self._verdicts.append(verdict)
            while len(self._verdicts) > _MAX_VERDICTS:
                self._verdicts.popleft()
                self.counts['verdicts not stored'] += 1
            self._changed.notify_all()

    def add_picture(self, sequence: int, camera: str, jpeg: bytes) -> None:
        """Store a picture of a verdict soon."""
        with self._changed:
            self._pictures.append((sequence, camera, jpeg))
            while len(self._pictures) > _MAX_PICTURES:
                self._pictures.popleft()
                self.counts['pictures not stored'] += 1
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return len(self._verdicts) + len(self._pictures)

    def close(self, seconds: float) -> None:
        """End, within this time at most; what waits is written if it can be, else given up."""
        with self._changed:
            self._until = time.monotonic() + seconds
            self._changed.notify_all()
        self._thread.join(seconds + _RETRY_S)

    # ---- thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        """Write until closed."""
        while self._wait():
            try:
                if self._log is None:
                    self._log = VerdictLog(self._folder, **self._limits)
                    self.damaged = self._log.damaged or self.damaged
                self._write(self._log)
                self.fault = ''
            except Exception as error:  # of SQLite, of the disk, of what is written
                self.fault = str(error) or type(error).__name__
                self.counts['failures'] += 1
                self._close_log()
                with self._changed:
                    self._changed.wait_for(self._is_over, _RETRY_S)
        self._close_log()

    def _close_log(self) -> None:
        """Let go of the file; a new attempt opens it again, and finds out whether it is whole."""
        log, self._log = self._log, None
        if log is not None:
            try:
                log.close()
            except sqlite3.Error as error:
                self.fault = self.fault or str(error)

    def _is_over(self) -> bool:
        """Whether no more attempt is made."""
        return self._until is not None and time.monotonic() >= self._until

    def _wait(self) -> bool:
        """Wait for something to write; False at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._verdicts or self._pictures or self._until is not None
            )
            if self._is_over():
                return False
            return bool(self._verdicts or self._pictures)

    def _write(self, log: VerdictLog) -> None:
        """Write what waits; it waits on until it is written."""
        with self._changed:
            verdicts = [*self._verdicts][:_BATCH]
            picture = self._pictures[0] if self._pictures and not verdicts else None
        if verdicts:
            self._write_verdicts(log, verdicts)
            self._drop(self._verdicts, verdicts)
        if picture is not None:
            log.add_picture(*picture)
            self._drop(self._pictures, [picture])

    def _write_verdicts(self, log: VerdictLog, verdicts: Sequence[LoggedVerdict]) -> None:
        """All at once; where one of them cannot be stored at all, one by one without it."""
        try:
            log.add(verdicts)
            self.counts['verdicts stored'] += len(verdicts)
        except (sqlite3.OperationalError, OSError):
            raise
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, *_BAD_VALUES):
            for verdict in verdicts:
                try:
                    log.add([verdict])
                    self.counts['verdicts stored'] += 1
                except (sqlite3.IntegrityError, sqlite3.InterfaceError, *_BAD_VALUES):
                    self.counts['verdicts not stored'] += 1

    def _drop(self, waiting: deque, written: Sequence) -> None:
        """Take out what was written, unless it was given up meanwhile."""
        with self._changed:
            for one in written:
                if waiting and waiting[0] is one:
                    waiting.popleft()
