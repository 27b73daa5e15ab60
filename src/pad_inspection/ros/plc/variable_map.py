"""The YAML file that says where in the line controller each value lives.

    protocol: modbus                  # or opcua
    endpoint: tcp://192.168.0.10:502  # or opc.tcp://192.168.0.10:4840
    variables:
      sequence: {table: holding, address: 2, type: uint32}   # Modbus
      sequence: {node: "ns=2;s=Pad.Sequence", type: uint32}  # OPC UA

Names, directions and types are those of ``VARIABLES``; docs/plc.md explains what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pad_inspection.yaml_files import read_yaml

# Name -> (written by us, allowed types, must be there, what it is).
VARIABLES: dict[str, tuple[bool, tuple[str, ...], bool, str]] = {
    'heartbeat': (True, ('uint16',), True, 'changes with every beat'),
    'ready': (True, ('bool', 'uint16'), True, 'verdicts can be trusted to come'),
    'stop_request': (True, ('bool', 'uint16'), False, 'the line should stop'),
    'object_id': (True, ('string',), False, 'which piece'),
    'reject': (True, ('bool', 'uint16'), True, 'what the gate should do'),
    'verdict': (True, ('uint16',), False, '0 undetermined, 1 pass, 2 reject'),
    'reason': (True, ('uint16',), False, 'REASON_* of pad_msgs/InspectionResult'),
    'score': (
        True,
        ('float32',),
        False,
        'score of the piece from its views, over their thresholds; NaN without any',
    ),
    'num_views': (True, ('uint16',), False, 'images that were expected'),
    'num_judged': (True, ('uint16',), False, 'images that gave a pass or a reject'),
    'sequence': (True, ('uint32',), True, 'number of this verdict; written last'),
    'acknowledge': (False, ('uint32',), True, 'the last sequence that the controller took'),
    'controller_heartbeat': (False, ('uint16',), False, 'changes while the controller runs'),
    'reset_stop': (False, ('bool', 'uint16'), False, 'rising edge: the line may run again'),
}
_TABLES = {'holding': True, 'coil': True, 'input': False, 'discrete': False}
_PROTOCOLS = {
    'modbus': ('tcp', 502, ('device_id', 'word_order')),
    'opcua': ('opc.tcp', 4840, ('user', 'password_file', 'security')),
}
_REGISTERS = {'uint16': 1, 'uint32': 2, 'float32': 2, 'bool': 1}
_MAX_STRING = 60
# Longest object_id that is handed over, bytes, where the map sets no length.
_MAX_ID_BYTES = 255
_DEVICE_IDS = range(256)


@dataclass(frozen=True)
class Variable:
    """One value in the line controller.

    Attributes:
        name: key of VARIABLES.
        kind: 'bool', 'uint16', 'uint32', 'float32' or 'string'.
        table: Modbus: 'holding', 'coil', 'input' or 'discrete'; '' for OPC UA.
        address: Modbus: first address, from 0.
        length: Modbus: registers or bits that it takes.
        node: OPC UA: node id, with its namespace as index (ns=) or URI (nsu=); '' for Modbus.
    """

    name: str
    kind: str
    table: str = ''
    address: int = 0
    length: int = 1
    node: str = ''


@dataclass(frozen=True)
class VariableMap:
    """What a map file says.

    Attributes:
        protocol: 'modbus' or 'opcua'.
        endpoint: address with port.
        variables: by name.
        device_id, word_order: Modbus; word_order 'big' has the high word first.
        user, password_file, security: OPC UA; see opcua_access.
    """

    protocol: str
    endpoint: str
    variables: dict[str, Variable]
    device_id: int = 1
    word_order: str = 'big'
    user: str = ''
    password_file: str = ''
    security: str = ''

    @property
    def written(self) -> list[str]:
        """Names that we write."""
        return [name for name in self.variables if VARIABLES[name][0]]

    @property
    def read(self) -> list[str]:
        """Names that we read."""
        return [name for name in self.variables if not VARIABLES[name][0]]

    @property
    def id_bytes(self) -> int:
        """Longest object_id that is handed over, bytes of UTF-8."""
        place = self.variables.get('object_id')
        if place is None or not place.table:
            return _MAX_ID_BYTES
        return 2 * place.length


def read_map(path: Path, endpoint: str = '') -> VariableMap:
    """Read and check a map file.

    Args:
        path: YAML file.
        endpoint: replaces that of the file unless empty.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what is wrong in it and what was wanted; starts with the path.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'map_file {str(path)!r} does not exist')
    try:
        return _parse(read_yaml(path), endpoint)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def _parse(content: Any, endpoint: str) -> VariableMap:
    """See read_map."""
    if not isinstance(content, dict):
        raise ValueError('wanted a mapping with protocol, endpoint and variables')
    protocol = content.get('protocol')
    if protocol not in _PROTOCOLS:
        raise ValueError(f'protocol is {protocol!r}, wanted one of {sorted(_PROTOCOLS)}')
    scheme, port, options = _PROTOCOLS[protocol]
    known = {'protocol', 'endpoint', 'variables', *options}
    if set(content) - known:
        raise ValueError(f'unknown key(s) {sorted(set(content) - known)}, wanted {sorted(known)}')
    address = endpoint or content.get('endpoint', '')
    if isinstance(address, str) and '@' in urlsplit(address).netloc:
        # the address is logged
        raise ValueError('endpoint holds a user or a password, wanted user and password_file')
    if not isinstance(address, str) or urlsplit(address).scheme != scheme:
        raise ValueError(f'endpoint is {address!r}, wanted {scheme}://<host>:{port}')
    given = content.get('variables')
    if not isinstance(given, dict):
        raise ValueError('variables is missing, wanted a mapping of names to places')
    if set(given) - set(VARIABLES):
        raise ValueError(
            f'unknown variable(s) {sorted(set(given) - set(VARIABLES))}, wanted some of '
            f'{list(VARIABLES)}'
        )
    needed = [name for name, (_, _, is_needed, _) in VARIABLES.items() if is_needed]
    missing = [name for name in needed if name not in given]
    if missing:
        raise ValueError(f'variable(s) {missing} are missing')
    variable = _modbus_variable if protocol == 'modbus' else _opcua_variable
    variables = {name: variable(name, given[name]) for name in VARIABLES if name in given}
    _check_overlap(variables)
    values = {name: content[name] for name in options if name in content}
    for name, value in values.items():
        if name == 'device_id':
            # True is an int
            if type(value) is not int or value not in _DEVICE_IDS:
                raise ValueError(f'device_id is {value!r}, wanted a whole number from 0 to 255')
        elif not isinstance(value, str):
            raise ValueError(f'{name} is {value!r}, wanted a value of type str')
    if ('user' in values) != ('password_file' in values):
        raise ValueError('wanted user and password_file, or none of them')
    if values.get('word_order', 'big') not in ('big', 'little'):
        raise ValueError(f'word_order is {values["word_order"]!r}, wanted big or little')
    return VariableMap(protocol, address, variables, **values)


