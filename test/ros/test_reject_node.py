"""reject_node over DDS: triggers and results in, exactly one signal for each piece out."""

import signal

import numpy as np
from pad_msgs.msg import InspectionResult, StopRequest
from std_srvs.srv import Trigger

from pad_inspection import images
from pad_inspection.ros import conversions, interfaces

CAMERAS = ['left', 'right']


def one_signal(line, object_id):
    return line.wait(lambda: line.signals().get(object_id), f'signal of {object_id}')


def test_one_signal_for_each_piece(line):
    for camera in CAMERAS:
        line.publisher(interfaces.RESULTS, camera)
    line.start_reject(cameras=CAMERAS, object_timeout=600.0, signal_lifespan=60.0)

    line.trigger('good', 1000)
    for camera in CAMERAS:
        line.result('good', 1000, camera)
    signal_ = one_signal(line, 'good')
    assert not signal_.reject and signal_.verdict == InspectionResult.VERDICT_PASS
    assert (signal_.num_judged, signal_.num_views) == (2, 2)
    assert sorted(signal_.inspection_ids) == ['good left', 'good right']
    assert signal_.header.frame_id == 'conveyor' and signal_.valid_until.sec > 0

    line.trigger('bad', 2000)
    line.result('bad', 2000, 'left')
    line.result('bad', 2000, 'right', score=6.0)
    signal_ = one_signal(line, 'bad')
    assert signal_.reject and signal_.reason == InspectionResult.REASON_ANOMALY
    assert signal_.anomaly_score == 3.0

    # duplicates, late results and repeated triggers are silent; nonsense is not a pass
    line.result('good', 1000, 'left', score=9.0)
    line.trigger('good', 1000)
    line.trigger('nonsense', 3000, ['left'])
    line.result('nonsense', 3000, 'left', verdict=200, reason=7)
    assert one_signal(line, 'nonsense').reject
    numbers = [m.sequence for m in line.received['reject_signal']]
    assert numbers == [*range(numbers[0], numbers[0] + 3)] and numbers[0] > 10**9


def test_missing_views_reject_in_time_and_open_pieces_at_the_end(line):
    line.publisher(interfaces.RESULTS, 'left')
    line.start_reject(cameras=CAMERAS, object_timeout=0.5)
    line.trigger('half', 1000)
    line.result('half', 1000, 'left')
    signal_ = one_signal(line, 'half')
    assert signal_.reject and signal_.reason == InspectionResult.REASON_DEADLINE_MISSED
    assert 'missing: right' in signal_.message

    line.trigger('nobody', 2000)
    assert one_signal(line, 'nobody').reject

    line.result('no trigger', 3000, 'left')
    signal_ = one_signal(line, 'no trigger')
    assert signal_.reject and 'no trigger' in signal_.message


def test_open_pieces_are_rejected_when_the_node_is_stopped(line):
    line.start_reject(
        cameras=CAMERAS, object_timeout=600.0, inspection_grace=600.0, diagnostics_period=0.1
    )
    line.trigger('open', 1000)

    def is_known():
        status = line.diagnostics('reject_node')
        return status and {v.key: v.value for v in status.values}['open'] == '1'

    line.wait(is_known, 'open piece in the diagnostics')
    process = line.graph.process('/reject_node')
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    for _ in range(100):
        line.executor.spin_once(timeout_sec=0.1)
        if 'open' in line.signals():
            break
    assert line.signals()['open'].reject


def test_the_gate_gets_its_signal_before_the_piece_is_there(line):
    """A piece 0.5 s before the gate: its results come too late."""
    line.publisher(interfaces.RESULTS, 'left')
    line.start_reject(
        cameras=['left'],
        belt_speed=1.0,
        gate_position=1.0,
        gate_latency=0.1,
        object_timeout=600.0,
        diagnostics_period=0.1,
    )
    line.trigger('far', 1000, x=-100.0)
    line.trigger('late', 2_000_000_000, x=0.5)
    signal_ = one_signal(line, 'late')
    assert signal_.reject and signal_.reason == InspectionResult.REASON_DEADLINE_MISSED
    assert signal_.gate_at.sec == 2 and signal_.gate_at.nanosec == 500_000_000
    line.result('late', 2_000_000_000, 'left')
    line.result('far', 1000, 'left')
    assert not one_signal(line, 'far').reject

    def late_results():
        status = line.diagnostics('reject_node')
        values = {v.key: v.value for v in status.values} if status else {}
        return values.get('late or repeated results') == '1' and 'late signals' not in values

    line.wait(late_results, 'late result in the diagnostics')
    assert len(line.signals()) == 2


def test_rejects_in_a_row_ask_for_a_stop_that_outlives_the_node(line, tmp_path):
    line.publisher(interfaces.RESULTS, 'left')
    options = {'cameras': ['left'], 'stop_after_rejects': 2, 'log_dir': str(tmp_path / 'log')}
    line.start_reject(**options)
    stops = line.listen(interfaces.STOP_REQUEST)
    line.wait(lambda: stops and not stops[-1].stop, 'no stop')
    for n, score in enumerate([3.0, 1.0, 3.0, 3.0, 1.0]):
        line.trigger(f'p{n}', 1000 + n)
        line.result(f'p{n}', 1000 + n, 'left', score)
        assert one_signal(line, f'p{n}').reject == (score > 2)
    line.wait(lambda: stops[-1].stop, 'stop')
    assert stops[-1].cause == StopRequest.CAUSE_REJECTS and stops[-1].source == '/reject_node'

    line.kill('reject_node')
    stops.clear()
    line.start_reject(**options)
    line.wait(lambda: stops and stops[-1].stop, 'stop')
    answer = line.call(Trigger, '/reject_node/reset_stop', Trigger.Request())
    assert answer.success and '2 pieces' in answer.message
    line.wait(lambda: not stops[-1].stop, 'end of the stop')


def test_pictures_of_rejects_are_in_the_log(line, tmp_path):
    folder = tmp_path / 'log'
    options = {'log_dir': str(folder), 'diagnostics_period': 0.1}
    line.start_reject(cameras=['camera'], object_timeout=60.0, **options)
    line.start_inspection(trigger_timeout=10.0)
    publisher = line.listen(interfaces.OVERLAY)
    line.wait_connected()
    line.wait_served()
    for name, defect in (('good', False), ('bad', True)):
        picture = line.image(defect)
        line.trigger(name, conversions.stamp_to_ns(picture.header.stamp))
        line.send(picture)
        signal_ = one_signal(line, name)
        assert signal_.reject == defect, signal_.message
    line.wait(lambda: len(publisher) == 2, 'overlays')
    number = line.signals()['bad'].sequence
    picture = folder / 'pictures' / f'{number}_camera.jpg'
    line.wait(picture.is_file, 'picture')
    line.graph.stop()
    assert [p.name for p in (folder / 'pictures').iterdir()] == [picture.name]
    stored = images.read_rgb(picture).astype(int)
    sent = conversions.image_to_rgb(publisher[1]).astype(int)
    assert stored.shape == sent.shape and np.abs(stored - sent).mean() < 12
