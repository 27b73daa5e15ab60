"""Starting and stopping processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from helpers.small_dataset import write_dataset
from helpers.small_inspection_node import PROGRAMS
from helpers.small_inspector import write_bundle
from pad_inspection.ros.graph import (
    NodeGraph,
    NodeSpec,
    ros_environment,
    specs_of_file,
)


def line_specs(tmp_path):
    inspection = {'bundle': str(write_bundle(tmp_path / 'bundle'))}
    return [NodeSpec('inspection_node', inspection), NodeSpec('reject_node')]


@pytest.mark.parametrize('wait_s', [0.0, 0.2, 0.4])
def test_nodes_end_cleanly_whenever_they_are_told(tmp_path, domain_id, wait_s):
    graph = NodeGraph(
        line_specs(tmp_path), log_dir=tmp_path / 'log', domain_id=domain_id, programs=PROGRAMS
    )
    with graph:
        time.sleep(wait_s)  # any moment of the start-up must do
    assert graph.stop() == {'/inspection_node': 0, '/reject_node': 0}
    for name in graph.names:
        assert 'Traceback' not in graph.log_tail(name)


def test_nodes_end_when_their_starter_is_killed(tmp_path, domain_id):
    code = (
        'import sys, time\n'
        'from pathlib import Path\n'
        'from pad_inspection.ros.graph import NodeGraph, NodeSpec\n'
        'graph = NodeGraph([NodeSpec("reject_node")], log_dir=Path(sys.argv[1]))\n'
        'graph.__enter__()\n'
        'print(graph.process("/reject_node").pid, flush=True)\n'
        'time.sleep(600)\n'
    )
    starter = subprocess.Popen(
        [sys.executable, '-c', code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=ros_environment(domain_id=domain_id),
    )
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    end = time.monotonic() + 60
    while time.monotonic() < end and is_alive(pid):
        time.sleep(0.05)
    assert not is_alive(pid)


def is_alive(pid):
    """Whether a process runs (a zombie that nobody waits for does not)."""
    try:
        os.kill(pid, 0)
        with open(f'/proc/{pid}/stat') as stream:
            return stream.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except (ProcessLookupError, FileNotFoundError):
        return False


def children_of(pid):
    """Processes that a process has started."""
    found = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text().rsplit(')', 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def test_ctrl_c_ends_the_whole_graph(tmp_path, domain_id):
    """`pad up` with five nodes, of which the viewer ends at first.

    Two Ctrl-C as a terminal sends them: exit code 0, nothing left.
    """
    inspection = {'bundle': str(write_bundle(tmp_path / 'bundle'))}
    taken = socket.create_server(('127.0.0.1', 0))
    sections = {
        'inspection_node_1': {**inspection, 'cameras': ['left']},
        'inspection_node_2': {**inspection, 'cameras': ['right']},
        'reject_node': {'cameras': ['left', 'right']},
        'viewer_node': {'cameras': ['left', 'right'], 'port': taken.getsockname()[1]},
        'replay_node': {'class_dir': str(write_dataset(tmp_path)), 'startup_timeout': 600.0},
    }
    file = tmp_path / 'nodes.yaml'
    content = {f'/**/{name}': {'ros__parameters': values} for name, values in sections.items()}
    file.write_text(yaml.safe_dump(content))
    command = [sys.executable, '-m', 'helpers.small_pad', 'up', '--config', str(file)]
    command += ['--log-dir', str(tmp_path / 'log'), '--domain-id', str(domain_id)]
    pad = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ros_environment(),
        start_new_session=True,
    )
    lines = []

    def read_until(condition):
        while not condition(''.join(lines)):
            lines.append(pad.stdout.readline())
            assert lines[-1], f'pad up ended by itself: {lines}'

    try:
        # the viewer cannot start; the others do without it until it can
        read_until(lambda text: text.count('active: model') == 2 and 'started again' in text)
        taken.close()
        read_until(lambda text: 'open http' in text)
        nodes = children_of(pad.pid)
        assert len(nodes) == len(sections)
        for _ in range(2):
            os.killpg(pad.pid, signal.SIGINT)
        output, _ = pad.communicate(timeout=120)
    finally:
        pad.kill()
    assert pad.returncode == 0, output
    assert 'Traceback' not in output
    assert not any(is_alive(pid) for pid in nodes)


def test_sections_of_a_file_are_nodes(tmp_path):
    path = tmp_path / 'nodes.yaml'
    path.write_text(
        '/line_1/reject_node:\n  ros__parameters: {object_timeout: 2}\n'
        f'/**/replay_node:\n  ros__parameters: {{bag: {tmp_path}}}\n'
        '/**/reject_node_2:\n  ros__parameters: {object_timeout: 2}\n'
    )
    first, second, third = specs_of_file(path)
    assert (first.name, first.namespace) == ('/line_1/reject_node', '/line_1')
    assert first.parameters == {'object_timeout': 2}
    assert second.name == '/replay_node'
    assert (third.name, third.kind) == ('/reject_node_2', 'reject_node')


def test_environment_keeps_what_is_set(monkeypatch):
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
    env = ros_environment(domain_id=7)
    assert env['FASTDDS_BUILTIN_TRANSPORTS'] == 'UDPv4' and env['ROS_DOMAIN_ID'] == '7'
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
