import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from pad_inspection.checked_options import flatten
from pad_inspection.config import DecisionConfig, InspectionConfig
from pad_inspection.ros import parameters

ROOT = Path(__file__).parents[2]


def write(tmp_path, text):
    path = tmp_path / 'nodes.yaml'
    path.write_text(text)
    return path


# not of nodes: the layout of a belt, variables of line controllers
OTHERS = ('belt.yaml', 'plc_modbus.yaml', 'plc_opcua.yaml')
FILES = [p for p in sorted((ROOT / 'config').glob('*.yaml')) if p.name not in OTHERS]


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_shipped_parameter_files_are_right(path):
    assert parameters.read_parameter_file(path)


def test_generated_files_are_up_to_date():
    command = [sys.executable, str(ROOT / 'tools' / 'update_ros_files.py'), '--check']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f'run tools/update_ros_files.py: {done.stdout}{done.stderr}'


@pytest.mark.parametrize('kind', sorted(parameters.NODES))
def test_generated_file_holds_the_defaults(kind, tmp_path):
    path = write(tmp_path, parameters.parameter_file_text(kind))
    values = parameters.read_parameter_file(path)[f'/**/{kind}']
    defaults = {name: value for name, value, _ in parameters.node_options(kind)}
    for f in fields(parameters.NODES[kind][0]):
        wanted = defaults[f.name]
        got = values[f.name]
        assert got == (list(wanted) or [''] if isinstance(wanted, tuple) else wanted)
        assert type(got) is (list if isinstance(wanted, tuple) else type(wanted))


def test_options_of_the_core_are_parameters():
    names = {name for name, _, _ in parameters.node_options('inspection_node')}
    assert {name for name, _, _ in flatten(InspectionConfig())} <= names
    names = {name for name, _, _ in parameters.node_options('reject_node')}
    assert {name for name, _, _ in flatten(DecisionConfig(), 'decision.')} <= names


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
        ('camera_node:\n  ros__parameters: {}\n', 'camera_node'),
        ('inspection_node:\n  bundle: x\n', 'ros__parameters'),
        ('inspection_node:\n  ros__parameters: {bundel: x}\n', 'bundel'),
        ('inspection_node:\n  ros__parameters: {queue_size: 0}\n', 'queue_size is 0'),
        ('inspection_node:\n  ros__parameters: {deadline: soon}\n', "deadline is 'soon'"),
        ('inspection_node:\n  ros__parameters: {decision: {margin: 99}}\n', 'margin is 99'),
        ('reject_node:\n  ros__parameters: {decision: {nothing: 1}}\n', 'nothing'),
    ],
)
def test_mistakes_are_told(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        parameters.read_parameter_file(write(tmp_path, text))


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
