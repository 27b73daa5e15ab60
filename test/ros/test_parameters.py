import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from pad_inspection.checked_options import flatten
from pad_inspection.config import DecisionConfig, InspectionConfig
from pad_inspection.ros import parameter_docs, parameters
from pad_inspection.ros.graph import specs_of_file

ROOT = Path(__file__).parents[2]


def write(tmp_path, text):
    path = tmp_path / 'nodes.yaml'
    path.write_text(text)
    return path


# not of nodes: the layout of a belt, variables of line controllers
OTHERS = ('belt.yaml', 'plc_modbus.yaml', 'plc_opcua.yaml')
FILES = [p for p in sorted((ROOT / 'config').glob('*.yaml')) if p.name not in OTHERS]


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_shipped_parameter_files_are_right(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert parameters.read_parameter_file(path)


def test_generated_files_are_up_to_date():
    command = [sys.executable, str(ROOT / 'tools' / 'update_ros_files.py'), '--check']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f'run tools/update_ros_files.py: {done.stdout}{done.stderr}'


@pytest.mark.parametrize('kind', sorted(parameters.NODES))
def test_generated_file_holds_the_defaults(kind, tmp_path):
    path = write(tmp_path, parameter_docs.parameter_file_text(kind))
    values = parameters.read_parameter_file(path)[f'/**/{kind}']
    defaults = {name: value for name, value, _ in parameters.node_options(kind)}
    for f in fields(parameters.NODES[kind].own):
        wanted = defaults[f.name]
        got = values[f.name]
        assert got == (list(wanted) or [''] if isinstance(wanted, tuple) else wanted)
        assert type(got) is (list if isinstance(wanted, tuple) else type(wanted))


def test_each_option_of_the_core_is_a_parameter_where_it_is_used():
    names = {kind: {n for n, _, _ in parameters.node_options(kind)} for kind in parameters.NODES}
    rules = {name for name, _, _ in flatten(DecisionConfig(), 'decision.')}
    views = {'decision.margin', 'decision.min_inspected_fraction'}
    assert rules & names['inspection_node'] == views
    # the share of good objects that are rejected is settled when the model is built
    assert rules & names['reject_node'] == rules - views - {'decision.max_false_reject_rate'}
    other = {name for name, _, _ in flatten(InspectionConfig())} - rules
    assert other <= names['inspection_node']


def test_nested_and_dotted_names_mean_the_same(tmp_path):
    nested = 'inspection_node:\n  ros__parameters:\n    decision: {margin: 1.5}\n'
    dotted = 'inspection_node:\n  ros__parameters:\n    decision.margin: 1.5\n'
    assert parameters.read_parameter_file(write(tmp_path, nested)) == (
        parameters.read_parameter_file(write(tmp_path, dotted))
    )


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('', 'holds no nodes'),
        ('a: [', 'not YAML'),
        ('reject_node: {ros__parameters: &a {x: *a}}', 'nested too deeply'),
        ('/**/reject_node_\u00e4 b: {ros__parameters: {}}', 'with or without a namespace'),
        ('/a b/../reject_node: {ros__parameters: {}}', 'with or without a namespace'),
        (f'reject_node: {{ros__parameters: {{object_timeout: 1{"0" * 400}}}}}', 'larger than'),
        ('viewer_node: {ros__parameters: {host: ""}}', "'host' is empty"),
        ('\0\1', 'not YAML'),
        ('[' * 5000, 'nested too deeply'),
        ('!!python/object/apply:os.getcwd []', 'not YAML'),
        ('camera_node:\n  ros__parameters: {}\n', 'camera_node'),
        ('inspection_node:\n  bundle: x\n', 'ros__parameters'),
        (
            'reject_node:\n  ros__parameters: {cameras: [a], cameras: [b]}\n',
            "'cameras' is given tw",
        ),
        (
            'viewer_node:\n  ros__parameters: {}\nviewer_node:\n  x: 1\n',
            "'viewer_node' is given tw",
        ),
        (
            'inspection_node: {ros__parameters: {decision: {margin: 1.0}, decision.margin: 2.0}}',
            "'decision.margin' is given twice",
        ),
    ],
)
def test_wrong_files_are_told(tmp_path, text, words):
    with pytest.raises(ValueError, match=words) as caught:
        parameters.read_parameter_file(write(tmp_path, text))
    assert '\n' not in str(caught.value) and str(tmp_path) in str(caught.value)


