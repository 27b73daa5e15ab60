"""Faults that inspection_node must answer for, over DDS: none ends it, nothing is lost."""

from builtin_interfaces.msg import Time
from pad_msgs.msg import InspectionResult
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from helpers.ros_line import camera
from pad_inspection.ros import conversions, interfaces

S = 10**9
START_NS = 1_800_000_000 * S


def log_of(line):
    return (line.path / 'log' / 'inspection_node.log').read_text()


def values_of(line):
    """What the node counts, on /diagnostics."""
    found = {}
    for array in line.listen(interfaces.DIAGNOSTICS):
        for status in array.status:
            if status.name == '/inspection_node: inspection':
                found = {value.key: value.value for value in status.values}
    return found


def test_what_cannot_be_told_is_answered_and_pictures_fail_alone(line):
    line.start_inspection(
        inspector='helpers.small_inspector:UntellableInspector', publish_debug=True
    )
    for defect in (True, False, True, False):
        message = line.image(defect)
        line.send(message)
        result = line.result_of(message.header)
        if defect:
            assert result.reason == InspectionResult.REASON_INTERNAL_ERROR and result.message
        else:
            assert result.verdict == InspectionResult.VERDICT_PASS
    log = log_of(line)
    assert log.count('camera/debug/reference left out: ') == 1
    assert 'Traceback' not in log


def test_with_simulated_time_images_wait_in_simulated_time(line):
    """It stands still, goes on, and is set back by an hour."""
    clock = line.node.create_publisher(Clock, '/clock', 10)
    line.start_inspection(
        use_sim_time=True, deadline=2.0, camera_info_timeout=60.0, diagnostics_period=0.1
    )
    results = line.received[interfaces.RESULTS.of('camera')]
    line.wait(lambda: clock.get_subscription_count(), 'listener of /clock')

    def set_clock(seconds):
        stamp = Time(sec=int(seconds), nanosec=round(seconds % 1 * 1e9))

        def has_it():
            # again and again, as clocks do: one message may be lost
            clock.publish(Clock(clock=stamp))
            arrays = line.listen(interfaces.DIAGNOSTICS)
            return arrays and arrays[-1].header.stamp == stamp

        line.wait(has_it, f'clock at {seconds} s')

    def send_incomplete():
        """An image that waits for its CameraInfo."""
        before, message = num_received(), line.image()
        line.send(message, info=False)
        line.wait(lambda: num_received() > before, 'image in the diagnostics')
        return message.header

    def num_received():
        return int(values_of(line).get('received', 0))

    set_clock(1_700_000_000)
    header = send_incomplete()
    line.spin(3.0)
    set_clock(1_700_000_001.5)
    line.spin(0.3)
    assert not results
    set_clock(1_700_000_002.5)
    assert line.result_of(header).reason == InspectionResult.REASON_DEADLINE_MISSED
    header = send_incomplete()
    set_clock(1_699_996_400)
    assert line.result_of(header).reason == InspectionResult.REASON_DEADLINE_MISSED
    message = line.image()
    line.send(message)
    assert line.result_of(message.header).verdict == InspectionResult.VERDICT_PASS


def test_of_two_objects_with_one_stamp_neither_passes(line):
    """Nobody knows whose images they are."""
    cameras = ['a', 'b']
    for name in cameras:
        line.publisher(interfaces.IMAGE, name)
        line.publisher(interfaces.CAMERA_INFO, name)
    line.start_inspection(cameras=cameras, trigger_timeout=1.0)
    line.start_reject(cameras=cameras, object_timeout=3.0, expected_views=2)
    line.wait_served()
    for name in ('first', 'second'):
        line.trigger(name, START_NS)
    line.wait(lambda: values_of(line), 'diagnostics')
    line.spin(0.5)
    for name in cameras:
        line.send(line.image(header=line.header(name, START_NS)), name=name)
    for name in cameras:
        result = line.result_of(line.header(name, START_NS), name)
        assert result.reason == InspectionResult.REASON_CONFLICT and not result.object_id
        assert result.message == '2 triggers are of its stamp, wanted one: first, second'
    line.wait(lambda: len(line.signals()) == 2, 'signals')
    line.trigger('good', START_NS + S)
    for name in cameras:
        line.send(line.image(header=line.header(name, START_NS + S)), name=name)
    line.wait(lambda: 'good' in line.signals(), 'signal of good')
    assert {name: told.reject for name, told in line.signals().items()} == {
        'first': True,
        'second': True,
        'good': False,
    }


def test_what_is_refused_is_named_and_counted(line, tmp_path):
    layout = tmp_path / 'belt.yaml'
    layout.write_text('speed: 0.5\ncameras:\n  camera: {position: 0.0}\n')
    line.publisher(interfaces.OBJECT_TRIGGER)
    line.publisher(interfaces.OBJECT_TYPE)
    line.publisher(interfaces.CAMERA_INFO)
    line.start_inspection(
        association='belt', belt_layout=str(layout), reliable_images=True, diagnostics_period=0.1
    )
    assert 'the belt layout has no trigger_position' in log_of(line)
    line.trigger('nowhere', START_NS)
    line.publish(interfaces.OBJECT_TYPE, String(data='truck\x1b[31m'))
    info = conversions.camera_to_info(camera(), line.header())
    info.d = [0.0] * 1000
    line.publish(interfaces.CAMERA_INFO, info)
    refused = {'trigger', 'object_type', 'camera_info'}
    line.wait(lambda: all(f'{what}: refused' in values_of(line) for what in refused), 'counts')
    log = log_of(line)
    assert 'trigger refused: trigger of nowhere has no position and the belt layout no' in log
    assert r'object_type refused: data truck\x1b[31m has characters' in log
    assert 'camera_info refused: camera: d has 1000 values, wanted 100 at most' in log
