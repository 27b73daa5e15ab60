"""config/sros2_policy.xml grants the nodes what they do, and nobody else what lets pieces pass."""

from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

import pytest

from helpers.plc_servers import ModbusPlc
from pad_inspection.ros import interfaces
from pad_inspection.ros.graph import NodeGraph, NodeSpec

POLICY = Path(__file__).parents[2] / 'config' / 'sros2_policy.xml'
VERBS = ('publish', 'subscribe', 'request', 'reply')


@pytest.fixture(scope='module')
def rules():
    """Enclave -> verb -> absolute expressions."""
    found = {}
    for enclave in ElementTree.parse(POLICY).iter('enclave'):
        verbs = found[enclave.get('path')] = {verb: [] for verb in VERBS}
        for profile in enclave.iter('profile'):
            assert f'/{profile.get("node")}' == enclave.get('path')
            for group in profile:
                for verb in VERBS:
                    if group.get(verb) == 'ALLOW':
                        verbs[verb] += [absolute(profile, e.text) for e in group]
    return found


def absolute(profile, name):
    """Name as `ros2 security create_permission` resolves it."""
    if name.startswith('/'):
        return name
    if name.startswith('~'):
        name = profile.get('node') + name[1:]
    return f'{profile.get("ns").rstrip("/")}/{name}'


def who(rules, verb, name):
    """Enclaves that may do this."""
    return {
        enclave
        for enclave, verbs in rules.items()
        if any(fnmatchcase(name, expression) for expression in verbs[verb])
    }


def test_only_their_own_nodes_decide(rules):
    assert who(rules, 'publish', '/reject_signal') == {'/reject_node'}
    assert who(rules, 'publish', '/left/inspection_results') == {'/inspection_node'}
    assert who(rules, 'publish', '/stop_request') == {'/reject_node', '/line_controller_node'}
    # of a light barrier inspection_node makes the triggers of the single cameras
    assert who(rules, 'publish', '/object_trigger') == {'/inspection_node', '/trigger'}
    assert who(rules, 'publish', '/left/image_rect_color') == {'/camera'}
    assert who(rules, 'request', '/inspection_node/reload_model') == {'/operator'}
    assert who(rules, 'request', '/reject_node/reset_stop') == {
        '/operator',
        '/line_controller_node',
    }
    for node in ('inspection_node', 'reject_node', 'line_controller_node'):
        assert who(rules, 'reply', f'/{node}/set_parameters') == {f'/{node}'}
        assert who(rules, 'request', f'/{node}/set_parameters') == set()


def test_the_nodes_may_do_what_they_do(rules, line):
    with ModbusPlc() as plc:
        line.start_inspection(cameras=['left'])
        line.publisher(interfaces.RESULTS, 'left')
        line.start_reject(cameras=['left'], log_dir=str(line.path / 'verdicts'))
        line.start_line_controller(map_file=str(plc.write_map(line.path / 'map.yaml')))
        line.graph.start(NodeSpec('viewer_node', {'cameras': ['left'], 'port': 0}))
        node = line.node
        asked = {
            'publish': node.get_publisher_names_and_types_by_node,
            'subscribe': node.get_subscriber_names_and_types_by_node,
            'reply': node.get_service_names_and_types_by_node,
            'request': node.get_client_names_and_types_by_node,
        }
        nodes = [name[1:] for name in line.graph.names]
        assert len(nodes) == 4
        line.wait(lambda: set(nodes) <= set(node.get_node_names()), 'all nodes')
        line.wait(lambda: asked['subscribe']('viewer_node', '/'), 'subscriptions of the viewer')
        for name in nodes:
            for verb, ask in asked.items():
                used = {found for found, _ in ask(name, '/')}
                refused = {n for n in used if f'/{name}' not in who(rules, verb, n)}
                assert not refused, f'{name} may not {verb} {refused}'


def test_security_that_is_enforced_never_runs_open(tmp_path):
    """Without keys, or with a middleware that has no security, a node does not start."""
    security = {
        'ROS_SECURITY_ENABLE': 'true',
        'ROS_SECURITY_STRATEGY': 'Enforce',
        'ROS_SECURITY_KEYSTORE': str(tmp_path / 'keystore'),
    }
    (tmp_path / 'keystore' / 'enclaves').mkdir(parents=True)
    spec = NodeSpec('reject_node', {'cameras': ['left']}, '/line_1')
    with NodeGraph([spec], log_dir=tmp_path / 'log', env=security) as graph:
        process = graph.process('/line_1/reject_node')
        assert process.wait(60) not in (0, None)
        assert '--enclave' in process.args and '/line_1/reject_node' in process.args
        assert 'enclave' in (tmp_path / 'log' / 'line_1_reject_node.log').read_text()