LEFT_RIGHT = {'cameras': ['left', 'right']}
BELT = 'speed: 0.1\nviews_per_camera: 2\ncameras: {left: {position: 0}, right: {position: 1}}\n'
POSE = '{translation: [0, 0, 0], rotation_xyzw: [0, 0, 0, 1]}'
WRONG = {
    'inspection_node': [
        # names, types, choices, ranges
        ({'bundel': 'x'}, "unknown parameter 'bundel' of inspection_node, is it 'bundle'?"),
        ({'inspector': 'os:system'}, "unknown parameter 'inspector'"),
        ({'bundle': 5}, 'bundle is 5, wanted a text'),
        ({'bundle': None}, 'bundle is None, wanted a text'),
        ({'queue_size': 0}, 'queue_size is 0'),
        ({'queue_size': 1.5}, 'queue_size is 1.5, wanted a whole number'),
        ({'queue_size': True}, 'queue_size is True'),
        ({'deadline': 'soon'}, "deadline is 'soon', wanted a number"),
        ({'deadline': float('nan')}, 'deadline is nan'),
        ({'decision.margin': float('inf')}, 'margin is inf'),
        ({'localization.ransac_threshold_px': float('inf')}, 'wanted a finite number'),
        ({'rectified': 'yes'}, "rectified is 'yes', wanted true or false"),
        ({'use_sim_time': 'yes'}, 'use_sim_time'),
        ({'association': 'sight'}, "association is 'sight', wanted one of"),
        ({'comparison.backbone': 'resnet'}, 'backbone'),
        ({'cameras': 'left'}, "cameras is 'left', wanted a list of texts"),
        ({'cameras': [1, 2]}, r'cameras is \[1, 2\], wanted a list of texts'),
        ({'cameras': ['']}, "'cameras' is empty"),
        ({'cameras': []}, "'cameras' is empty"),
        ({'cameras': ['a', 'b', 'a']}, "has 'a' twice"),
        # what does nothing here
        ({'decision.min_views': 2}, 'does nothing in inspection_node: it belongs to reject_node'),
        ({'decision.worst_share': 0.5}, 'it belongs to reject_node'),
        ({'decision.max_false_reject_rate': 0.1}, 'it belongs to pad build'),
        ({'qos_overrides./left/image_rect_color.subscription.depth': 5}, 'the QoS of'),
        ({'belt_layout': 'BELT', **LEFT_RIGHT}, "'belt_layout' does nothing"),
        ({'image_topics': ['raw'], 'compressed': True}, "'compressed' does nothing"),
        ({'rectified': False, 'distorted_cameras': ['camera']}, "'distorted_cameras' does noth"),
        # what does not go together
        ({'distorted_cameras': ['top']}, r"has \['top'\], wanted some of \['camera'\]"),
        ({'image_topics': ['a', 'b', 'c']}, '3 names'),
        ({'association': 'belt'}, "'belt_layout' is empty"),
        ({'association': 'belt', 'belt_layout': 'BELT'}, 'no camera camera'),
        ({'association': 'belt', 'belt_layout': 'nowhere.yaml'}, 'nowhere.yaml does not exist'),
        ({'rig': 'nowhere.yaml'}, "'nowhere.yaml' does not exist"),
        ({'rig': 'RIG', 'cameras': ['left']}, 'wanted two or more of the cameras'),
        ({'rig': 'TWICE', **LEFT_RIGHT}, "'left' is given twice"),
        ({'bundle': 'a', 'bundles': ['car=b']}, 'wanted one of them'),
        ({'bundles': ['car']}, "'bundles': 'car', wanted product=folder"),
        ({'bundles': ['car=a', 'car=b']}, 'each once'),
        ({'bundles': ['car=a', 'van=b'], 'object_type': 'bus'}, "'object_type' is 'bus'"),
    ],
    'reject_node': [
        ({'cameras': 'left'}, "cameras is 'left', wanted a list of texts"),
        ({'cameras': ['a', 'a']}, "has 'a' twice"),
        ({'object_timeout': '5'}, "object_timeout is '5', wanted a number"),
        ({'gate_position': float('nan'), 'belt_speed': 1.0}, 'gate_position is nan'),
        ({'decision.nothing': 1}, "unknown parameter 'decision.nothing'"),
        ({'decision.margin': 1.1}, 'does nothing in reject_node: it belongs to inspection_node'),
        ({'decision.min_inspected_fraction': 0.5}, 'it belongs to inspection_node'),
        ({'decision.max_false_reject_rate': 0.1}, 'it belongs to pad build'),
        ({'required_cameras': ['top']}, r"'required_cameras' has \['top'\]"),
        ({'forget_after': 1.0}, 'forget_after is 1 s, wanted object_timeout'),
        ({'gate_position': -5.0, 'belt_speed': 1.0}, 'gate_position -5 m at 1 m/s before'),
        ({'belt_layout': 'BELT'}, 'unknown parameter .belt_layout. of reject_node'),
        ({'expected_views': 2, 'decision.min_views': 3}, 'only 2 views of an object come'),
        (
            {
                'decision.worst_share': 1.0,
                'decision.single_view_weight': 0.0,
                'decision.reject_share': 0.0,
            },
            'make up for any defect',
        ),
    ],
    'line_controller_node': [
        ({'map_file': 'nowhere.yaml'}, "'nowhere.yaml' does not exist"),
        ({'map_file': 'BELT'}, 'protocol is None'),
        ({'decision.margin': 1.0}, 'unknown parameter'),
    ],
    'replay_node': [
        ({'class_dir': '.', 'bag': '.'}, 'wanted one of them'),
        ({'class_dir': 'nowhere'}, 'does not exist'),
        ({'class_dir': '.', 'topics': ['/a']}, "'topics' does nothing"),
        ({'bag': '.', 'limit': 3}, "'limit' does nothing"),
        ({'bag': '.', 'topics': ['/a', '/a']}, "has '/a' twice"),
    ],
    'viewer_node': [
        ({'cameras': []}, "'cameras' is empty"),
        ({'port': 99999}, 'port is 99999'),
    ],
}
UNSAFE = ['a/../b', '/a', 'a/', 'a//b', '..', ' ', '1a', 'a b', 'ü', 'a\nb', 'a/1', 'a' * 101]
WRONG['viewer_node'] += [({'cameras': [name]}, 'wanted a ROS name') for name in UNSAFE]
WRONG['inspection_node'] += [({'image_topic': name}, 'wanted a ROS name') for name in UNSAFE]
CASES = [(kind, *case) for kind, cases in WRONG.items() for case in cases]


