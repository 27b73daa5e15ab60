"""Starts and stops nodes as processes without ros2launch: `pad up` and the demo.

Each node gets its own process group and a log file; it is reported with its last log lines when it
dies, and ends itself when this process is gone.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pad_inspection.ros import parameters
from pad_inspection.ros.dds_environment import dds_environment
from pad_inspection.ros.runner import PARENT_VARIABLE, STOP_SIGNALS
from pad_inspection.text_safety import printable

logger = logging.getLogger(__name__)

_PROGRAMS = {kind: ('-m', f'pad_inspection.ros.{kind}') for kind in parameters.NODES}
# On stopping: time for SIGINT, then for SIGTERM, before a process is killed, s.
_INTERRUPT_S, _TERMINATE_S = 40.0, 5.0
_LOG_LINES = 12
# Characters of a line of a node that are shown; its log file has all.
_LINE_LENGTH = 4000
# The line does not need them: when they die they are started again, after these times at most, s.
_EXPENDABLE = ('viewer_node',)
_FIRST_RESTART_S, _LAST_RESTART_S = 1.0, 60.0


class NodeDiedError(RuntimeError):
    """A node ended by itself; the message holds its last log lines."""


@dataclass(frozen=True)
class NodeSpec:
    """One node to start.

    Attributes:
        kind: one of parameters.NODES.
        parameters: by dotted name.
        namespace: '' or '/line_1'.
        node_name: where several of a kind share a namespace, e.g. 'inspection_node_2'.
    """

    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    namespace: str = ''
    node_name: str = ''

    @property
    def name(self) -> str:
        """Full node name."""
        return f'{self.namespace}/{self.node_name or self.kind}'


def ros_environment(
    *, domain_id: int | None = None, log_dir: Path | None = None
) -> dict[str, str]:
    """Environment for nodes on one machine; what is set already is kept.

    Args:
        domain_id: ROS_DOMAIN_ID, None = as it is.
        log_dir: ROS_LOG_DIR, None = as it is.
    """
    env = os.environ | dds_environment()
    env['PYTHONUNBUFFERED'] = '1'
    if domain_id is not None:
        env['ROS_DOMAIN_ID'] = str(domain_id)
    if log_dir is not None:
        env['ROS_LOG_DIR'] = str(log_dir)
    # nodes import what this process imports, also where the package is not installed
    env['PYTHONPATH'] = os.pathsep.join(p for p in sys.path if p and Path(p).is_dir())
    return env


def require_ros() -> None:
    """Look whether nodes can run here.

    Raises:
        FileNotFoundError: rclpy or pad_msgs is missing; says how to get it.
    """
    try:
        import rclpy  # noqa: F401

        # with src on the path an unbuilt pad_msgs is an empty package
        from pad_msgs.msg import RejectSignal  # noqa: F401
    except ImportError as error:
        raise FileNotFoundError(
            f'the nodes cannot run: {error}; get ROS 2 and pad_msgs with: make setup, or source '
            'your ROS 2 installation (docs/ros2.md)'
        ) from error


class NodeGraph:
    """Nodes as processes; use as a context."""

    def __init__(
        self,
        specs: Sequence[NodeSpec],
        *,
        log_dir: Path,
        domain_id: int | None = None,
        env: Mapping[str, str] | None = None,
        programs: Mapping[str, Sequence[str]] | None = None,
    ):
        """Prepare; nothing is started yet.

        Args:
            specs: nodes.
            log_dir: a folder for their parameter files and logs; made when missing.
            domain_id: ROS_DOMAIN_ID, None = as in the environment.
            env: more variables.
            programs: what Python runs for a kind of node instead of its own module, e.g.
                {'inspection_node': ('-m', 'my.node')}.
        """
        self._specs = list(specs)
        self._log_dir = Path(log_dir)
        self._env = ros_environment(domain_id=domain_id, log_dir=self._log_dir) | dict(env or {})
        self._env[PARENT_VARIABLE] = str(os.getpid())
        self._programs = _PROGRAMS | dict(programs or {})
        self._processes: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> NodeGraph:
        try:
            for spec in self._specs:
                self.start(spec)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self, spec: NodeSpec, program: Sequence[str] = ()) -> subprocess.Popen:
        """Start one more node.

        Args:
            spec: the node.
            program: what Python runs instead of that of its kind.

        Raises:
            ValueError: a bad parameter, or the node runs already.
        """
        if spec.name in self._processes and self._processes[spec.name].poll() is None:
            raise ValueError(f'{spec.name} runs already')
        self._log_dir.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r'\W+', '_', spec.name).strip('_')
        parameter_file = self._log_dir / f'{stem}.yaml'
        write_parameters(parameter_file, spec)
        command = [sys.executable, *(program or self._programs[spec.kind]), '--ros-args']
        command += ['--params-file', str(parameter_file)]
        if spec.namespace:
            command += ['-r', f'__ns:={spec.namespace}']
        if spec.node_name:
            command += ['-r', f'__node:={spec.node_name}']
        if self._env.get('ROS_SECURITY_ENABLE', '').lower() == 'true':
            # keys and permissions of its own (docs/security.md)
            command += ['--enclave', spec.name]
        with open(self._log_path(spec.name), 'ab') as log:
            # a node that is told to end while it still imports does so once it can do it cleanly
            before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            try:
                # noted at once: a signal that came meanwhile is delivered when it is let in again
                process = self._processes[spec.name] = subprocess.Popen(
                    command,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return process

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the nodes."""
        return dict(self._env)

    @property
    def names(self) -> list[str]:
        """Full names of the nodes that were started."""
        return list(self._processes)

    def process(self, name: str) -> subprocess.Popen:
        """Process of a node by its full name."""
        return self._processes[name]

    def check(self) -> None:
        """Look whether all nodes run.

        Raises:
            NodeDiedError: one ended; the message says which and why.
        """
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None:
                raise NodeDiedError(
                    f'{name} ended with exit code {code}; its last lines '
                    f'({self._log_path(name)}):\n{self.log_tail(name)}'
                )

    def wait_until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait for a condition while all nodes run.

        Args:
            condition: may itself wait a little, e.g. by spinning a node.
            timeout: s.
            what: of the condition, for the error.

        Raises:
            NodeDiedError: a node ended.
            TimeoutError: it did not become true.
        """
        end = time.monotonic() + timeout
        while not condition():
            self.check()
            if time.monotonic() > end:
                raise TimeoutError(f'{what}: not within {timeout:g} s')

    def log_tail(self, name: str) -> str:
        """Last lines of a node's output."""
        path = self._log_path(name)
        text = path.read_text(errors='replace') if path.is_file() else ''
        lines = text.splitlines()[-_LOG_LINES:]
        return '\n'.join(f'  {printable(line, _LINE_LENGTH)}' for line in lines)

    def stop(self) -> dict[str, int]:
        """End all nodes: SIGINT, then SIGTERM, then SIGKILL; a second Ctrl-C changes nothing.

        Returns:
            Exit code of each node.
        """
        with _ignoring_interrupts():
            return self._stop()

    def _stop(self) -> dict[str, int]:
        """See stop."""
        running = [p for p in self._processes.values() if p.poll() is None]
        for number, patience in (
            (signal.SIGINT, _INTERRUPT_S),
            (signal.SIGTERM, _TERMINATE_S),
            (signal.SIGKILL, _TERMINATE_S),
        ):
            for process in running:
                _signal_group(process, number)
            end = time.monotonic() + patience
            for process in running:
                try:
                    process.wait(max(0.0, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    logger.warning('process %d did not end on signal %d', process.pid, number)
                    if number == signal.SIGTERM:
                        # before it is killed it writes into its log where each thread stands
                        process.send_signal(signal.SIGUSR1)
            running = [p for p in running if p.poll() is None]
            if not running:
                break
        return {name: process.returncode for name, process in self._processes.items()}

    def _log_path(self, name: str) -> Path:
        return self._log_dir / f'{re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")}.log'


@contextmanager
def _ignoring_interrupts():
    """Ignore Ctrl-C meanwhile; only the main thread may change that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _signal_group(process: subprocess.Popen, number: int) -> None:
    """Send a signal to a process and its children."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def write_parameters(path: Path, spec: NodeSpec) -> None:
    """Write a node's parameters as a ROS parameter file.

    Raises:
        ValueError: an unknown name or a bad value.
    """
    import yaml

    values = {
        name: (list(value) or ['']) if isinstance(value, (tuple, list)) else value
        for name, value in spec.parameters.items()
    }
    parameters.check_values(spec.kind, values, spec.name)
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': values}}, sort_keys=False))


def specs_of_file(path: Path) -> list[NodeSpec]:
    """Nodes of a parameter file: one for each section.

    Raises:
        FileNotFoundError, ValueError: see parameters.read_parameter_file; a node has two
            sections, or lacks a parameter that it cannot start without.
    """
    specs: list[NodeSpec] = []
    for name, values in parameters.read_parameter_file(path).items():
        namespace, _, node_name = name.rpartition('/')
        kind = parameters.kind_of(node_name)
        # a wildcard means any namespace: here none
        namespace = namespace.replace('**', '').strip('/')
        namespace = f'/{namespace}' if namespace else ''
        parameters.check_start(kind, values, f'{path}: {name}')
        spec = NodeSpec(kind, values, namespace, '' if node_name == kind else node_name)
        if any(spec.name == other.name for other in specs):
            raise ValueError(f'{path}: section {name!r} is node {spec.name} a second time')
        specs.append(spec)
    return specs


def run_up(
    config_path: Path,
    *,
    log_dir: Path | None = None,
    domain_id: int | None = None,
    programs: Mapping[str, Sequence[str]] | None = None,
) -> int:
    """`pad up`: start the nodes of a parameter file and watch them until Ctrl-C.

    Args:
        config_path: ROS parameter file; each of its sections is a node that is started.
        log_dir: for the nodes' output; None = a temporary folder.
        domain_id: ROS_DOMAIN_ID, None = as in the environment.
        programs: see NodeGraph.

    A viewer_node that dies is told and started again: nobody's look at a line ends it.

    Returns:
        0 after Ctrl-C, or when all nodes ended with 0; 1 when a node died.

    Raises:
        FileNotFoundError, ValueError: the file is missing or wrong, or ROS 2 is not there.
    """
    specs = specs_of_file(config_path)
    require_ros()
    folder = Path(log_dir or tempfile.mkdtemp(prefix='pad_up_'))
    graph = NodeGraph(specs, log_dir=folder, domain_id=domain_id, programs=programs)
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: stop.append(received))
    print(f'starting {", ".join(spec.name for spec in specs)}; logs in {folder}', flush=True)
    shown: dict[str, int] = {}
    code = 0
    needed = [spec for spec in specs if spec.kind not in _EXPENDABLE] or specs
    restarts = [_Restart(spec) for spec in specs if spec not in needed]
    with graph:
        while not stop:
            _show_new_lines(graph, specs, shown)
            codes = [graph.process(spec.name).poll() for spec in needed]
            if all(ended == 0 for ended in codes):
                print('all nodes are done')
                break
            if any(ended for ended in codes):
                code = 1
                break
            for restart in restarts:
                restart.look(graph)
            time.sleep(0.2)
    _show_new_lines(graph, specs, shown)
    failed = {s.name: graph.process(s.name).returncode for s in needed}
    for name, ended in failed.items():
        if ended:
            print(f'{name} ended with exit code {ended}', file=sys.stderr)
            code = 1
    return code


class _Restart:
    """Starts a node again whenever it has ended, later each time."""

    def __init__(self, spec: NodeSpec):
        self._spec = spec
        self._wait_s = _FIRST_RESTART_S
        self._due: float | None = None

    def look(self, graph: NodeGraph) -> None:
        """Tell that it has ended, or start it again when it is time."""
        ended = graph.process(self._spec.name).poll()
        if ended is None:
            return
        if self._due is None:
            print(
                f'{self._spec.name} ended with exit code {ended}; the line goes on without it, it '
                f'is started again in {self._wait_s:g} s',
                file=sys.stderr,
                flush=True,
            )
            self._due = time.monotonic() + self._wait_s
            self._wait_s = min(2 * self._wait_s, _LAST_RESTART_S)
        elif time.monotonic() >= self._due:
            self._due = None
            try:
                graph.start(self._spec)
            except OSError as error:  # a full disk; it counts as ended once more
                print(f'{self._spec.name} cannot be started: {error}', file=sys.stderr, flush=True)


def _show_new_lines(graph: NodeGraph, specs: Sequence[NodeSpec], shown: dict[str, int]) -> None:
    """Print what the nodes wrote since the last call."""
    for spec in specs:
        path = graph._log_path(spec.name)
        data = path.read_bytes() if path.is_file() else b''
        end = data.rfind(b'\n') + 1
        for line in data[shown.get(spec.name, 0) : end].decode(errors='replace').splitlines():
            print(f'[{spec.name}] {printable(line, _LINE_LENGTH)}', flush=True)
        shown[spec.name] = end
