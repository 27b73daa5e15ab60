"""Verdicts and pictures of rejects on disk: a bounded SQLite file that survives a killed process.

The folder holds ``verdicts.sqlite`` and ``pictures/<sequence>_<camera>.jpg``. Every change is one
transaction in the write-ahead log: it is whole or not there, also after SIGKILL. The oldest
verdicts and pictures are deleted, so it never fills a disk. No signal waits for it: log_writer.py
writes it from a thread of its own, and what must not be lost stands in signal_journal.py before.
Plain Python without ROS.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ObjectVerdict, ViewResult
from pad_inspection.ros.tracked_pieces import Decision

logger = logging.getLogger(__name__)

FILE_NAME, PICTURES = 'verdicts.sqlite', 'pictures'
# Of the tables below; a file of another one is set aside.
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    sequence INTEGER PRIMARY KEY, decided_ns INTEGER NOT NULL, object_id TEXT NOT NULL,
    stamp_ns INTEGER NOT NULL, reject INTEGER NOT NULL, verdict INTEGER NOT NULL,
    reason INTEGER NOT NULL, message TEXT NOT NULL, score REAL, threshold REAL,
    num_views INTEGER NOT NULL, num_judged INTEGER NOT NULL, x REAL, y REAL, z REAL,
    restored INTEGER NOT NULL, views TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS verdicts_by_object ON verdicts (object_id, stamp_ns);
CREATE TABLE IF NOT EXISTS pictures (
    sequence INTEGER NOT NULL, camera TEXT NOT NULL, file TEXT NOT NULL,
    PRIMARY KEY (sequence, camera));
"""
# Verdicts between two prunings; each deletes so many.
_PRUNE_EVERY = 256


@dataclass(frozen=True)
class LoggedVerdict:
    """One line of the log.

    Attributes:
        sequence: number of the signal.
        decided_ns: clock of the computer, ns.
        object_id, stamp_ns: which piece, and its last exposure.
        reject, verdict, reason, message, score, threshold, num_views, num_judged: as in the
            signal; score and threshold are NaN when there was none.
        x, y, z: position at stamp_ns in the conveyor frame, m, NaN when unknown.
        restored: the piece was open, or passed, while reject_node was away.
        views: JSON list of the views: camera, stamp_ns, verdict, reason, score, threshold, id.
    """

    sequence: int
    decided_ns: int
    object_id: str
    stamp_ns: int
    reject: bool
    verdict: Verdict
    reason: Reason
    message: str
    score: float
    threshold: float
    num_views: int
    num_judged: int
    x: float
    y: float
    z: float
    restored: bool
    views: str

    @classmethod
    def of(cls, sequence: int, decided_ns: int, decision: Decision) -> LoggedVerdict:
        """Line of a decision."""
        verdict = decision.verdict
        views = [
            {
                'camera': camera,
                'stamp_ns': stamp_ns,
                'verdict': int(view.verdict),
                'reason': int(view.reason),
                'score': _finite(view.score),
                'threshold': _finite(view.threshold),
                'id': view.inspection_id,
            }
            for (camera, stamp_ns), view in decision.views.items()
        ]
        return cls(
            sequence,
            decided_ns,
            decision.object_id,
            decision.stamp_ns,
            verdict.reject,
            verdict.verdict,
            verdict.reason,
            verdict.message,
            float(verdict.score),
            float(decision.threshold),
            verdict.num_views,
            verdict.num_judged,
            *map(float, decision.position),
            decision.restored,
            json.dumps(views),
        )

    @classmethod
    def of_row(cls, row: Sequence) -> LoggedVerdict:
        """Line of the values of all columns."""
        content = dict(zip(_COLUMNS, row, strict=True))
        for name in ('score', 'threshold', 'x', 'y', 'z'):
            content[name] = _number(content[name])
        content['verdict'] = Verdict(content['verdict'])
        content['reason'] = Reason(content['reason'])
        content['reject'], content['restored'] = bool(content['reject']), bool(content['restored'])
        return cls(**content)

    def row(self) -> list:
        """Values of all columns, plain numbers and texts."""
        return [int(v) if isinstance(v, int) else v for v in asdict(self).values()]

    def decision(self) -> Decision:
        """The decision that was stored."""
        views = {}
        for view in json.loads(self.views):
            camera, stamp_ns = view['camera'], view['stamp_ns']
            views[camera, stamp_ns] = ViewResult(
                Verdict(view['verdict']),
                Reason(view['reason']),
                _number(view['score']),
                _number(view['threshold']),
                view['id'],
                camera,
            )
        verdict = ObjectVerdict(
            self.verdict,
            self.reason,
            self.score,
            self.message,
            self.num_judged,
            self.num_views,
            self.reject,
        )
        return Decision(
            self.object_id,
            verdict,
            self.threshold,
            self.stamp_ns,
            (self.x, self.y, self.z),
            views,
            restored=self.restored,
        )


