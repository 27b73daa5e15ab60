"""What reject_node remembers: it survives SIGKILL and needs no disk that can be written."""

import errno
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ViewResult
from pad_inspection.ros import signal_journal
from pad_inspection.ros.line_memory import LineMemory
from pad_inspection.ros.node_configs import RejectNodeConfig
from pad_inspection.ros.object_tracker import ObjectTracker
from pad_inspection.ros.signal_journal import SignalJournal

NAN = math.nan


@pytest.fixture
def shared_memory(tmp_path, monkeypatch):
    """Folder that stands for the computer's shared memory."""
    folder = tmp_path / 'shm'
    folder.mkdir()
    monkeypatch.setattr(signal_journal, '_SHARED_MEMORY', folder)
    return folder


def full_disk(folder):
    """Opening a journal in this folder fails as on a full disk."""

    def locked_file(wanted, real=signal_journal._locked_file):
        if wanted == folder:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return real(wanted)

    return locked_file


def config(tmp_path):
    return RejectNodeConfig(cameras=('a', 'b'), log_dir=str(tmp_path / 'log'))


def tracker_of(memory, options):
    return ObjectTracker(options, DecisionConfig(), on_change=memory.save_open)


def judged(tracker, name, stamp_ns=5, score=1.0):
    tracker.on_trigger(name, stamp_ns, ['a'], 0, (0.5, 0.0, NAN))
    kind, reason = (Verdict.PASS, Reason.NONE) if score < 2 else (Verdict.REJECT, Reason.ANOMALY)
    view = ViewResult(kind, reason, score, 2.0, f'id of {name}', 'a')
    (decision,) = tracker.on_result(name, stamp_ns, view, 1.0)
    return decision


def test_open_pieces_signals_and_the_stop_come_back(tmp_path):
    options = config(tmp_path)
    memory = LineMemory(options)
    assert memory.is_new and memory.last_sequence == 0 and not memory.open_pieces()
    tracker = tracker_of(memory, options)
    tracker.on_trigger('open', 7, [], 4, (0.5, 0.0, NAN))
    tracker.on_trigger('open', 8, ['a'], 0, (0.6, 0.0, NAN), fault='position.y is inf')
    bad = judged(tracker, 'bad', 9, score=6.0)
    memory.after_signal(memory.before_signal(41, 10**18, bad))
    memory.before_signal(42, 10**18 + 1, judged(tracker, 'good'))
    memory.set_stop('rejects: 3 in a row')
    memory.close()

    memory = LineMemory(options)
    assert not memory.is_new and memory.stop == 'rejects: 3 in a row'
    (piece,) = memory.open_pieces()
    assert (piece.object_id, piece.stamp_ns, piece.expected_views) == ('open', 8, 4)
    assert piece.announced == Counter({'a': 2, 'b': 1}) and piece.position[:2] == (0.6, 0.0)
    assert math.isnan(piece.position[2]) and piece.deadline > piece.since > 0
    assert piece.triggers == {(7, ('a', 'b')), (8, ('a',))}
    assert (piece.fault, piece.fault_reason) == ('position.y is inf', Reason.INTERNAL_ERROR)
    ((sequence, decided_ns, decision),) = memory.unsent()
    assert sequence == memory.last_sequence == 42 and decided_ns == 10**18 + 1
    assert decision.object_id == 'good' and not decision.verdict.reject and decision.complete
    assert decision.deadline > piece.since and decision.inspection_ids == ('id of good',)
    assert memory.was_decided('bad', 9) and not memory.was_decided('bad', 10)
    assert [*memory.decided(100.0, 1e12)] == ['bad', 'good']
    assert not memory.decided(100.0, 600.0)
    memory.close()


def test_what_was_open_before_a_start_of_the_computer_is_out_of_time(tmp_path, monkeypatch):
    options = config(tmp_path)
    memory = LineMemory(options)
    tracker = tracker_of(memory, options)
    tracker.on_trigger('open', 7, [], 0, (0.5, 0.0, 0.0))
    memory.before_signal(1, 1, judged(tracker, 'good'))
    memory.close()
    monkeypatch.setattr('pad_inspection.ros.line_memory._boot_id', lambda: 'another')
    memory = LineMemory(options)
    assert memory.open_pieces()[0].deadline == -math.inf
    # a pass that may not have gone out does not go out now
    ((_, _, decision),) = memory.unsent()
    assert tracker_of(memory, options).confirm(decision).verdict.reject
    memory.close()


