"""ROS parameters of the nodes: made from config dataclasses, with ranges and documentation.

    python -m pad_inspection.ros.parameters --table    # the parameter tables of docs/ros2.md
    python -m pad_inspection.ros.parameters --yaml inspection_node reject_node

A node has the parameters of its own dataclass in node_configs.py; inspection_node also has all of
InspectionConfig, reject_node those of DecisionConfig, under their dotted names
(``decision.margin``). An option of the inspection that is not set stays as the model bundle was
calibrated with. Unknown parameter names and values out of range are errors.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from pad_inspection.checked_options import flatten, options_table, unflatten
from pad_inspection.config import DecisionConfig, InspectionConfig, from_dict
from pad_inspection.ros.belt_layout import BeltOptions
from pad_inspection.ros.node_configs import (
    InspectionNodeConfig,
    LineControllerNodeConfig,
    RejectNodeConfig,
    ReplayNodeConfig,
    ViewerNodeConfig,
)

# Own options of each node and the core options that it also takes: (dataclass, prefix).
NODES: dict[str, tuple[type, tuple[tuple[type, str], ...]]] = {
    'inspection_node': (InspectionNodeConfig, ((InspectionConfig, ''),)),
    'reject_node': (RejectNodeConfig, ((DecisionConfig, 'decision.'),)),
    'line_controller_node': (LineControllerNodeConfig, ()),
    'replay_node': (ReplayNodeConfig, ()),
    'viewer_node': (ViewerNodeConfig, ()),
}


def node_options(kind: str) -> list[tuple[str, Any, dict]]:
    """(name, default, metadata) of every parameter of a node.

    Args:
        kind: one of NODES.
    """
    own, shared = NODES[kind]
    rows = flatten(own())
    for config_class, prefix in shared:
        rows += flatten(config_class(), prefix)
    return rows


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
    # YAML has "2" where 2.0 is meant, and an empty list without a type
    descriptor.dynamic_typing = isinstance(value, (float, tuple))
    return descriptor


def declare(node, kind: str) -> None:
    """Declare all parameters of a node; values are checked by read_own and read_inspection.

    Raises:
        ValueError: a parameter was given that the node does not have, or with a wrong type.
    """
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    rows = node_options(kind)
    for name, value, meta in rows:
        try:
            node.declare_parameter(name, _ros_value(value), _descriptor(value, meta))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ValueError(f'parameter {name}: {error} ({meta.get("doc", "")})') from error
    unknown = sorted(set(_overrides(node)) - {row[0] for row in rows} - {'use_sim_time'})
    unknown = [name for name in unknown if not name.startswith('qos_overrides.')]
    if unknown:
        raise ValueError(
            f'unknown parameter(s) {unknown} of {kind}, wanted some of {[row[0] for row in rows]}'
        )


def _overrides(node) -> dict[str, Any]:
    """Parameters that were given on the command line or in a file."""
    # rclpy has no public access to the names that were given but not declared
    return getattr(node, '_parameter_overrides', {})


def _from_ros(value, default):
    """Value for the dataclass."""
    if isinstance(default, tuple):
        # ROS has no empty list without a type: [''] stands for it
        return tuple(str(item) for item in (value or ()) if item != '')
    return value


def read_own(node, kind: str):
    """The node's own configuration from its parameters.

    Raises:
        ValueError: a value is out of range.
    """
    own = NODES[kind][0]
    values = {f.name: _from_ros(node.get_parameter(f.name).value, f.default) for f in fields(own)}
    return from_dict(own, values)


def read_inspection(node) -> dict[str, Any]:
    """The options of the inspection that were set, nested as for config.from_dict.

    Raises:
        ValueError: a value is out of range.
    """
    given = _overrides(node)
    values = {}
    for name, default, _ in flatten(InspectionConfig()):
        value = node.get_parameter(name).value
        if name in given or value != default:
            values[name] = value
    nested = unflatten(values)
    from_dict(InspectionConfig, nested)
    return nested


def read_decision(node) -> DecisionConfig:
    """The decision rules from the parameters ``decision.*``.

    Raises:
        ValueError: a value is out of range.
    """
    prefix = 'decision.'
    return from_dict(
        DecisionConfig,
        {
            name.removeprefix(prefix): node.get_parameter(name).value
            for name, _, _ in flatten(DecisionConfig(), prefix)
        },
    )


def _flat(values: dict, prefix: str = '') -> dict[str, Any]:
    """Dotted names of nested mappings, as ROS reads them."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f'{prefix}{name}.')
        else:
            flat[f'{prefix}{name}'] = value
    return flat


