"""What must never become a PASS, or a late one, of reject_node over DDS."""

import os
import signal
import sqlite3
import subprocess

import pytest
from pad_msgs.msg import InspectionResult

from pad_inspection.ros import interfaces
from pad_inspection.ros.graph import NodeSpec

CAMERAS = ['left', 'right']


def start(line, **options):
    for camera in CAMERAS:
        line.publisher(interfaces.RESULTS, camera)
    line.start_reject(**{'cameras': CAMERAS, 'object_timeout': 60.0} | options)


def send(line, name, stamp_ns, scores=(1.0, 1.0), **trigger):
    line.trigger(name, stamp_ns, **trigger)
    for camera, score in zip(CAMERAS, scores):
        line.result(name, stamp_ns, camera, score)


def signal_of(line, name, number=1):
    """The last of so many signals of a piece."""

    def found():
        return [m for m in line.received['reject_signal'] if m.object_id == name]

    return line.wait(lambda: found() if len(found()) >= number else None, f'signal of {name}')[-1]


def diagnostics(line):
    """Values and text of the last diagnostics, after a new one came."""
    line.diagnostics('reject_node')
    line.received[interfaces.DIAGNOSTICS.name].clear()
    found = line.wait(lambda: line.diagnostics('reject_node'), 'diagnostics')
    return found, {v.key: v.value for v in found.values}


def test_bad_triggers_end_no_node_and_pass_nothing(line, tmp_path):
    options = {'belt_speed': 0.001, 'gate_position': 900.0, 'log_dir': str(tmp_path / 'log')}
    start(line, **options, diagnostics_period=0.1)
    names = []
    for n, x in enumerate((float('inf'), -float('inf'), 1e300, -1e300)):
        names.append(f'x{n}')
        send(line, names[-1], 1000 + n, x=x)
        told = signal_of(line, names[-1])
        assert told.reject and 'position.x' in told.message, told.message
    send(line, 'stranger', 2000, cameras=[*CAMERAS, 'stranger'])
    send(line, 'x' * 100_000, 3000)
    send(line, 'two\nlines \x1b[2J', 4000)
    for number in range(30):  # a message of another kind is not the last word on a piece
        line.result(f'late{number}', 5000, 'left', 1.0, camera_name='right')
    # a node that dies of what is in its journal dies again after each start
    line.kill('reject_node')
    start(line, **options, diagnostics_period=0.1)
    send(line, 'honest', 6000)
    send(line, 'defective', 6001, scores=(1.0, 9.0))
    assert not signal_of(line, 'honest').reject and signal_of(line, 'defective').reject
    assert {*names, 'honest', 'defective'} <= set(line.signals())
    assert not [m for m in line.signals() if len(m) > 128 or '\n' in m]
    line.received['reject_signal'].clear()
    line.graph.check()


def test_names_used_again_models_and_results_that_contradict(line):
    start(line, diagnostics_period=0.1)
    send(line, 'again', 10**9)
    assert not signal_of(line, 'again').reject
    send(line, 'again', 2 * 10**9, scores=(1.0, 9.0))
    assert signal_of(line, 'again', number=2).reject
    for name, values in (
        ('models', {'model_id': 'car', 'model_version': '1'}),
        ('results', {'inspection_id': 'of another node'}),
    ):
        line.trigger(name, 3 * 10**9)
        line.result(name, 3 * 10**9, 'left', model_id='car', model_version='2')
        line.result(name, 3 * 10**9, 'right' if name == 'models' else 'left', **values)
        if name == 'results':
            line.spin(0.5)  # topics have no order among each other
            line.result(name, 3 * 10**9, 'right')
        told = signal_of(line, name)
        assert told.reject and told.reason == InspectionResult.REASON_CONFLICT, told.message
    # a view that nobody looked at, one that is not localised
    for name, reason, values in (
        ('late', InspectionResult.REASON_DEADLINE_MISSED, {}),
        ('lost', InspectionResult.REASON_NOT_LOCALIZED, {}),
        ('seen', InspectionResult.REASON_NOT_LOCALIZED, {'visible_places': 2}),
    ):
        line.trigger(name, 4 * 10**9)
        seen = {'surface': [0.1, 0.1], **values} if values else {}
        line.result(name, 4 * 10**9, 'left', **seen)
        unjudged = {'verdict': 0, 'reason': reason, 'anomaly_score': float('nan')}
        line.result(name, 4 * 10**9, 'right', **unjudged)
        told = signal_of(line, name)
        assert told.reject == (name != 'seen'), told.message
        assert told.num_judged == 1 and (name != 'seen' or told.coverage == 1.0)


