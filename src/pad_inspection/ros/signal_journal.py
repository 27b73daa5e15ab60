"""What must outlive a killed reject_node, in mapped memory: no signal waits for a disk.

Open pieces, signals and whether they went out, the stop request. A record is copied into a file
that was given its full size at the start and is mapped into memory: the kernel keeps it when the
process is killed, and neither a full nor a slow nor a locked disk holds it up. After a power
failure the last moments may be missing. Two segments of the file take turns; each begins with all
that still counts. Where the folder cannot be written the file lies in shared memory: then it does
not outlive the computer. Plain Python without ROS.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import struct
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

FILE_NAME = 'journal.bin'
_SEGMENT = 2 << 20
_MAGIC = b'PADJ0001'
# magic, generation
_HEAD = struct.Struct('<8sQ')
# length, CRC-32 of generation and content
_RECORD = struct.Struct('<II')
# Signals that are remembered; half a segment at most.
_MAX_SIGNALS = 1024
_SHARED_MEMORY = Path('/dev/shm')
# A folder that cannot be written for these reasons may be right: the line goes on without it.
_FAULTS_OF_THE_DISK = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)


class SignalJournal:
    """See the module's text. One thread writes; ``fault`` may be read from others.

    Attributes:
        open_pieces: content by name.
        signals: content by sequence, oldest first; its key ``sent`` tells whether it went out.
        stop: text of the stop request that holds, '' = none.
        is_new: nothing was remembered: no earlier process wrote here.
        fault: why what it holds does not outlive the computer, or is not complete; '' = it does.
    """

    def __init__(self, folder: Path):
        """Open or create the journal of a folder.

        Raises:
            ValueError: another process uses it, or the folder can never be written.
        """
        self.open_pieces: dict[str, dict[str, Any]] = {}
        self.signals: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self.stop = ''
        self.fault = ''
        self._at, self._generation, self._active = 0, 0, 0
        # open pieces at the last attempt to write all of them, where they were too many
        self._too_many = 0
        folder, stand_in = Path(folder), _stand_in(Path(folder))
        try:
            self._file = _locked_file(folder)
        except OSError as error:
            if error.errno not in _FAULTS_OF_THE_DISK:
                raise ValueError(f'log_dir {folder} cannot be written: {error}') from error
            self._file = _locked_file(stand_in)
            self.fault = f'log_dir {folder} cannot be written: {error}'
        self._map = mmap.mmap(self._file.fileno(), 2 * _SEGMENT)
        # the disk may have come or gone since the last process
        known = [_read(path / FILE_NAME) for path in (folder, stand_in)]
        generation, records = max(known, key=lambda found: found[0])
        self._generation, self.is_new = generation, not generation
        for record in records:
            self._apply(record)
        self._begin_segment()
        if not self.fault:
            shutil.rmtree(stand_in, ignore_errors=True)

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()
        self._file.close()

    # ---- what is kept ------------------------------------------------------------------------

    def save_open(self, object_id: str, content: dict[str, Any]) -> None:
        """Remember a piece that is not decided yet, or what is new about it."""
        self._write({'open': object_id, **content})

    def add_signal(self, sequence: int, content: dict[str, Any]) -> None:
        """Remember a signal that will go out now; the piece ``object_id`` is no longer open."""
        self._write({'signal': sequence, **content})

    def mark_sent(self, sequence: int) -> None:
        """A signal is out."""
        self._write({'sent': sequence})

    def set_stop(self, text: str) -> None:
        """Remember why the line is asked to stop; '' = it is not."""
        self._write({'stop': text})

    def was_decided(self, object_id: str, stamp_ns: int) -> bool:
        """Whether a signal on this piece came of this exposure or of a later one."""
        return any(
            signal['object_id'] == object_id and signal['last_ns'] >= stamp_ns
            for signal in self.signals.values()
        )

    # ---- records -----------------------------------------------------------------------------

    def _apply(self, record: dict[str, Any]) -> None:
        """Take a record into what is known."""
        if 'open' in record:
            name = record.pop('open')
            self.open_pieces[name] = record
        elif 'signal' in record:
            sequence = record.pop('signal')
            self.signals[sequence] = {'sent': False, **record}
            self.open_pieces.pop(record['object_id'], None)
            while len(self.signals) > _MAX_SIGNALS:
                self.signals.popitem(last=False)
        elif 'sent' in record:
            if record['sent'] in self.signals:
                self.signals[record['sent']]['sent'] = True
        elif 'stop' in record:
            self.stop = record['stop']

    def _write(self, record: dict[str, Any]) -> None:
        """Append a record; in the next segment when this one is full."""
        data = json.dumps(record).encode()
        self._apply(record)
        if self._append(data):
            return
        # a flood of pieces must not make each record as slow as writing all of them
        if not self._too_many or len(self.open_pieces) < self._too_many // 2:
            self._begin_segment()

    def _append(self, data: bytes) -> bool:
        """Copy a record into the active segment; False when it has no room for it."""
        end = self._at + _RECORD.size + len(data)
        # the length of the record behind the last one is 0
        if end + _RECORD.size > _SEGMENT:
            return False
        base = self._active * _SEGMENT
        self._map[base + end : base + end + _RECORD.size] = bytes(_RECORD.size)
        self._map[base + self._at + _RECORD.size : base + end] = data
        check = _checksum(self._generation, data)
        self._map[base + self._at : base + self._at + _RECORD.size] = _RECORD.pack(
            len(data), check
        )
        self._at = end
        return True

    def _begin_segment(self) -> None:
        """Write all that counts into the other segment, which is then the active one."""
        self._active, self._generation = 1 - self._active, self._generation + 1
        base = self._active * _SEGMENT
        # not valid until all is there
        self._map[base : base + _HEAD.size + _RECORD.size] = bytes(_HEAD.size + _RECORD.size)
        self._at = _HEAD.size
        records = [{'stop': self.stop}]
        records += [{'open': name, **content} for name, content in self.open_pieces.items()]
        room = _SEGMENT // 2
        recent = []
        for sequence, content in reversed(self.signals.items()):
            data = json.dumps({'signal': sequence, **content}).encode()
            room -= len(data) + _RECORD.size
            if room < 0:
                break
            recent.append(data)
        for data in reversed(recent):
            self._append(data)
        # pieces after the signals: a name that is used again is open
        complete = all(self._append(json.dumps(record).encode()) for record in records)
        self._too_many = 0 if complete else len(self.open_pieces)
        if not complete:
            self.fault = f'{len(self.open_pieces)} open pieces are more than the journal holds'
        self._map[base : base + _HEAD.size] = _HEAD.pack(_MAGIC, self._generation)


def _read(path: Path) -> tuple[int, list[dict[str, Any]]]:
    """Generation and records of the newest segment of a file; 0 and none where there is none."""
    try:
        content = path.read_bytes()
    except OSError:
        return 0, []
    if len(content) != 2 * _SEGMENT:
        return 0, []
    heads = [_HEAD.unpack_from(content, segment * _SEGMENT) for segment in (0, 1)]
    found = [(generation, n) for n, (magic, generation) in enumerate(heads) if magic == _MAGIC]
    generation, active = max(found, default=(0, 0))
    records: list[dict[str, Any]] = []
    if not generation:
        return 0, records
    base, at = active * _SEGMENT, _HEAD.size
    while at + _RECORD.size <= _SEGMENT:
        length, check = _RECORD.unpack_from(content, base + at)
        begin = base + at + _RECORD.size
        data = content[begin : begin + length]
        if not length or check != _checksum(generation, data):
            break
        records.append(json.loads(data))
        at += _RECORD.size + length
    return generation, records


def _checksum(generation: int, data: bytes) -> int:
    """CRC of a record; that of an older generation in the same place does not fit."""
    return zlib.crc32(data, generation & 0xFFFFFFFF)


def _stand_in(folder: Path) -> Path:
    """Folder in shared memory that stands for another one, of this user alone."""
    digest = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    path = _SHARED_MEMORY / f'pad_inspection-{os.getuid()}-{digest}'
    if path.is_symlink() or (path.exists() and path.stat().st_uid != os.getuid()):
        raise ValueError(f'{path} belongs to somebody else: remove it')
    return path


def _locked_file(folder: Path):
    """The journal's file at its full size, locked against other processes.

    Raises:
        OSError: it cannot be made.
        ValueError: another process has it.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    file = os.fdopen(descriptor, 'r+b', buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.posix_fallocate(descriptor, 0, 2 * _SEGMENT)
    except BlockingIOError as error:
        file.close()
        raise ValueError(
            f'log_dir {folder} is in use by another process: give each reject_node a log_dir of '
            'its own'
        ) from error
    except OSError:
        file.close()
        raise
    return file
