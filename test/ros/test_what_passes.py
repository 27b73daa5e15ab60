"""A PASS means that every view was judged: inspection_node and reject_node together, over DDS."""

import math

from pad_msgs.msg import InspectionResult
from sensor_msgs.msg import JointState

from helpers.small_inspector import write_bundle
from pad_inspection.ros import conversions, interfaces

S = 10**9
CAMERAS = ['a', 'b', 'c']
START_NS = 1_800_000_000 * S


def start(line, cameras=CAMERAS, reject=None, **options):
    """Both nodes, and the topics of the cameras, which all know each other afterwards."""
    for camera in cameras:
        line.publisher(interfaces.IMAGE, camera)
        line.publisher(interfaces.CAMERA_INFO, camera)
    line.publisher(interfaces.OBJECT_TRIGGER)
    line.start_inspection(cameras=cameras, trigger_timeout=1.0, **options)
    line.start_reject(cameras=cameras, **{'object_timeout': 60.0} | (reject or {}))
    line.wait_served()


def send(line, stamp_ns, defects, cut=''):
    """An image of each camera; those of ``defects`` show one, those of ``cut`` are cut short."""
    for camera, defect in defects.items():
        message = line.image(defect, header=line.header(camera, stamp_ns))
        if camera in cut:
            message.data = message.data[:100]
        line.send(message, name=camera)


def signal_of(line, name):
    return line.wait(lambda: line.signals().get(name), f'signal of {name}')


def test_views_that_nobody_looked_at_reject(line):
    """Late, invalid, of a product that is not loaded; then the line goes on."""
    write_bundle(line.bundle, delay_s=0.4)
    start(line, deadline=0.6)
    line.trigger('late', START_NS)
    send(line, START_NS, {'a': False, 'b': False, 'c': True})
    late = signal_of(line, 'late')
    assert late.reject and late.num_judged < 3, late.message
    line.trigger('invalid', START_NS + S, ['a', 'b'])
    send(line, START_NS + S, {'a': False, 'b': True}, cut='b')
    invalid = signal_of(line, 'invalid')
    assert invalid.reject and invalid.reason == InspectionResult.REASON_IMAGE_INVALID
    line.trigger('truck', START_NS + 2 * S, ['a'], product='truck')
    send(line, START_NS + 2 * S, {'a': False})
    truck = signal_of(line, 'truck')
    assert truck.reject and truck.reason == InspectionResult.REASON_MODEL_NOT_LOADED
    line.trigger('good', START_NS + 3 * S, ['a'])
    send(line, START_NS + 3 * S, {'a': False})
    assert not signal_of(line, 'good').reject


def test_an_overloaded_line_passes_nothing_that_it_did_not_look_at(line):
    """Three cameras, fifteen times as many images as can be inspected."""
    write_bundle(line.bundle, delay_s=0.25)
    start(line)
    names = [f'piece-{n}' for n in range(40)]
    for n, name in enumerate(names):
        stamp_ns = START_NS + n * S
        line.trigger(name, stamp_ns)
        send(line, stamp_ns, {camera: n % 3 == 1 and camera == 'c' for camera in CAMERAS})
        line.spin(0.05)
    line.wait(lambda: len(line.signals()) == len(names), 'signals')
    for n, name in enumerate(names):
        told = line.signals()[name]
        assert told.reject or (n % 3 != 1 and told.num_judged == 3), told.message
    # each camera may take more images of an exposure than were announced: not for the others
    line.trigger('good', START_NS + 100 * S, ['a', 'b'])
    send(line, START_NS + 100 * S, {'a': False, 'b': False})
    assert not signal_of(line, 'good').reject


def test_surplus_images_of_one_camera_are_not_those_of_another(line):
    start(line, cameras=['a', 'b'], trigger_tolerance=0.05, queue_size=5)
    line.trigger('free-running', START_NS, ['a', 'b'])
    for late_ns in (10**6, 3 * 10**7):
        send(line, START_NS + late_ns, {'a': False})
    line.spin(0.5)
    assert not line.signals()
    send(line, START_NS + 2 * 10**6, {'b': True})
    told = signal_of(line, 'free-running')
    assert told.reject and told.reason == InspectionResult.REASON_ANOMALY


def test_nonsense_on_the_belt_ends_nothing_and_each_camera_gives_its_images(line, tmp_path):
    layout = tmp_path / 'belt.yaml'
    layout.write_text(
        'trigger_position: -0.1\nviews_per_camera: 2\ncameras:\n'
        '  a: {position: 0.0}\n  b: {position: 0.3}\n'
    )
    belt = line.publisher(interfaces.BELT_STATE)
    start(
        line,
        cameras=['a', 'b'],
        association='belt',
        belt_layout=str(layout),
        queue_size=5,
        reject={'object_timeout': 10.0},
    )
    line.wait_connected()

    def move(seconds, travel):
        stamp = conversions.stamp_of_ns(START_NS + round(seconds * S))
        message = JointState(header=line.header(), position=[travel])
        message.header.stamp = stamp
        belt.publish(message)

    # warnings and errors of all kinds, one after the other
    for travel in (math.nan, math.inf, 1e300):
        send(line, START_NS, {'a': False}, cut='a')
        move(0.0, travel)
        belt.publish(JointState(header=line.header()))
        line.trigger('far', START_NS, x=-math.inf)
        send(line, START_NS, {'b': False}, cut='b')

    move(0.0, 0.0)
    move(0.1, 0.0)
    line.trigger('piece', START_NS + S // 10)
    line.spin(0.3)
    for seconds, travel, camera, defect in (
        (1.0, 0.09, 'a', False),
        (1.2, 0.11, 'a', False),
        (3.9, 0.39, 'b', True),
        (4.2, 0.42, 'b', True),
    ):
        # the image is between two samples of the encoder
        move(seconds - 0.01, travel)
        move(seconds + 0.01, travel)
        line.spin(0.2)
        send(line, START_NS + round(seconds * S), {camera: defect})
        line.spin(0.5)
        assert ('piece' in line.signals()) <= (seconds == 4.2)
    told = signal_of(line, 'piece')
    assert told.reject and told.num_judged == 4, told.message
    assert signal_of(line, 'far').reject
    line.graph.check()


def test_a_worker_that_dies_ends_its_node_and_rejects(line):
    start(
        line,
        cameras=['a'],
        inspector='helpers.small_inspector:DyingInspector',
        reject={'inspection_grace': 0.2},
    )
    for n, (name, defect) in enumerate((('good', False), ('deadly', True))):
        line.trigger(name, START_NS + n * S)
        send(line, START_NS + n * S, {'a': defect})
        if not defect:
            assert not signal_of(line, name).reject
    process = line.graph._processes.pop('/inspection_node')
    assert process.wait(60) == 1
    log = (line.path / 'log' / 'inspection_node.log').read_text()
    assert 'the worker has died, the node ends: SystemExit: out of the library' in log
    told = signal_of(line, 'deadly')
    assert told.reject