_COLUMNS = tuple(field.name for field in fields(LoggedVerdict))


class VerdictLog:
    """See the module's text. For one thread of one process."""

    def __init__(self, folder: Path, *, max_verdicts: int = 100000, max_pictures: int = 1000):
        """Open or create the log.

        Args:
            folder: made when missing.
            max_verdicts: older ones are deleted.
            max_pictures: older ones are deleted.

        Raises:
            OSError, sqlite3.Error: it cannot be written now.
        """
        self._folder = Path(folder)
        self._max_verdicts, self._max_pictures = max_verdicts, max_pictures
        self._since_pruning = 0
        self.damaged: Path | None = None
        (self._folder / PICTURES).mkdir(parents=True, exist_ok=True)
        try:
            self._db = self._open()
        except sqlite3.OperationalError:
            # locked or full: it is whole
            raise
        except sqlite3.DatabaseError as error:
            # what is damaged is kept for people to look at
            self.damaged = self._set_aside()
            logger.error('%s: %s; set aside as %s', FILE_NAME, error, self.damaged)
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        """Connection to a sound file."""
        db = sqlite3.connect(self._folder / FILE_NAME, check_same_thread=False)
        try:
            db.execute('PRAGMA journal_mode=WAL')
            db.execute('PRAGMA synchronous=NORMAL')
            (answer,) = db.execute('PRAGMA quick_check(1)').fetchone()
            if answer != 'ok':
                raise sqlite3.DatabaseError(answer)
            (version,) = db.execute('PRAGMA user_version').fetchone()
            tables = db.execute('SELECT count(*) FROM sqlite_master').fetchone()[0]
            if version != _VERSION and tables:
                raise sqlite3.DatabaseError(f'its tables have version {version}')
            db.executescript(_SCHEMA)
            db.execute(f'PRAGMA user_version={_VERSION}')
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self) -> Path:
        """Rename a damaged file and what belongs to it."""
        target = self._folder / f'{FILE_NAME}.damaged-{time.time_ns()}'
        for suffix in ('', '-wal', '-shm'):
            source = self._folder / f'{FILE_NAME}{suffix}'
            if source.exists():
                source.rename(f'{target}{suffix}')
        return target

    def close(self) -> None:
        """Close the file; SQLite moves the write-ahead log into it."""
        self._db.close()

    def add(self, verdicts: Sequence[LoggedVerdict]) -> None:
        """Store verdicts, all or none; those that are there already stay."""
        marks = ', '.join('?' * len(_COLUMNS))
        with self._db as db:
            db.executemany(
                f'INSERT OR IGNORE INTO verdicts VALUES ({marks})',
                [verdict.row() for verdict in verdicts],
            )
        self._since_pruning += len(verdicts)
        if self._since_pruning >= _PRUNE_EVERY:
            self._since_pruning = 0
            self._prune()

    def last_sequence(self) -> int:
        """Highest number so far; 0 for an empty log."""
        (last,) = self._db.execute('SELECT max(sequence) FROM verdicts').fetchone()
        return last or 0

    def add_picture(self, sequence: int, camera: str, jpeg: bytes) -> Path:
        """Store a picture of a verdict; the oldest beyond the limit is deleted."""
        name = f'{sequence}_{"".join(c if c.isalnum() else "_" for c in camera)}.jpg'
        path = self._folder / PICTURES / name
        path.write_bytes(jpeg)
        with self._db as db:
            values = (sequence, camera, name)
            db.execute('INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)', values)
        return path

    def _prune(self) -> None:
        """Delete verdicts and pictures beyond the limits."""
        with self._db as db:
            db.execute(
                'DELETE FROM verdicts WHERE sequence <= '
                '(SELECT sequence FROM verdicts ORDER BY sequence DESC LIMIT 1 OFFSET ?)',
                (self._max_verdicts,),
            )
            old = db.execute(
                'SELECT sequence, camera, file FROM pictures ORDER BY sequence DESC, camera '
                'LIMIT -1 OFFSET ?',
                (self._max_pictures,),
            ).fetchall()
            db.executemany(
                'DELETE FROM pictures WHERE sequence = ? AND camera = ?', [row[:2] for row in old]
            )
        for _, _, name in old:
            (self._folder / PICTURES / name).unlink(missing_ok=True)


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def _number(value: float | None) -> float:
    """SQLite stores NaN as NULL."""
    return math.nan if value is None else value


def read_rows(
    db: sqlite3.Connection, condition: str, values: Sequence = ()
) -> list[LoggedVerdict]:
    """Verdicts of an open log by an SQL condition."""
    rows = db.execute(f'SELECT {", ".join(_COLUMNS)} FROM verdicts {condition}', values)
    return [LoggedVerdict.of_row(row) for row in rows]
