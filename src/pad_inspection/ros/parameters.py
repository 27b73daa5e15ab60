"""ROS parameters of the nodes: made from config dataclasses, with ranges and documentation.

A node has the parameters of its own dataclass in node_configs.py and tool_node_configs.py;
inspection_node also has those options of InspectionConfig that it uses, reject_node those of
DecisionConfig, under their dotted names (``decision.margin``). An option of the inspection that is
not set stays as the model bundle was calibrated with.

Values are checked by the same code when a file is read, when a node starts and when a parameter is
set; what would have no effect is refused.
"""

from __future__ import annotations

import difflib
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from pad_inspection.checked_options import flatten, unflatten
from pad_inspection.config import DecisionConfig, InspectionConfig, from_dict
from pad_inspection.ros.node_configs import (
    InspectionNodeConfig,
    LineControllerNodeConfig,
    NodeOptions,
    RejectNodeConfig,
)
from pad_inspection.ros.tool_node_configs import ReplayNodeConfig, ViewerNodeConfig
from pad_inspection.text_safety import MAX_ID_LENGTH, printable

# Full name of a node in a file; ** stands for any namespace.
_SECTION = re.compile(r'/?(\*\*/|([A-Za-z]\w*/)*)[A-Za-z]\w*', re.ASCII)


@dataclass(frozen=True)
class NodeKind:
    """Which parameters a kind of node has.

    Attributes:
        own: config dataclass of the node alone.
        core: config dataclass of the core whose options it also takes; None = none.
        prefix: of the names of the options of ``core``.
        elsewhere: options of ``core`` that do nothing here -> what uses them.
        settable: parameters that can be set while the node is unconfigured; all others are fixed
            after the start.
        fixed_clock: ``use_sim_time`` is settled at the start as well.
    """

    own: type[NodeOptions]
    core: type | None = None
    prefix: str = ''
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    settable: frozenset[str] = frozenset()
    fixed_clock: bool = False


# Rules for a view, and those by which pad build takes thresholds; all others are for an object.
_VIEW_RULES = ('margin', 'min_inspected_fraction')
_BUILD_RULES = ('max_false_reject_rate',)


def _users_of_rules(node: str) -> dict[str, str]:
    """Decision rules that a node does not use, and what uses them."""
    users = {}
    for f in fields(DecisionConfig):
        user = 'inspection_node' if f.name in _VIEW_RULES else 'reject_node'
        users[f'decision.{f.name}'] = 'pad build' if f.name in _BUILD_RULES else user
    return {name: user for name, user in users.items() if user != node}


def _settable(*fixed: str) -> frozenset[str]:
    """Parameters of inspection_node that the next configure reads, so all but some."""
    rows = flatten(InspectionNodeConfig()) + flatten(InspectionConfig())
    return frozenset(name for name, _, _ in rows) - frozenset(fixed)


NODES: dict[str, NodeKind] = {
    'inspection_node': NodeKind(
        InspectionNodeConfig,
        InspectionConfig,
        elsewhere=_users_of_rules('inspection_node'),
        settable=_settable('autostart', 'diagnostics_period'),
    ),
    'reject_node': NodeKind(
        RejectNodeConfig,
        DecisionConfig,
        'decision.',
        elsewhere=_users_of_rules('reject_node'),
        fixed_clock=True,
    ),
    'line_controller_node': NodeKind(LineControllerNodeConfig),
    'replay_node': NodeKind(ReplayNodeConfig),
    'viewer_node': NodeKind(ViewerNodeConfig),
}

_LOG_PERIOD_S = 5.0
# Parameters that rclpy itself gives to every node.
_OF_RCLPY = ('use_sim_time', 'start_type_description_service')


def node_options(kind: str) -> list[tuple[str, Any, dict]]:
    """(name, default, metadata) of every parameter of a node.

    Args:
        kind: one of NODES.
    """
    return flatten(NODES[kind].own()) + core_options(kind)


def core_options(kind: str) -> list[tuple[str, Any, dict]]:
    """Those of the core alone."""
    node = NODES[kind]
    rows = [] if node.core is None else flatten(node.core(), node.prefix)
    return [row for row in rows if row[0] not in node.elsewhere]


def kind_of(node_name: str) -> str:
    """Kind of a node by its name, which may go on after it: inspection_node_2; '' = none."""
    fits = (k for k in NODES if node_name == k or node_name.startswith(f'{k}_'))
    return next(fits, '')


def _ros_value(value):
    """Value as ROS stores it."""
    return list(value) if isinstance(value, tuple) else value


