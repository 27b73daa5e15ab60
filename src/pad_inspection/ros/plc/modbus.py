"""Modbus TCP by pymodbus: coils and holding registers, neighbours in one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from pad_inspection.ros.plc.link import PlcError, Value
from pad_inspection.ros.plc.variable_map import Variable, VariableMap

_TYPES = {
    'bool': ModbusTcpClient.DATATYPE.UINT16,
    'uint16': ModbusTcpClient.DATATYPE.UINT16,
    'uint32': ModbusTcpClient.DATATYPE.UINT32,
    'float32': ModbusTcpClient.DATATYPE.FLOAT32,
}


class ModbusLink:
    """See link.PlcLink."""

    def __init__(self, variable_map: VariableMap, timeout: float):
        """Prepare; see link.make_link."""
        url = urlsplit(variable_map.endpoint)
        if not url.hostname:
            raise ValueError(f'endpoint is {variable_map.endpoint!r}, wanted tcp://<host>:502')
        self._where = f'{url.hostname}:{url.port or 502}'
        self._map = variable_map
        # repeating is the handover's business: it knows what is still worth sending
        self._client = ModbusTcpClient(
            url.hostname, port=url.port or 502, timeout=timeout, retries=0
        )

    def connect(self) -> None:
        """See PlcLink."""
        self._client.close()
        try:
            connected = self._client.connect()
        except (OSError, ModbusException) as error:
            raise PlcError(f'no connection to {self._where}: {error}') from error
        if not connected:
            raise PlcError(f'no connection to {self._where}')

    def write(self, values: Mapping[str, Value]) -> None:
        """See PlcLink."""
        chosen = [self._map.variables[name] for name in values]
        for table, address, group in _runs(chosen):
            cells = [cell for v in group for cell in self._cells(v, values[v.name])]
            write = self._client.write_coils if table == 'coil' else self._client.write_registers
            self._ask(f'writing {table} {address}', write, address, cells)

    def read(self, names: Sequence[str]) -> dict[str, Value]:
        """See PlcLink."""
        client = self._client
        readers = {
            'holding': client.read_holding_registers,
            'input': client.read_input_registers,
            'coil': client.read_coils,
            'discrete': client.read_discrete_inputs,
        }
        found: dict[str, Value] = {}
        for table, address, group in _runs([self._map.variables[name] for name in names]):
            count = sum(variable.length for variable in group)
            text = f'reading {table} {address}'
            answer = self._ask(text, readers[table], address, count=count)
            cells = answer.bits if table in ('coil', 'discrete') else answer.registers
            for variable in group:
                begin = variable.address - address
                found[variable.name] = self._value(
                    variable, cells[begin : begin + variable.length]
                )
        return found

    def close(self) -> None:
        """See PlcLink."""
        self._client.close()

    def _ask(self, text: str, request, *arguments, **options):
        """Answer of the controller; PlcError when there is none or it refuses."""
        if not self._client.connected:
            # the client would connect anew by itself, and nobody would know what was lost
            raise PlcError(f'{self._where}: {text}: not connected')
        try:
            answer = request(*arguments, device_id=self._map.device_id, **options)
        except (OSError, ModbusException) as error:
            raise PlcError(f'{self._where}: {text}: {error}') from error
        if answer.isError():
            raise PlcError(f'{self._where}: {text} was refused: {answer}')
        return answer

    def _cells(self, variable: Variable, value: Value) -> list:
        """Bits or registers of a value."""
        if variable.table == 'coil':
            return [bool(value)]
        if variable.kind == 'string':
            # cut in the middle of a character at worst, filled with zeros
            data = str(value).encode()[: 2 * variable.length].ljust(2 * variable.length, b'\0')
            return [int.from_bytes(data[i : i + 2], 'big') for i in range(0, len(data), 2)]
        number = float(value) if variable.kind == 'float32' else int(value)
        return self._client.convert_to_registers(
            number, _TYPES[variable.kind], self._map.word_order
        )

    def _value(self, variable: Variable, cells: list) -> Value:
        """Value of bits or registers."""
        if variable.table in ('coil', 'discrete'):
            return bool(cells[0])
        return self._client.convert_from_registers(
            cells, _TYPES[variable.kind], self._map.word_order
        )


def _runs(variables: Sequence[Variable]) -> list[tuple[str, int, list[Variable]]]:
    """Variables that lie side by side: table, first address, the variables in order."""
    runs: list[tuple[str, int, list[Variable]]] = []
    for variable in sorted(variables, key=lambda v: (v.table, v.address)):
        if runs:
            table, begin, group = runs[-1]
            end = begin + sum(member.length for member in group)
            if table == variable.table and end == variable.address:
                group.append(variable)
                continue
        runs.append((variable.table, variable.address, [variable]))
    return runs