def read_parameter_file(path: Path) -> dict[str, dict[str, Any]]:
    """Read a ROS parameter file: full node name -> its parameters by dotted name.

    Values are checked against the dataclasses, so that a mistake is told before nodes start.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not in the format of ROS, an unknown node or parameter, a bad value.
    """
    import yaml

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'parameter file {path} does not exist')
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f'{path} is not YAML: {error}') from error
    if not isinstance(content, dict) or not content:
        raise ValueError(f'{path} holds no nodes, wanted <node>: ros__parameters: ...')
    found = {}
    for name, section in content.items():
        parameters = section.get('ros__parameters') if isinstance(section, dict) else None
        kind = kind_of(str(name).rsplit('/', 1)[-1])
        if not isinstance(parameters, dict) or not kind:
            raise ValueError(
                f'{path}: section {name!r}, wanted one of {sorted(NODES)} with ros__parameters'
            )
        found[str(name)] = check_values(kind, _flat(parameters), str(path))
    return found


def check_values(kind: str, values: dict[str, Any], where: str = 'parameters') -> dict[str, Any]:
    """Check parameters (dotted names) of a node; returns them.

    Raises:
        ValueError: an unknown name or a bad value; the message starts with ``where``.
    """
    own, shared = NODES[kind]
    defaults = dict((name, value) for name, value, _ in node_options(kind))
    unknown = sorted(set(values) - set(defaults) - {'use_sim_time'})
    if unknown:
        raise ValueError(f'{where}: unknown parameter(s) {unknown} of {kind}')
    own_names = {f.name for f in fields(own)}
    mine = {n: _from_ros(v, defaults[n]) for n, v in values.items() if n in own_names}
    try:
        from_dict(own, mine)
        for config_class, prefix in shared:
            names = {name for name, _, _ in flatten(config_class(), prefix)}
            given = {n.removeprefix(prefix): v for n, v in values.items() if n in names}
            from_dict(config_class, unflatten(given))
    except ValueError as error:
        raise ValueError(f'{where}: {kind}: {error}') from error
    return values


def parameter_file_text(kind: str, values: dict[str, Any] | None = None) -> str:
    """ROS parameter file of a node with documentation.

    Options of the inspection stay commented out unless given: the bundle knows its own.
    """
    values = values or {}
    own_names = {f.name for f in fields(NODES[kind][0])}
    # the wildcard makes the file fit in any namespace
    lines = [f'/**/{kind}:', '  ros__parameters:']
    for name, default, meta in node_options(kind):
        notes = meta.get('doc', '')
        if meta.get('unit'):
            notes += f' [{meta["unit"]}]'
        if meta.get('choices'):
            notes += f' ({" | ".join(map(str, meta["choices"]))})'
        elif meta.get('low') is not None or meta.get('high') is not None:
            low = '' if meta.get('low') is None else f'{meta["low"]:g}'
            high = '' if meta.get('high') is None else f'{meta["high"]:g}'
            notes += f' ({low} .. {high})'
        off = '' if name in own_names or name in values else '# '
        lines += [f'    # {notes}', f'    {off}{name}: {_yaml(values.get(name, default))}']
    return '\n'.join(lines) + '\n'


def _yaml(value) -> str:
    """Value as YAML 1.1 that ROS reads with the right type."""
    import json

    if isinstance(value, float):
        text = f'{value!r}'
        # "1e-05" is a string in YAML 1.1
        return text if '.' in text else text.replace('e', '.0e')
    if isinstance(value, (tuple, list)):
        # an empty list has no type in ROS
        return json.dumps(list(value) or [''])
    return json.dumps(value)


def tables() -> str:
    """Markdown tables of the nodes' own parameters."""
    parts = []
    for kind, (own, shared) in NODES.items():
        parts += [f'### {kind}', '', options_table(own), '']
        for config_class, prefix in shared:
            name = f'`{prefix}*`' if prefix else 'all options of the inspection'
            parts += [f'and {name}: {config_class.__name__} in config.py.', '']
    parts += ['### The file of `belt_layout`', '', options_table(BeltOptions), '']
    parts += ['and `cameras`: name -> `position` (m), `window` (m), `conveyor_from_camera`.', '']
    return '\n'.join(parts)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--table', action='store_true', help='Markdown tables of all parameters')
    what.add_argument('--yaml', choices=sorted(NODES), nargs='+', help='parameter file for nodes')
    arguments = parser.parse_args()
    if arguments.table:
        print(tables(), end='')
    else:
        print('\n'.join(parameter_file_text(kind) for kind in arguments.yaml), end='')


if __name__ == '__main__':
    main()