@pytest.mark.parametrize(('kind', 'values', 'words'), CASES)
def test_wrong_values_are_told_in_one_line(tmp_path, kind, values, words):
    (tmp_path / 'BELT').write_text(BELT)
    (tmp_path / 'RIG').write_text(f'cameras: {{left: {POSE}, right: {POSE}}}\n')
    (tmp_path / 'TWICE').write_text(f'cameras: {{left: {POSE}, right: {POSE}, left: {POSE}}}\n')
    values = {
        name: str(tmp_path / value) if value in ('BELT', 'RIG', 'TWICE') else value
        for name, value in values.items()
    }
    text = yaml.safe_dump({kind: {'ros__parameters': values}}, allow_unicode=True)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        parameters.read_parameter_file(write(tmp_path, text))
    told = str(caught.value)
    assert '\n' not in told and told.startswith(f'{tmp_path}/nodes.yaml: {kind}: ')


def test_names_with_slashes_and_numbers_are_right():
    cameras = ['line_1/left', 'Camera2', 'a/_b']
    for kind in ('inspection_node', 'reject_node', 'viewer_node'):
        parameters.check_values(kind, {'cameras': cameras})


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('inspection_node: {ros__parameters: {}}', "'bundle' is ''"),
        ('line_controller_node: {ros__parameters: {}}', "'map_file' is empty"),
        ('replay_node: {ros__parameters: {}}', 'are empty, wanted one of them'),
        (
            '/**/reject_node: {ros__parameters: {}}\nreject_node: {ros__parameters: {}}',
            'is node /reject_node a second time',
        ),
    ],
)
def test_a_line_that_could_not_start_is_told_before_it_does(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        specs_of_file(write(tmp_path, text))
    # a lifecycle manager may set the bundle before it configures the node
    managed = 'inspection_node: {ros__parameters: {autostart: false}}'
    assert specs_of_file(write(tmp_path, managed))


def test_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        parameters.read_parameter_file(tmp_path / 'nowhere.yaml')


def test_demo_yaml_plays_what_it_inspects():
    content = yaml.safe_load((ROOT / 'config' / 'demo.yaml').read_text())
    cameras = [
        content[f'/**/{node}']['ros__parameters']['cameras']
        for node in ('inspection_node', 'reject_node')
    ]
    assert cameras[0] == cameras[1]
