"""Parameter files and tables of the nodes with all their parameters, for people.

python -m pad_inspection.ros.parameter_docs --table    # the parameter tables of docs/ros2.md
python -m pad_inspection.ros.parameter_docs --yaml inspection_node reject_node
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from pad_inspection.checked_options import options_table
from pad_inspection.ros import parameters
from pad_inspection.ros.belt_layout import BeltOptions


def parameter_file_text(kind: str, values: dict[str, Any] | None = None) -> str:
    """ROS parameter file of a node with documentation.

    Options of the inspection stay commented out unless given: the bundle knows its own.
    """
    values = values or {}
    own_names = {f.name for f in fields(parameters.NODES[kind].own)}
    # the wildcard makes the file fit in any namespace
    lines = [f'/**/{kind}:', '  ros__parameters:']
    for name, default, meta in parameters.node_options(kind):
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
    for kind, node in parameters.NODES.items():
        parts += [f'### {kind}', '', options_table(node.own), '']
        if node.core is not None:
            core = [f'`{name}`' for name, _, _ in parameters.core_options(kind)]
            rules = [name for name in core if name.startswith('`decision.')]
            text = f'and of {node.core.__name__} in config.py '
            text += (
                ', '.join(rules)
                if rules == core
                else ('all but those of `decision`, of which it has ' + ', '.join(rules))
            )
            parts += [f'{text}.', '']
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
    what.add_argument(
        '--yaml', choices=sorted(parameters.NODES), nargs='+', help='parameter file for nodes'
    )
    arguments = parser.parse_args()
    if arguments.table:
        print(tables(), end='')
    else:
        print('\n'.join(parameter_file_text(kind) for kind in arguments.yaml), end='')


if __name__ == '__main__':
    main()
