"""reject_node over DDS: triggers and results in, exactly one signal for each piece out."""

import signal

from pad_msgs.msg import InspectionResult, InspectionResultArray

from helpers.ros_line import Line
from pad_inspection.ros import interfaces

CAMERAS = ['left', 'right']


def result(line: Line, object_id, stamp_ns, camera, score=1.0, **values):
    """Send a result as inspection_node would."""
    rejected = score >= 2.0
    header = line.header(camera, stamp_ns)
    message = InspectionResult(
        header=header,
        object_id=object_id,
        camera_name=camera,
        inspection_id=f'{object_id} {camera}',
        verdict=InspectionResult.VERDICT_REJECT if rejected else InspectionResult.VERDICT_PASS,
        reason=InspectionResult.REASON_ANOMALY if rejected else InspectionResult.REASON_NONE,
        anomaly_score=score,
        threshold=2.0,
        object_threshold=1.0,
    )
    for name, value in values.items():
        setattr(message, name, value)
    array = InspectionResultArray(header=header, results=[message])
    line.publish(interfaces.RESULTS, array, camera)


def signals_of(line, object_id):
    return [s for s in line.received['reject_signal'] if s.object_id == object_id]


def one_signal(line, object_id):
    line.wait(lambda: signals_of(line, object_id), f'signal of {object_id}')
    assert len(signals_of(line, object_id)) == 1
    return signals_of(line, object_id)[0]


def test_one_signal_for_each_piece(line):
    for camera in CAMERAS:
        line.publisher(interfaces.RESULTS, camera)
    line.start_reject(cameras=CAMERAS, object_timeout=600.0, signal_lifespan=60.0)

    line.trigger('good', 1000)
    for camera in CAMERAS:
        result(line, 'good', 1000, camera)
    signal_ = one_signal(line, 'good')
    assert not signal_.reject and signal_.verdict == InspectionResult.VERDICT_PASS
    assert (signal_.num_judged, signal_.num_views) == (2, 2)
    assert sorted(signal_.inspection_ids) == ['good left', 'good right']
    assert signal_.header.frame_id == 'conveyor' and signal_.valid_until.sec > 0

    line.trigger('bad', 2000)
    result(line, 'bad', 2000, 'left')
    result(line, 'bad', 2000, 'right', score=6.0)
    signal_ = one_signal(line, 'bad')
    assert signal_.reject and signal_.reason == InspectionResult.REASON_ANOMALY
    assert signal_.anomaly_score == 3.0

    # duplicates, late results and repeated triggers are silent; nonsense is not a pass
    result(line, 'good', 1000, 'left', score=9.0)
    line.trigger('good', 1000)
    line.trigger('nonsense', 3000, ['left'])
    result(line, 'nonsense', 3000, 'left', verdict=200, reason=7)
    assert one_signal(line, 'nonsense').reject
    assert len(signals_of(line, 'good')) == len(signals_of(line, 'bad')) == 1


def test_missing_views_reject_in_time_and_open_pieces_at_the_end(line):
    line.publisher(interfaces.RESULTS, 'left')
    line.start_reject(cameras=CAMERAS, object_timeout=0.5)
    line.trigger('half', 1000)
    result(line, 'half', 1000, 'left')
    signal_ = one_signal(line, 'half')
    assert signal_.reject and signal_.reason == InspectionResult.REASON_DEADLINE_MISSED
    assert 'missing: right' in signal_.message

    line.trigger('nobody', 2000)
    assert one_signal(line, 'nobody').reject

    result(line, 'no trigger', 3000, 'left')
    signal_ = one_signal(line, 'no trigger')
    assert signal_.reject and 'no trigger' in signal_.message


def test_open_pieces_are_rejected_when_the_node_is_stopped(line):
    line.start_reject(cameras=CAMERAS, object_timeout=600.0, diagnostics_period=0.1)
    diagnostics = line.listen(interfaces.DIAGNOSTICS)
    line.trigger('open', 1000)

    def is_known():
        values = {v.key: v.value for m in diagnostics for s in m.status for v in s.values}
        return values.get('open') == '1'

    line.wait(is_known, 'open piece in the diagnostics')
    process = line.graph.process('/reject_node')
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    for _ in range(100):
        line.executor.spin_once(timeout_sec=0.1)
        if signals_of(line, 'open'):
            break
    assert [s.reject for s in signals_of(line, 'open')] == [True]