def _descriptor(value, meta: dict):
    """ParameterDescriptor with documentation and range."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    text = meta.get('doc', '')
    if meta.get('unit'):
        text += f' [{meta["unit"]}]'
    descriptor = ParameterDescriptor(description=text)
    low, high = meta.get('low'), meta.get('high')
    if meta.get('choices'):
        descriptor.additional_constraints = f'one of {", ".join(map(str, meta["choices"]))}'
    elif isinstance(value, float) and (low is not None or high is not None):
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=-sys.float_info.max if low is None else float(low),
                to_value=sys.float_info.max if high is None else float(high),
            )
        ]
    elif type(value) is int and (low is not None or high is not None):
        descriptor.integer_range = [
            IntegerRange(
                from_value=-(2**62) if low is None else int(low),
                to_value=2**62 if high is None else int(high),
            )
        ]
    # types are checked here, with one text for files, start and run time
    descriptor.dynamic_typing = True
    return descriptor


def declare(node, kind: str, why_fixed: Callable[[], str] | None = None) -> None:
    """Declare all parameters of a node, check them, and answer whoever sets one later.

    Args:
        node: of rclpy.
        kind: one of NODES.
        why_fixed: why parameters cannot be set now, '' = they can; None = never can.

    Raises:
        ValueError, FileNotFoundError: see check_values.
    """
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    # rclpy has no public access to the names that were given but not declared
    _refuse_unknown(kind, node._parameter_overrides)
    core = {name for name, _, _ in core_options(kind)}
    for name, value, meta in node_options(kind):
        # what is not set stays as the bundle was calibrated, whatever that is
        start = None if name in core else _ros_value(value)
        try:
            node.declare_parameter(name, start, _descriptor(value, meta))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ValueError(f'parameter {name}: {error} ({meta.get("doc", "")})') from error
    check_values(kind, _values(node, kind), node.get_name())
    node.add_on_set_parameters_callback(partial(_on_set, node, kind, why_fixed))
    _guard_services(node, kind)


def _guard_services(node, kind: str) -> None:
    """Let rclpy's services refuse what it takes for an error of the node.

    A value of an unknown type would end the node, and an unknown name gets no reason.
    """
    from rcl_interfaces.msg import SetParametersResult
    from rcl_interfaces.srv import SetParameters, SetParametersAtomically
    from rclpy.parameter import Parameter

    def set_all(messages) -> SetParametersResult:
        try:
            _refuse_unknown(kind, [message.name for message in messages])
            changed = [Parameter.from_parameter_msg(message) for message in messages]
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return node.set_parameters_atomically(changed)

    def set_each(request, response):
        response.results = [set_all([message]) for message in request.parameters]
        return response

    def set_together(request, response):
        response.result = set_all(request.parameters)
        return response

    callbacks = {SetParameters: set_each, SetParametersAtomically: set_together}
    for service in node.services:
        service.callback = callbacks.get(service.srv_type, service.callback)


def _on_set(node, kind: str, why_fixed: Callable[[], str] | None, changed: list):
    """Refuse with the reason, or let it happen: SetParametersResult."""
    from rcl_interfaces.msg import SetParametersResult

    try:
        for parameter in changed:
            _refuse_fixed(NODES[kind], parameter, '' if why_fixed is None else why_fixed())
        new = {p.name: p.value for p in changed}
        check_values(kind, _values(node, kind) | new, node.get_name())
    except (ValueError, OSError) as error:
        node.get_logger().warning(
            f'parameter not set: {error}', throttle_duration_sec=_LOG_PERIOD_S
        )
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def _refuse_fixed(node: NodeKind, parameter, why: str) -> None:
    """Raise ValueError when a parameter cannot be set in this state of the node."""
    name = parameter.name
    if name == 'use_sim_time' and not node.fixed_clock:
        return
    if name not in node.settable:
        raise ValueError(f'{name} is fixed after start: restart the node')
    if why:
        raise ValueError(f'{name} cannot be set, {why}')
    if parameter.type_ == parameter.Type.NOT_SET:
        raise ValueError(f'{name} cannot be deleted: restart the node without it')


def _values(node, kind: str) -> dict[str, Any]:
    """Parameters of a node that have a value, as ROS stores them."""
    names = [name for name, _, _ in node_options(kind)]
    values = {name: node.get_parameter(name).value for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _from_ros(value, default):
    """Value for the dataclass; what has a wrong type stays, so that it is told."""
    if isinstance(default, tuple) and isinstance(value, (list, tuple)):
        # ROS has no empty list without a type: [''] stands for it
        return () if list(value) == [''] else tuple(value)
    return value


def _own(kind: str, values: Mapping[str, Any]) -> NodeOptions:
    """The node's own configuration of some of its parameters; raises ValueError."""
    own = NODES[kind].own
    return from_dict(
        own,
        {f.name: _from_ros(values[f.name], f.default) for f in fields(own) if f.name in values},
    )