def test_two_nodes_for_one_job_are_an_error_and_nothing_passes(line):
    start(line, diagnostics_period=0.1)
    send(line, 'before', 1000)
    assert not signal_of(line, 'before').reject
    # as a second inspection node of this camera
    topic = interfaces.RESULTS
    twin = line.node.create_publisher(
        interfaces.message_class(topic.message), topic.of('left'), interfaces.offered_qos(topic)
    )
    line.wait(lambda: diagnostics(line)[0].level == b'\x02', 'error')
    assert '2 nodes publish the results of left' in diagnostics(line)[0].message
    send(line, 'meanwhile', 2000)
    told = signal_of(line, 'meanwhile')
    assert told.reject and told.reason == InspectionResult.REASON_CONFLICT
    line.node.destroy_publisher(twin)
    line.wait(lambda: diagnostics(line)[0].level == b'\x00', 'no error')
    send(line, 'after', 3000)
    assert not signal_of(line, 'after').reject

    spec = NodeSpec('reject_node', {'cameras': ['left']}, node_name='reject_node_2')
    line.graph.start(spec)

    def both_know():
        arrays = line.received[interfaces.DIAGNOSTICS.name]
        told = {s.name: s.message for array in arrays for s in array.status}
        return sum('reject signals' in text for text in told.values()) == 2

    line.wait(both_know, 'errors')
    send(line, 'twice', 4000)
    assert signal_of(line, 'twice').reject


@pytest.mark.parametrize('seconds', [1.5])
def test_a_stopped_node_passes_nothing_late(line, seconds):
    """Messages that waited in the middleware while the process stood still."""
    start(line, belt_speed=1.0, gate_position=0.8, gate_latency=0.1)
    send(line, 'fresh', 1000)
    assert not signal_of(line, 'fresh').reject
    process = line.graph.process('/reject_node')
    process.send_signal(signal.SIGSTOP)
    line.spin(0.05)
    send(line, 'waited', 2000)
    line.spin(seconds)
    process.send_signal(signal.SIGCONT)
    told = signal_of(line, 'waited')
    assert told.reject and told.reason == InspectionResult.REASON_DEADLINE_MISSED
    line.spin(1.0)
    send(line, 'fresh again', 3000)
    assert not signal_of(line, 'fresh again').reject


def test_a_locked_log_delays_nothing(line, tmp_path):
    """Another program holds the file for writing, also when the node starts."""
    options = {'log_dir': str(tmp_path / 'log'), 'diagnostics_period': 0.1}
    start(line, **options)
    send(line, 'free', 1000)
    signal_of(line, 'free')
    file = tmp_path / 'log' / 'verdicts.sqlite'
    line.wait(lambda: int(diagnostics(line)[1].get('verdicts stored', 0)), 'stored verdict')
    other = sqlite3.connect(file, isolation_level=None, timeout=60)
    other.execute('BEGIN EXCLUSIVE')
    for n in range(3):
        send(line, f'locked{n}', 2000 + n, scores=(1.0, 9.0) if n == 2 else (1.0, 1.0))
        assert signal_of(line, f'locked{n}').reject == (n == 2)
    numbers = {m.object_id: m.sequence for m in line.signals().values()}
    line.kill('reject_node')
    start(line, **options)
    line.wait(lambda: 'locked' in diagnostics(line)[0].message, 'warning')
    send(line, 'locked start', 3000)
    assert not signal_of(line, 'locked start').reject
    other.execute('ROLLBACK')
    line.wait(lambda: diagnostics(line)[1]['log: waiting'] == '0', 'all stored')
    rows = dict(other.execute('SELECT object_id, sequence FROM verdicts').fetchall())
    other.close()
    assert numbers.items() <= rows.items() and len(rows) == 5
    assert len(line.signals()) == 5  # none twice


@pytest.mark.skipif(os.geteuid() != 0, reason='only root may mount a small disk')
def test_a_full_disk_delays_nothing_and_no_piece_gets_two_signals(line, tmp_path):
    disk = tmp_path / 'disk'
    disk.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', str(disk)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip('this computer mounts no small disk')
    try:
        options = {'log_dir': str(disk / 'log'), 'diagnostics_period': 0.1}
        start(line, **options)
        send(line, 'before', 1000)
        signal_of(line, 'before')
        with open(disk / 'filling', 'wb', buffering=0) as stream, pytest.raises(OSError):
            while True:
                stream.write(b'x' * 4096)
        for n in range(60):
            send(line, f'full{n}', 2000 + n, scores=(1.0, 9.0) if n % 2 else (1.0, 1.0))
        line.wait(lambda: len(line.signals()) == 61, 'signals')
        assert all(line.signals()[f'full{n}'].reject == bool(n % 2) for n in range(60))
        line.kill('reject_node')
        start(line, **options)
        send(line, 'full start', 3000)
        assert not signal_of(line, 'full start').reject
        line.wait(lambda: 'cannot be written' in diagnostics(line)[0].message, 'warning')
        (disk / 'filling').unlink()
        line.wait(lambda: diagnostics(line)[1]['log: waiting'] == '0', 'all stored')
        assert len(line.signals()) == 62
        line.graph.stop()
        db = sqlite3.connect(disk / 'log' / 'verdicts.sqlite')
        assert db.execute('SELECT count(*) FROM verdicts').fetchone() == (62,)
        db.close()
    finally:
        line.graph.stop()
        subprocess.run(['umount', '--lazy', str(disk)], check=True)