def test_it_goes_on_when_a_segment_is_full(tmp_path):
    journal = SignalJournal(tmp_path)
    for n in range(1, 6001):
        journal.save_open(f'p{n}', {'filling': 'x' * 300})
        if n > 3:  # the first three stay open
            journal.add_signal(n, {'object_id': f'p{n}', 'last_ns': n, 'row': [n] * 100})
            journal.mark_sent(n)
    journal.set_stop('rejects: many')
    journal.close()
    journal = SignalJournal(tmp_path)
    assert sorted(journal.open_pieces) == ['p1', 'p2', 'p3'] and journal.stop == 'rejects: many'
    assert len(journal.signals) > 500 and max(journal.signals) == 6000 and not journal.fault
    assert all(content['sent'] for content in journal.signals.values())
    assert (tmp_path / 'journal.bin').stat().st_size == 4 << 20
    journal.close()


def test_too_many_open_pieces_are_told_and_signals_go_on(tmp_path):
    journal = SignalJournal(tmp_path)
    for n in range(1, 9001):
        journal.save_open(f'p{n}', {'filling': 'x' * 300})
    assert 'more than the journal holds' in journal.fault
    for n in range(1, 9001):
        journal.add_signal(n, {'object_id': f'p{n}', 'last_ns': n})
    journal.save_open('last', {})
    journal.close()
    assert 'last' in SignalJournal(tmp_path).open_pieces


@pytest.mark.parametrize('at', [0, 1, 4, 40, 200])
def test_a_record_that_was_cut_is_left_out(tmp_path, at):
    journal = SignalJournal(tmp_path)
    for name in 'abc':
        journal.save_open(name, {'filling': 'x' * 100})
    journal.close()
    path = tmp_path / 'journal.bin'
    data = bytearray(path.read_bytes())
    begin = data.index(b'{"open": "c"') - 8
    data[begin + at] ^= 0xFF
    path.write_bytes(data)
    journal = SignalJournal(tmp_path)
    assert [*journal.open_pieces] == (['a', 'b'] if at < 130 else ['a', 'b', 'c'])
    journal.close()


def test_all_that_was_remembered_survives_sigkill(tmp_path):
    code = (
        'import sys, pathlib\n'
        'from pad_inspection.ros.signal_journal import SignalJournal\n'
        'journal = SignalJournal(pathlib.Path(sys.argv[1]))\n'
        'for n in range(1, 10**6):\n'
        '    journal.save_open(f"p{n}", {})\n'
        '    journal.add_signal(n, {"object_id": f"p{n}", "last_ns": n, "row": [0] * 50})\n'
        '    print(n, flush=True)\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    while int(process.stdout.readline()) < 9000:
        pass
    process.send_signal(signal.SIGKILL)
    told = int([9000, *process.stdout.read().split()][-1])
    process.wait()
    journal = SignalJournal(tmp_path)
    assert max(journal.signals) in (told, told + 1) and len(journal.open_pieces) <= 1
    journal.close()


def test_a_disk_that_cannot_be_written_is_told_and_nothing_is_forgotten(
    tmp_path, shared_memory, monkeypatch
):
    folder = tmp_path / 'log'
    journal = SignalJournal(folder)
    journal.save_open('before', {})
    journal.close()
    with monkeypatch.context() as patched:
        patched.setattr(signal_journal, '_locked_file', full_disk(folder))
        for name in ('meanwhile', 'later'):
            journal = SignalJournal(folder)
            assert 'No space left' in journal.fault and not journal.is_new
            journal.save_open(name, {})
            journal.close()
    journal = SignalJournal(folder)
    assert [*journal.open_pieces] == ['before', 'meanwhile', 'later'] and not journal.fault
    assert not [*shared_memory.iterdir()]
    journal.close()


def test_two_processes_and_places_that_are_no_folders_are_refused(tmp_path, shared_memory):
    journal = SignalJournal(tmp_path / 'log')
    with pytest.raises(ValueError, match='in use by another process'):
        SignalJournal(tmp_path / 'log')
    journal.close()
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match='cannot be written'):
        SignalJournal(tmp_path / 'file')
    foreign = signal_journal._stand_in(tmp_path / 'other')
    os.symlink(tmp_path, foreign)
    with pytest.raises(ValueError, match='belongs to somebody else'):
        SignalJournal(tmp_path / 'other')


def test_views_of_many_images_do_not_fill_the_journal(tmp_path):
    options = config(tmp_path)
    memory = LineMemory(options)
    decision = judged(tracker_of(memory, options), 'p')
    views = {('a', n): view for n in range(500) for view in decision.views.values()}
    logged = memory.before_signal(1, 1, replace(decision, views=views))
    assert logged.views.count('"id"') == 500
    ((_, _, kept),) = memory.unsent()
    assert kept.views == {} and kept.verdict.message == decision.verdict.message
    memory.close()