def _kind(name: str, place: Any, known: set[str]) -> str:
    """Checked type of a variable whose place has only ``known`` keys."""
    if not isinstance(place, dict) or set(place) - known:
        raise ValueError(f'{name} is {place!r}, wanted a mapping with {sorted(known)}')
    allowed = VARIABLES[name][1]
    kind = place.get('type', allowed[0])
    if kind not in allowed:
        raise ValueError(f'{name}: type is {kind!r}, wanted one of {list(allowed)}')
    return kind


def _modbus_variable(name: str, place: Any) -> Variable:
    """Variable in a Modbus table."""
    kind = _kind(name, place, {'table', 'address', 'type', 'length'})
    table, address = place.get('table'), place.get('address')
    allowed = [t for t, writable in _TABLES.items() if writable or not VARIABLES[name][0]]
    if table not in allowed:
        raise ValueError(f'{name}: table is {table!r}, wanted one of {allowed}')
    bits = table in ('coil', 'discrete')
    if bits:
        if 'bool' not in VARIABLES[name][1]:
            raise ValueError(f'{name}: a {table} holds a bool only, wanted a register table')
        kind = 'bool'
    length = _REGISTERS.get(kind, 0)
    if kind == 'string':
        length = place.get('length')
        if type(length) is not int or not 1 <= length <= _MAX_STRING:
            raise ValueError(f'{name}: length is {length!r}, wanted 1 to {_MAX_STRING} registers')
    elif 'length' in place:
        raise ValueError(f'{name}: only a string has a length')
    if type(address) is not int or not 0 <= address <= 65536 - length:
        raise ValueError(f'{name}: address is {address!r}, wanted 0 to {65536 - length}')
    return Variable(name, kind, table, address, length)


def _opcua_variable(name: str, place: Any) -> Variable:
    """Variable in an OPC UA address space."""
    kind = _kind(name, place, {'node', 'type'})
    node = place.get('node')
    if not isinstance(node, str) or '=' not in node:
        raise ValueError(f'{name}: node is {node!r}, wanted a node id like "ns=2;s=Pad.Reject"')
    return Variable(name, kind, node=node.strip())


def _check_overlap(variables: dict[str, Variable]) -> None:
    """Refuse two variables in one place."""
    owners: dict[tuple, str] = {}
    for variable in variables.values():
        offsets = range(variable.length if variable.table else 1)
        for place in ((variable.table, variable.node, variable.address + i) for i in offsets):
            if place in owners:
                where = variable.node or f'{variable.table} {place[2]}'
                raise ValueError(f'{variable.name} and {owners[place]} share {where}')
            owners[place] = variable.name
