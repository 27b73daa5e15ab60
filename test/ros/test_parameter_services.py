"""Parameters of running nodes, over DDS: what is answered is what holds."""

import subprocess
import sys
from pathlib import Path

import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.parameter import Parameter as RclpyParameter

from helpers.small_dataset import write_dataset
from helpers.small_inspection_node import program
from pad_inspection.ros import interfaces
from pad_inspection.ros.graph import NodeSpec, ros_environment

ROOT = Path(__file__).parents[2]
FIXED = 'fixed after start: restart the node'
CLEAN_UP = 'deactivate and clean up first'


def set_all(line, node, **values):
    """Set parameters, all or none; '' or the reason. Dots of names are two underscores here."""
    named = [RclpyParameter(n.replace('__', '.'), value=v) for n, v in values.items()]
    request = SetParametersAtomically.Request(parameters=[p.to_parameter_msg() for p in named])
    name = f'/{node}/set_parameters_atomically'
    result = line.call(SetParametersAtomically, name, request).result
    assert result.successful != bool(result.reason)
    return result.reason


def get(line, node, name):
    answer = line.call(
        GetParameters, f'/{node}/get_parameters', GetParameters.Request(names=[name])
    )
    return RclpyParameter.from_parameter_msg(Parameter(name=name, value=answer.values[0])).value


def test_parameters_are_fixed_where_nothing_reads_them_again(line, tmp_path):
    line.start_reject(cameras=['left'])
    starts = {
        'line_controller_node': {'map_file': str(ROOT / 'config' / 'plc_modbus.yaml')},
        'replay_node': {'class_dir': str(write_dataset(tmp_path)), 'startup_timeout': 600.0},
        'viewer_node': {'port': 0},
    }
    for kind, values in starts.items():
        line.graph.start(NodeSpec(kind, values))
    for node, name, value in (
        ('reject_node', 'object_timeout', 60.0),
        ('reject_node', 'decision__min_views', 1),
        ('reject_node', 'cameras', ['left', 'right']),
        ('reject_node', 'use_sim_time', True),
        ('line_controller_node', 'verdict_lifetime', 60.0),
        ('replay_node', 'rate', 3.0),
        ('viewer_node', 'num_pieces', 3),
    ):
        before = get(line, node, name.replace('__', '.'))
        assert FIXED in set_all(line, node, **{name: value}), (node, name)
        assert get(line, node, name.replace('__', '.')) == before
    # the clock of a node is rclpy's, where it counts for nothing that was settled before
    assert not set_all(line, 'viewer_node', use_sim_time=True)
    assert get(line, 'viewer_node', 'use_sim_time') is True
    # neither is a parameter taken away
    request = SetParameters.Request(parameters=[Parameter(name='object_timeout')])
    (result,) = line.call(SetParameters, '/reject_node/set_parameters', request).results
    assert not result.successful and FIXED in result.reason
    assert get(line, 'reject_node', 'object_timeout') == 5.0
    request = DescribeParameters.Request(names=['object_timeout'])
    (told,) = line.call(
        DescribeParameters, '/reject_node/describe_parameters', request
    ).descriptors
    assert told.floating_point_range[0].to_value == 3600.0 and 'signal' in told.description


