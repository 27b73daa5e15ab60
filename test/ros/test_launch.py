"""Launch files: what they start, and that it starts; configuration for rviz2."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.launch_resolver import resolve
from helpers.small_dataset import write_dataset
from helpers.small_inspection_node import PROGRAMS
from helpers.small_inspector import write_bundle
from pad_inspection.ros import interfaces, parameters
from pad_inspection.ros.belt_layout import read_layout
from pad_inspection.ros.graph import ros_environment

ROOT = Path(__file__).parents[2]
SHARE = {'pad_inspection': str(ROOT)}
LAUNCH = ROOT / 'launch'


def test_inspection_launch():
    resolved = resolve(LAUNCH / 'inspection.launch.py', SHARE, namespace='line_1')
    assert [n.executable for n in resolved.nodes] == ['inspection_node', 'reject_node']
    words = resolved.nodes[0].arguments
    assert '__ns:=/line_1' in words and str(ROOT / 'config/inspection.yaml') in words
    assert resolved.environment['FASTDDS_BUILTIN_TRANSPORTS'] == 'LARGE_DATA'
    assert Path(resolved.environment['FASTDDS_DEFAULT_PROFILES_FILE']).is_file()


def test_line_controller_launch():
    resolved = resolve(LAUNCH / 'line_controller.launch.py', SHARE, endpoint='tcp://plc:502')
    (node,) = resolved.nodes
    assert 'endpoint:="tcp://plc:502"' in node.arguments
    assert f'map_file:="{ROOT}/config/plc_modbus.yaml"' in node.arguments


def test_demo_launch():
    resolved = resolve(LAUNCH / 'demo.launch.py', SHARE, bundle='b')
    kinds = [n.executable for n in resolved.nodes]
    assert kinds == ['inspection_node', 'reject_node', 'replay_node']
    assert set(kinds) <= set(parameters.NODES)
    assert 'bundle:="b"' in resolved.nodes[0].arguments
    assert 'class_dir:="demo/data/coupe"' in resolved.nodes[2].arguments
    assert 'bag:=""' in resolved.nodes[2].arguments
    with pytest.raises(KeyError):
        resolve(LAUNCH / 'demo.launch.py', SHARE, bundel='b')


def test_multi_camera_launch():
    resolved = resolve(LAUNCH / 'multi_camera.launch.py', SHARE, bundle='b')
    names = [n.arguments[2].removeprefix('__node:=') for n in resolved.nodes]
    assert names == ['inspection_node_1', 'inspection_node_2', 'reject_node', 'viewer_node']
    # the page comes back; a node that judges must not come back without being asked
    assert [n.respawn for n in resolved.nodes] == [False, False, False, True]
    sections = yaml.safe_load((ROOT / 'config' / 'multi_camera.yaml').read_text())
    # a node only reads the section of its own name
    assert list(sections) == [f'/**/{name}' for name in names]
    cameras = {n: s['ros__parameters']['cameras'] for n, s in zip(names, sections.values())}
    shared = cameras['inspection_node_1'] + cameras['inspection_node_2']
    assert sorted(shared) == cameras['reject_node'] == cameras['viewer_node']


def test_belt_of_the_configuration():
    layout = read_layout(ROOT / 'config' / 'belt.yaml')
    positions = {name: station.position for name, station in layout.cameras.items()}
    assert positions == pytest.approx({'camera_0': 0.0, 'camera_1': 0.15, 'camera_2': 0.3})


@pytest.mark.parametrize('path', sorted(LAUNCH.glob('*.launch.py')), ids=lambda p: p.name)
def test_executables_and_files_exist(path):
    setup = (ROOT / 'setup.py').read_text()
    for node in resolve(path, SHARE).nodes:
        assert node.package == 'pad_inspection'
        assert f"'{node.executable} = pad_inspection.ros.{node.executable}:main'" in setup
        for word, value in zip(node.arguments, node.arguments[1:]):
            if word == '--params-file':
                assert Path(value).is_file()


def test_nodes_start_with_the_arguments_of_the_launch_file(tmp_path, domain_id):
    """In a namespace, with parameters of a file and of the launch file."""
    params = yaml.safe_load((ROOT / 'config' / 'demo.yaml').read_text())
    params['/**/replay_node']['ros__parameters'] |= {'exit_when_done': True, 'rate': 50.0}
    file = tmp_path / 'params.yaml'
    file.write_text(yaml.safe_dump(params))
    resolved = resolve(
        LAUNCH / 'demo.launch.py',
        SHARE,
        namespace='line_1',
        params_file=str(file),
        bundle=str(write_bundle(tmp_path / 'bundle')),
        class_dir=str(write_dataset(tmp_path, views=3)),
    )
    env = ros_environment(domain_id=domain_id, log_dir=tmp_path / 'log')
    env |= resolved.environment
    logs = [tmp_path / f'{node.executable}.txt' for node in resolved.nodes]
    programs = {n: ('-m', f'pad_inspection.ros.{n}') for n in parameters.NODES} | PROGRAMS
    processes = [
        subprocess.Popen(
            [sys.executable, *programs[node.executable], *node.arguments],
            env=env,
            stdout=log.open('w'),
            stderr=subprocess.STDOUT,
        )
        for node, log in zip(resolved.nodes, logs)
    ]
    try:
        code = processes[-1].wait(90)
    finally:
        for process in processes:
            process.terminate()
        codes = [process.wait(30) for process in processes]
    output = '\n'.join(log.read_text() for log in logs)
    assert code == 0 and codes == [0, 0, 0], output
    assert '[line_1.replay_node]: 9 images sent, 9 results' in output


RVIZ_TYPES = {
    'rviz_default_plugins/Image': interfaces.IMAGE.message,
    'rviz_default_plugins/MarkerArray': interfaces.MARKERS.message,
}


def test_rviz_shows_topics_that_exist():
    """Names, types and QoS of each display against the table of topics."""
    content = yaml.safe_load((ROOT / 'config' / 'pad_inspection.rviz').read_text())
    displays = content['Visualization Manager']['Displays']
    topics = {f'/{topic.of("camera_0")}': topic for topic in interfaces.TOPICS}
    shown = {d['Topic']['Value']: d for d in displays if 'Topic' in d}
    assert set(shown) == {
        f'/{topic.of("camera_0")}'
        for topic in (
            interfaces.OVERLAY,
            interfaces.REFERENCE,
            interfaces.HEATMAP,
            interfaces.MARKERS,
        )
    }
    for name, display in shown.items():
        assert topics[name].message == RVIZ_TYPES[display['Class']]
        # a reader may ask for no more than the writer offers
        policy = display['Topic']
        assert policy['Durability Policy'] == 'Volatile'
        assert policy['Reliability Policy'] == 'Reliable' and topics[name].reliable
    assert any(d['Class'] == 'rviz_default_plugins/TF' for d in displays)
    frame = content['Visualization Manager']['Global Options']['Fixed Frame']
    assert frame == interfaces.optical_frame('camera_0')


def test_pad_up_takes_the_same_file(tmp_path):
    command = [sys.executable, '-m', 'pad_inspection.cli', 'up', '--check', '--config']
    for name in ('demo.yaml', 'multi_camera.yaml'):
        path = str(ROOT / 'config' / name)
        done = subprocess.run([*command, path], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and '/inspection_node' in done.stdout, done.stderr
    # what has to be filled in first cannot start
    path = str(ROOT / 'config' / 'inspection.yaml')
    done = subprocess.run([*command, path], capture_output=True, text=True)
    assert done.returncode == 2 and "parameter 'bundle' is ''" in done.stderr
