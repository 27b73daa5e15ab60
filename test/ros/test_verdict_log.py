"""The verdict log and its writer: a killed process, limits, damage, a locked file, `pad log`."""

import csv
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from pad_inspection import cli, images
from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ViewResult
from pad_inspection.ros.log_writer import LogWriter
from pad_inspection.ros.node_configs import RejectNodeConfig
from pad_inspection.ros.object_tracker import ObjectTracker
from pad_inspection.ros.verdict_log import LoggedVerdict, VerdictLog, read_rows

NAN = float('nan')


def decide(object_id, stamp_ns=5, score=1.0):
    tracker = ObjectTracker(RejectNodeConfig(cameras=('a', 'b')), DecisionConfig())
    tracker.on_trigger(object_id, stamp_ns, ['a'], 0, (0.5, 0.0, NAN))
    kind, reason = (Verdict.PASS, Reason.NONE) if score < 2 else (Verdict.REJECT, Reason.ANOMALY)
    view = ViewResult(kind, reason, score, 2.0, f'id of {object_id}', 'a')
    (decision,) = tracker.on_result(object_id, stamp_ns, view, 1.0)
    return decision


def logged(number, score=1.0):
    return LoggedVerdict.of(number, number * 10**9, decide(f'p{number}', score=score))


def test_verdicts_come_back(tmp_path):
    log = VerdictLog(tmp_path)
    assert log.last_sequence() == 0
    log.add([logged(41, 6.0), logged(42)])
    log.add([logged(42, 6.0), logged(43)])  # what is there stays
    log.close()
    with sqlite3.connect(tmp_path / 'verdicts.sqlite') as db:
        rows = read_rows(db, 'ORDER BY sequence')
    assert [(row.sequence, row.reject) for row in rows] == [(41, True), (42, False), (43, False)]
    decision, wanted = rows[1].decision(), decide('p42')
    assert replace(decision.verdict, coverage=0.0) == replace(wanted.verdict, coverage=0.0)
    assert decision.views == wanted.views and np.isnan(rows[1].z)


def test_what_was_stored_survives_sigkill(tmp_path):
    """A process is killed while it writes; all that it reported as stored is there and whole."""
    code = (
        'import sys, pathlib\n'
        'sys.path.insert(0, sys.argv[2])\n'
        'from test_verdict_log import logged\n'
        'from pad_inspection.ros.verdict_log import VerdictLog\n'
        'log = VerdictLog(pathlib.Path(sys.argv[1]))\n'
        'for n in range(1, 100000):\n'
        '    log.add([logged(n)])\n'
        '    print(n, flush=True)\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code, str(tmp_path), os.path.dirname(__file__)],
        stdout=subprocess.PIPE,
        text=True,
    )
    while int(process.stdout.readline()) < 200:
        pass
    process.send_signal(signal.SIGKILL)
    stored = int([200, *process.stdout.read().split()][-1])
    process.wait()
    log = VerdictLog(tmp_path)
    assert log.damaged is None and log.last_sequence() in (stored, stored + 1)
    with sqlite3.connect(tmp_path / 'verdicts.sqlite') as db:
        numbers = [row.sequence for row in read_rows(db, 'ORDER BY sequence')]
    assert numbers == [*range(1, log.last_sequence() + 1)]
    log.close()


@pytest.mark.parametrize('damage', ['bytes', 'tables of another version'])
def test_a_file_that_cannot_be_used_is_set_aside(tmp_path, damage):
    path = tmp_path / 'verdicts.sqlite'
    if damage == 'bytes':
        path.write_bytes(b'\xff' * 4096)
    else:
        with sqlite3.connect(path) as db:
            db.execute('CREATE TABLE verdicts (sequence INTEGER)')
    before = path.read_bytes()
    log = VerdictLog(tmp_path)
    assert log.damaged.read_bytes()[:16] == before[:16] and log.last_sequence() == 0
    log.add([logged(1)])
    log.close()
    assert VerdictLog(tmp_path).last_sequence() == 1


def test_the_oldest_are_deleted(tmp_path):
    log = VerdictLog(tmp_path, max_verdicts=300, max_pictures=3)
    for n in range(1, 601):
        log.add([logged(n)])
        if n > 595:
            log.add_picture(n, 'camera/0', b'jpeg')
    with sqlite3.connect(tmp_path / 'verdicts.sqlite') as db:
        (count,) = db.execute('SELECT count(*) FROM verdicts').fetchone()
    assert 300 <= count <= 300 + 256 and log.last_sequence() == 600
    log._prune()
    assert sorted(p.name for p in (tmp_path / 'pictures').iterdir()) == [
        f'{n}_camera_0.jpg' for n in (598, 599, 600)
    ]
    log.close()


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_writer_waits_for_a_locked_file_and_loses_nothing(tmp_path):
    VerdictLog(tmp_path).close()
    other = sqlite3.connect(tmp_path / 'verdicts.sqlite', isolation_level=None)
    other.execute('BEGIN EXCLUSIVE')
    writer = LogWriter(tmp_path, [logged(1), logged(2)], max_verdicts=1000, max_pictures=10)
    writer.add(logged(3))
    writer.add(logged(2))
    # one that no file can hold does not stop the others
    writer.add(replace(logged(4), stamp_ns=2**70))
    writer.add(logged(5))
    writer.add_picture(3, 'a', b'jpeg')
    wait_for(lambda: 'locked' in writer.fault)
    assert len(writer) == 7
    other.execute('ROLLBACK')
    wait_for(lambda: not len(writer))
    assert writer.fault == '' and writer.counts['verdicts not stored'] == 1
    writer.close(10.0)
    rows = read_rows(other, 'ORDER BY sequence')
    assert [row.sequence for row in rows] == [1, 2, 3, 5]
    assert (tmp_path / 'pictures' / '3_a.jpg').read_bytes() == b'jpeg'
    other.close()


def test_pad_log(tmp_path, capsys):
    log = VerdictLog(tmp_path / 'log')
    for n in range(1, 31):
        log.add([logged(n, score=6.0 if n % 10 == 0 else 1.0)])
    picture = tmp_path / 'picture.jpg'
    images.write(picture, np.full((40, 60, 3), 200, np.uint8))
    log.add_picture(20, 'a', picture.read_bytes())
    # it is read while reject_node has it open
    table, sheet = tmp_path / 'all.csv', tmp_path / 'sheet.png'
    assert cli.main(['log', str(tmp_path / 'log')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 22 and lines[1].startswith('11 ') and 'REJECT' in lines[10]
    assert lines[-1] == '20 verdicts: 0 UNDETERMINED, 18 PASS, 2 REJECT'
    words = ['log', str(tmp_path / 'log'), '--last', '0', '--csv', str(table)]
    assert cli.main(words) == 0
    with open(table) as stream:
        rows = [*csv.DictReader(stream)]
    assert len(rows) == 30 and rows[9]['reason'] == 'ANOMALY' and rows[9]['object_id'] == 'p10'
    words = ['log', str(tmp_path / 'log'), '--rejects', '--sheet', str(sheet)]
    assert cli.main(words) == 0 and images.read_rgb(sheet).shape[1] >= 320
    assert cli.main(['log', str(tmp_path / 'log'), '--object', 'p7']) == 0
    assert ' p7 ' in capsys.readouterr().out
    assert cli.main([*words[:2], '--object', 'p7', '--sheet', str(sheet)]) == 2
    assert cli.main(['log', str(tmp_path)]) == 2
    assert 'log_dir' in capsys.readouterr().err
    log.close()