def test_an_unconfigured_node_takes_what_goes_together_and_uses_it(line, tmp_path):
    values = line.inspection_parameters(autostart=False, **{'decision.margin': 1.5})
    line.graph.start(
        NodeSpec('inspection_node', values), program('helpers.small_inspector:TellingInspector')
    )
    node = 'inspection_node'
    for wrong, words in (
        ({'queue_size': 'many'}, "queue_size is 'many', wanted a whole number"),
        ({'cameras': 'left'}, "cameras is 'left', wanted a list of texts"),
        ({'cameras': ['left', 'left']}, "'left' twice"),
        ({'association': 'sight'}, "'sight', wanted one of"),
        ({'association': 'belt'}, "'belt_layout' is empty"),
        ({'decision__margin': float('nan')}, 'margin'),
        ({'decision__margin': 99.0}, 'margin'),
        ({'decision__min_views': 1}, 'decision.min_views does nothing in inspection_node'),
        ({'bundel': 'x'}, "unknown parameter 'bundel'"),
        ({'rig': '/nowhere'}, 'does not exist'),
        ({'queue_size': 7, 'bundles': ['a=b']}, 'wanted one of them'),
        ({'autostart': True}, FIXED),
        ({'diagnostics_period': 9.0}, FIXED),
    ):
        assert words in set_all(line, node, **wrong), wrong
    # of what is set together nothing is taken when one is refused
    assert get(line, node, 'queue_size') == 1
    # an option that is not set is the bundle's, whatever that is
    assert get(line, node, 'comparison.surroundings') is None
    assert not set_all(
        line, node, cameras=['left'], decision__margin=2, comparison__surroundings=0.2
    )
    line.listen(interfaces.RESULTS, 'left')
    models = line.listen(interfaces.MODEL_INFO)
    assert line.transition('configure') and line.transition('activate')
    line.wait(lambda: models, 'model_info')
    assert (
        models[-1].model_id == "{'comparison': {'surroundings': 0.2}, 'decision': {'margin': 2}}"
    )

    for label in ('active', 'inactive'):
        assert line.state() == label
        reason = set_all(line, node, decision__margin=10.0)
        assert f'the node is {label}: {CLEAN_UP}' in reason
        if label == 'active':
            assert line.transition('deactivate')
    assert get(line, node, 'decision.margin') == 2
    assert line.transition('cleanup')
    assert not set_all(line, node, decision__margin=3.0)
    assert line.transition('configure') and line.transition('activate')
    line.wait(lambda: "'margin': 3.0" in models[-1].model_id, 'model with the new margin')


def test_messages_that_are_no_parameters_end_no_node(line):
    line.start_reject(cameras=['left'])
    strange = Parameter(name='object_timeout', value=ParameterValue(type=42))
    for service, name in (
        (SetParameters, 'set_parameters'),
        (SetParametersAtomically, 'set_parameters_atomically'),
    ):
        answer = line.call(service, f'/reject_node/{name}', service.Request(parameters=[strange]))
        result = answer.result if hasattr(answer, 'result') else answer.results[0]
        assert not result.successful and '42' in result.reason
    array = Parameter(
        name='cameras',
        value=ParameterValue(type=ParameterType.PARAMETER_INTEGER_ARRAY, integer_array_value=[1]),
    )
    answer = line.call(
        SetParameters, '/reject_node/set_parameters', SetParameters.Request(parameters=[array])
    )
    assert not answer.results[0].successful
    assert get(line, 'reject_node', 'object_timeout') == 5.0


@pytest.mark.parametrize(
    ('kind', 'words', 'told'),
    [
        ('reject_node', ['-p', 'cameras:=left'], "cameras is 'left', wanted a list of texts"),
        ('reject_node', ['-p', 'use_sim_time:=5'], 'use_sim_time'),
        ('reject_node', ['-p', 'qos_overrides./x.depth:=5'], 'the QoS of reject_node is fixed'),
        ('reject_node', ['--params-file', 'TWICE'], "'cameras' is given twice"),
        ('reject_node', ['--params-file', 'MIXED'], 'Sequence should be of same type'),
        ('line_controller_node', ['-p', 'map_file:=MAP'], "protocol is 'smoke'"),
    ],
)
def test_a_node_of_its_own_refuses_what_is_wrong(tmp_path, domain_id, kind, words, told):
    """Started by hand or by ros2 launch, where nobody has looked at the file before."""
    section = '{}: {{ros__parameters: {{cameras: {}}}}}\n'
    (tmp_path / 'TWICE').write_text(section.format(kind, '[a], cameras: [b]'))
    (tmp_path / 'MIXED').write_text(section.format(kind, '[a, 1]'))
    (tmp_path / 'MAP').write_text('protocol: smoke')
    done = subprocess.run(
        [sys.executable, '-m', f'pad_inspection.ros.{kind}', '--ros-args', *words],
        cwd=tmp_path,
        env=ros_environment(domain_id=domain_id, log_dir=tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert told in done.stderr.splitlines()[-1]
