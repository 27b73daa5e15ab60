"""The verdict log: what survives a killed process, limits, damage, `pad log`."""

import csv
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from pad_inspection import cli, images
from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ViewResult
from pad_inspection.ros.node_configs import RejectNodeConfig
from pad_inspection.ros.object_tracker import ObjectTracker
from pad_inspection.ros.verdict_log import VerdictLog

NAN = float('nan')


def decide(object_id, stamp_ns=5, score=1.0):
    tracker = ObjectTracker(RejectNodeConfig(cameras=('a', 'b')), DecisionConfig())
    tracker.on_trigger(object_id, stamp_ns, ['a'], 0, (0.5, 0.0, NAN))
    kind, reason = (Verdict.PASS, Reason.NONE) if score < 2 else (Verdict.REJECT, Reason.ANOMALY)
    view = ViewResult(kind, reason, score, 2.0, f'id of {object_id}', 'a')
    (decision,) = tracker.on_result(object_id, stamp_ns, view, 1.0)
    return decision


def test_verdicts_and_open_pieces_come_back(tmp_path):
    log = VerdictLog(tmp_path)
    assert log.last_sequence() == 0 and log.open_pieces() == [] and log.state('stop') == ''
    tracker = ObjectTracker(
        RejectNodeConfig(cameras=('a', 'b')), DecisionConfig(), on_change=log.save_open
    )
    tracker.on_trigger('open', 7, [], 4, (0.5, 0.0, NAN))
    tracker.on_trigger('open', 8, ['a'], 0, (0.6, 0.0, NAN))
    tracker.on_trigger('bad', 9, ['a'], 0, (NAN, NAN, NAN))
    log.add(41, 10**18, decide('bad', score=6.0))
    log.add(42, 10**18 + 1, decide('good'))
    log.mark_sent(41)
    log.set_state('stop', 'rejects: 3 in a row')
    log.close()

    log = VerdictLog(tmp_path)
    (piece,) = log.open_pieces()
    assert (piece.object_id, piece.stamp_ns, piece.expected_views) == ('open', 8, 4)
    assert piece.announced == Counter({'a': 2, 'b': 1}) and piece.position[:2] == (0.6, 0.0)
    assert np.isnan(piece.position[2]) and piece.deadline > piece.since > 0
    assert piece.triggers == {(7, ('a', 'b')), (8, ('a',))}
    (unsent,) = log.unsent()
    decision, wanted = unsent.decision(), decide('good')
    assert unsent.sequence == log.last_sequence() == 42
    assert decision.verdict == wanted.verdict and decision.views == wanted.views
    assert log.was_decided('bad', 5) and not log.was_decided('bad', 6)
    assert log.state('stop') == 'rejects: 3 in a row'
    log.close()


def test_open_pieces_of_before_a_start_of_the_computer_are_out_of_time(tmp_path, monkeypatch):
    log = VerdictLog(tmp_path)
    tracker = ObjectTracker(RejectNodeConfig(), DecisionConfig(), on_change=log.save_open)
    tracker.on_trigger('open', 7, [], 0, (0.5, 0.0, 0.0))
    monkeypatch.setattr('pad_inspection.ros.verdict_log._boot_id', lambda: 'another')
    (piece,) = log.open_pieces()
    assert piece.deadline == -np.inf
    log.close()


def test_what_was_stored_survives_sigkill(tmp_path):
    """A process is killed while it writes; all that it reported as stored is there and whole."""
    code = (
        'import sys, pathlib\n'
        'sys.path.insert(0, sys.argv[2])\n'
        'from test_verdict_log import decide\n'
        'from pad_inspection.ros.verdict_log import VerdictLog\n'
        'log = VerdictLog(pathlib.Path(sys.argv[1]))\n'
        'for n in range(1, 100000):\n'
        '    log.add(n, n, decide(f"p{n}"))\n'
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
    assert [row.sequence for row in log.unsent()] == [*range(1, log.last_sequence() + 1)]
    log.close()


def test_two_writers_and_damaged_files(tmp_path):
    log = VerdictLog(tmp_path)
    with pytest.raises(ValueError, match='in use by another process'):
        VerdictLog(tmp_path)
    log.add(1, 1, decide('p'))
    log.close()
    path = tmp_path / 'verdicts.sqlite'
    path.write_bytes(b'\xff' * 4096)
    log = VerdictLog(tmp_path)
    assert log.damaged.read_bytes() == b'\xff' * 4096 and log.last_sequence() == 0
    log.close()
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match='cannot be written'):
        VerdictLog(tmp_path / 'file')


def test_the_oldest_are_deleted(tmp_path):
    log = VerdictLog(tmp_path, max_verdicts=300, max_pictures=3)
    for n in range(1, 601):
        log.add(n, n, decide(f'p{n}'))
        if n > 1:  # one signal was never sent: it stays
            log.mark_sent(n)
        if n > 595:
            log.add_picture(n, 'camera/0', b'jpeg')
        if n % 100 == 0:
            log.maintain()
    with sqlite3.connect(tmp_path / 'verdicts.sqlite') as db:
        (count,) = db.execute('SELECT count(*) FROM verdicts').fetchone()
        (lowest,) = db.execute('SELECT min(sequence) FROM verdicts').fetchone()
    assert 300 <= count <= 300 + 256 and lowest == 1
    log._prune()
    assert sorted(p.name for p in (tmp_path / 'pictures').iterdir()) == [
        f'{n}_camera_0.jpg' for n in (598, 599, 600)
    ]
    log.close()


def test_pad_log(tmp_path, capsys):
    log = VerdictLog(tmp_path / 'log')
    for n in range(1, 31):
        log.add(n, n * 10**9, decide(f'p{n}', score=6.0 if n % 10 == 0 else 1.0))
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