def _core(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the core that are given, nested as for from_dict."""
    names = [name for name, _, _ in core_options(kind)]
    prefix = NODES[kind].prefix
    return unflatten({n.removeprefix(prefix): values[n] for n in names if n in values})


def read_own(node, kind: str):
    """The node's own configuration from its parameters, which declare has checked."""
    return _own(kind, _values(node, kind))


def read_inspection(node) -> dict[str, Any]:
    """The options of the inspection that were set, nested as for config.from_dict."""
    kind = 'inspection_node'
    return _core(kind, _values(node, kind))


def read_decision(node) -> DecisionConfig:
    """The decision rules from the parameters ``decision.*`` of reject_node."""
    kind = 'reject_node'
    return from_dict(DecisionConfig, _core(kind, _values(node, kind)))


def _flat(values: dict, prefix: str = '') -> dict[str, Any]:
    """Dotted names of nested mappings, as ROS reads them; ValueError for a name twice."""
    flat = {}
    for name, value in values.items():
        named = f'{prefix}{name}'
        new = _flat(value, f'{named}.') if isinstance(value, dict) else {named: value}
        twice = sorted(set(new) & set(flat))
        if twice:
            raise ValueError(f'parameter {twice[0]!r} is given twice')
        flat |= new
    return flat


def read_parameter_file(path: Path) -> dict[str, dict[str, Any]]:
    """Read a ROS parameter file: full node name -> its parameters by dotted name.

    Values are checked against the dataclasses, so that a mistake is told before nodes start.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not in the format of ROS, an unknown node or parameter, a bad value.
    """
    from pad_inspection.yaml_files import read_yaml

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'parameter file {path} does not exist')
    try:
        content = read_yaml(path)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    if not isinstance(content, dict) or not content:
        raise ValueError(f'{path} holds no nodes, wanted <node>: ros__parameters: ...')
    found = {}
    for name, section in content.items():
        parameters = section.get('ros__parameters') if isinstance(section, dict) else None
        kind = kind_of(str(name).rsplit('/', 1)[-1])
        if not isinstance(parameters, dict) or not kind or not _SECTION.fullmatch(str(name)):
            raise ValueError(
                f'{path}: section {name!r}, wanted one of {sorted(NODES)}, with or without a '
                'namespace (/line_1/reject_node, /**/reject_node_2), with ros__parameters'
            )
        try:
            values = _flat(parameters)
        except ValueError as error:
            raise ValueError(f'{path}: section {name!r}: {error}') from error
        found[str(name)] = check_values(kind, values, f'{path}: {name}')
    return found


def check_files_of(words: Sequence[str]) -> None:
    """Look for names that are given twice in the parameter files of a command line.

    ROS takes the last one in silence. Sections may be of nodes that are none of ours.

    Args:
        words: the command line of a node.

    Raises:
        ValueError: a name is given twice, or a file is not YAML.
        OSError: a file cannot be read.
    """
    from pad_inspection.yaml_files import read_yaml

    for word, path in itertools.pairwise(words):
        if word != '--params-file':
            continue
        try:
            content = read_yaml(Path(path))
            for section in content.values() if isinstance(content, dict) else ():
                _flat(section if isinstance(section, dict) else {})
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error


def check_values(kind: str, values: dict[str, Any], where: str = 'parameters') -> dict[str, Any]:
    """Check parameters (dotted names) of a node; returns them.

    Raises:
        ValueError: an unknown name, a bad value, or values that do not go together; the message
            starts with ``where``.
        FileNotFoundError: a file that is named does not exist.
    """
    try:
        _refuse_unknown(kind, values)
        sim_time = values.get('use_sim_time', False)
        if not isinstance(sim_time, bool):
            raise ValueError(f'use_sim_time is {sim_time!r}, wanted true or false')
        own, core_class = _own(kind, values), NODES[kind].core
        core = None if core_class is None else from_dict(core_class, _core(kind, values))
        if isinstance(own, RejectNodeConfig):
            own.check(core)
        else:
            own.check()
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{where}: {error}') from error
    return values


def check_start(kind: str, values: dict[str, Any], where: str) -> None:
    """Check that a node can start with its parameters: nothing that it needs is missing.

    Raises:
        ValueError: what is missing; the message starts with ``where``.
    """
    try:
        _own(kind, values).check_start()
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from error


def _refuse_unknown(kind: str, names: Iterable[str]) -> None:
    """Raise ValueError for a name that a node does not have, or does nothing with."""
    node = NODES[kind]
    known = [name for name, _, _ in node_options(kind)]
    for name in names:
        if name in known or name in _OF_RCLPY:
            continue
        if name in node.elsewhere:
            raise ValueError(
                f'{name} does nothing in {kind}: it belongs to {node.elsewhere[name]}'
            )
        if name.startswith('qos_overrides.'):
            raise ValueError(f'{name} does nothing: the QoS of {kind} is fixed (docs/ros2.md)')
        like = difflib.get_close_matches(name[:MAX_ID_LENGTH], known, 1, 0.75)
        hint = f', is it {like[0]!r}?' if like else ''
        raise ValueError(f'unknown parameter {printable(name)!r} of {kind}{hint}')
