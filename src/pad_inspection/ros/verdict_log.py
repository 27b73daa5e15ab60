"""Verdicts and open pieces on disk: a bounded SQLite file that survives a killed process.

The folder holds ``verdicts.sqlite`` and ``pictures/<sequence>_<camera>.jpg``. Every change is one
transaction in the write-ahead log: it is whole or not there, also after SIGKILL. After a power
failure the last moments may be missing, for waiting for the disk would make signals late; the file
itself stays sound. The oldest verdicts and pictures are deleted, so it never fills a disk. Plain
Python without ROS.

A verdict is stored, together with the end of its piece, before its signal goes out, and marked as
sent afterwards. What a crash leaves in between is sent again with the same sequence number.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ObjectVerdict, ViewResult
from pad_inspection.ros.object_tracker import Decision, Piece

logger = logging.getLogger(__name__)

FILE_NAME, PICTURES = 'verdicts.sqlite', 'pictures'
_BOOT_ID = Path('/proc/sys/kernel/random/boot_id')
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    sequence INTEGER PRIMARY KEY, decided_ns INTEGER NOT NULL, object_id TEXT NOT NULL,
    stamp_ns INTEGER NOT NULL, reject INTEGER NOT NULL, verdict INTEGER NOT NULL,
    reason INTEGER NOT NULL, message TEXT NOT NULL, score REAL, threshold REAL,
    num_views INTEGER NOT NULL, num_judged INTEGER NOT NULL, x REAL, y REAL, z REAL,
    restored INTEGER NOT NULL, views TEXT NOT NULL, sent INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS verdicts_by_object ON verdicts (object_id, stamp_ns);
CREATE INDEX IF NOT EXISTS verdicts_unsent ON verdicts (sequence) WHERE sent = 0;
CREATE TABLE IF NOT EXISTS open_pieces (object_id TEXT PRIMARY KEY, piece TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pictures (
    sequence INTEGER NOT NULL, camera TEXT NOT NULL, file TEXT NOT NULL,
    PRIMARY KEY (sequence, camera));
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL);
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
        position = (self.x, self.y, self.z)
        return Decision(
            self.object_id,
            verdict,
            self.threshold,
            self.stamp_ns,
            position,
            views,
            (),
            0.0,
            self.restored,
        )


_COLUMNS = tuple(field.name for field in fields(LoggedVerdict))


class VerdictLog:
    """See the module's text. Thread-safe; one process at a time may write."""

    def __init__(self, folder: Path, *, max_verdicts: int = 100000, max_pictures: int = 1000):
        """Open or create the log.

        Args:
            folder: made when missing.
            max_verdicts: older ones are deleted.
            max_pictures: older ones are deleted.

        Raises:
            ValueError: another process writes to it, or it cannot be written.
        """
        self._folder = Path(folder)
        self._max_verdicts, self._max_pictures = max_verdicts, max_pictures
        self._lock = threading.Lock()
        self.damaged: Path | None = None
        try:
            (self._folder / PICTURES).mkdir(parents=True, exist_ok=True)
            self._guard = open(self._folder / 'lock', 'w')
        except OSError as error:
            raise ValueError(f'verdict log {self._folder} cannot be written: {error}') from error
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._guard.close()
            raise ValueError(
                f'verdict log {self._folder} is in use by another process: give each reject_node '
                'a log_dir of its own'
            ) from error
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            # a line must start; what is damaged is kept for people to look at
            self.damaged = self._set_aside()
            logger.error('%s: %s; set aside as %s', FILE_NAME, error, self.damaged)
            self._db = self._open()
        # a connection of its own: waiting for the disk holds up no other thread
        self._checkpoints = sqlite3.connect(self._folder / FILE_NAME, check_same_thread=False)
        self._since_pruning = 0

    def _open(self) -> sqlite3.Connection:
        """Connection to a sound file."""
        db = sqlite3.connect(self._folder / FILE_NAME, check_same_thread=False)
        try:
            db.execute('PRAGMA journal_mode=WAL')
            db.execute('PRAGMA synchronous=NORMAL')
            # the disk is waited for in checkpoint(), not while a signal waits
            db.execute('PRAGMA wal_autocheckpoint=0')
            db.executescript(_SCHEMA)
            (answer,) = db.execute('PRAGMA quick_check(1)').fetchone()
            db.execute(f'SELECT {", ".join(_COLUMNS)}, sent FROM verdicts LIMIT 1').fetchone()
        except sqlite3.DatabaseError:
            db.close()
            raise
        if answer != 'ok':
            db.close()
            raise sqlite3.DatabaseError(answer)
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
        """Write all to the file and close it."""
        with self._lock:
            self._checkpoints.close()
            self._db.execute('PRAGMA wal_checkpoint(TRUNCATE)')
            self._db.close()
            self._guard.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one thread at a time."""
        with self._lock, self._db:
            yield self._db

    # ---- open pieces -------------------------------------------------------------------------

    def save_open(self, piece: Piece) -> None:
        """Remember a piece that is not decided yet, or what is new about it."""
        content = {
            'boot': _boot_id(),
            'since': piece.since,
            'deadline': piece.deadline,
            'stamp_ns': piece.stamp_ns,
            'position': piece.position,
            'announced': dict(piece.announced),
            'triggers': [[stamp, list(cameras)] for stamp, cameras in piece.triggers],
            'expected_views': piece.expected_views,
        }
        with self._transaction() as db:
            db.execute(
                'INSERT OR REPLACE INTO open_pieces VALUES (?, ?)',
                (piece.object_id, json.dumps(content)),
            )

    def open_pieces(self) -> list[Piece]:
        """Pieces that were open when the last process ended.

        The monotonic clock goes on over a restart of the process; after one of the computer the
        time of all of them is over.
        """
        with self._lock:
            rows = self._db.execute('SELECT object_id, piece FROM open_pieces').fetchall()
        pieces = []
        for object_id, text in rows:
            content = json.loads(text)
            same_boot = content['boot'] == _boot_id()
            pieces.append(
                Piece(
                    object_id,
                    content['since'] if same_boot else -math.inf,
                    content['deadline'] if same_boot else -math.inf,
                    content['stamp_ns'],
                    tuple(map(float, content['position'])),
                    Counter(content['announced']),
                    {(stamp, tuple(cameras)) for stamp, cameras in content['triggers']},
                    content['expected_views'],
                )
            )
        return pieces

    # ---- verdicts ----------------------------------------------------------------------------

    def add(self, sequence: int, decided_ns: int, decision: Decision) -> None:
        """Store a verdict that will be sent now; its piece is no longer open."""
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
        row = LoggedVerdict(
            sequence,
            decided_ns,
            decision.object_id,
            decision.stamp_ns,
            verdict.reject,
            verdict.verdict,
            verdict.reason,
            verdict.message,
            verdict.score,
            decision.threshold,
            verdict.num_views,
            verdict.num_judged,
            *map(float, decision.position),
            decision.restored,
            json.dumps(views),
        )
        values = [int(v) if isinstance(v, int) else v for v in asdict(row).values()]
        with self._transaction() as db:
            db.execute(
                f'INSERT INTO verdicts VALUES ({", ".join("?" * len(_COLUMNS))}, 0)', values
            )
            db.execute('DELETE FROM open_pieces WHERE object_id = ?', (decision.object_id,))

    def mark_sent(self, sequence: int) -> None:
        """The signal of a verdict is out."""
        with self._transaction() as db:
            db.execute('UPDATE verdicts SET sent = 1 WHERE sequence = ?', (sequence,))
        self._since_pruning += 1

    def unsent(self) -> list[LoggedVerdict]:
        """Verdicts whose signal may not have gone out, oldest first."""
        return self._read('WHERE sent = 0 ORDER BY sequence')

    def last_sequence(self) -> int:
        """Highest number so far; 0 for an empty log."""
        with self._lock:
            (last,) = self._db.execute('SELECT max(sequence) FROM verdicts').fetchone()
        return last or 0

    def recent(self, seconds: float) -> list[tuple[str, float]]:
        """Ids of the pieces decided within the last ``seconds`` and their age, s, oldest first."""
        now = time.time_ns()
        with self._lock:
            rows = self._db.execute(
                'SELECT object_id, decided_ns FROM verdicts WHERE decided_ns > ? '
                'ORDER BY sequence',
                (now - int(seconds * 1e9),),
            ).fetchall()
        return [(object_id, max(0, now - decided) / 1e9) for object_id, decided in rows]

    def was_decided(self, object_id: str, stamp_ns: int) -> bool:
        """Whether a verdict on this piece exists that came of this exposure or a later one."""
        with self._lock:
            row = self._db.execute(
                'SELECT 1 FROM verdicts WHERE object_id = ? AND stamp_ns >= ? LIMIT 1',
                (object_id, stamp_ns),
            ).fetchone()
        return row is not None

    def _read(self, condition: str, values: Sequence = ()) -> list[LoggedVerdict]:
        """Verdicts by an SQL condition."""
        with self._lock:
            return read_rows(self._db, condition, values)

    # ---- pictures, state ---------------------------------------------------------------------

    def add_picture(self, sequence: int, camera: str, jpeg: bytes) -> Path:
        """Store a picture of a verdict; the oldest beyond the limit is deleted."""
        name = f'{sequence}_{"".join(c if c.isalnum() else "_" for c in camera)}.jpg'
        path = self._folder / PICTURES / name
        path.write_bytes(jpeg)
        with self._transaction() as db:
            values = (sequence, camera, name)
            db.execute('INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)', values)
        return path

    def state(self, name: str) -> str:
        """A named text that outlives the process; '' when never set."""
        with self._lock:
            row = self._db.execute('SELECT value FROM state WHERE name = ?', (name,)).fetchone()
        return row[0] if row else ''

    def set_state(self, name: str, value: str) -> None:
        """Keep a named text."""
        with self._transaction() as db:
            db.execute('INSERT OR REPLACE INTO state VALUES (?, ?)', (name, value))

    def maintain(self) -> None:
        """Move the write-ahead log into the file and delete what is too old; from one thread."""
        if self._since_pruning >= _PRUNE_EVERY:
            self._since_pruning = 0
            self._prune()
        self._checkpoints.execute('PRAGMA wal_checkpoint(PASSIVE)').fetchall()

    def _prune(self) -> None:
        """Delete verdicts and pictures beyond the limits."""
        with self._transaction() as db:
            db.execute(
                'DELETE FROM verdicts WHERE sent = 1 AND sequence <= '
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


def _boot_id() -> str:
    """Differs after each start of the computer."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ''


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
    found = []
    for row in rows:
        content = dict(zip(_COLUMNS, row, strict=True))
        for name in ('score', 'threshold', 'x', 'y', 'z'):
            content[name] = _number(content[name])
        content['verdict'] = Verdict(content['verdict'])
        content['reason'] = Reason(content['reason'])
        content['reject'], content['restored'] = bool(content['reject']), bool(content['restored'])
        found.append(LoggedVerdict(**content))
    return found
