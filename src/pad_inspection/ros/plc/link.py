"""What every protocol offers to the handover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pad_inspection.ros.plc.variable_map import VariableMap

Value = bool | int | float | str


class PlcError(ConnectionError):
    """The line controller did not answer, or refused; the message says what was asked."""


class PlcRefusedError(PlcError):
    """The line controller does not want this user or this certificate."""


class PlcLink(Protocol):
    """Connection to a line controller. Calls wait for the answer; not thread-safe."""

    def connect(self) -> None:
        """Connect anew. Raises PlcError."""

    def write(self, values: Mapping[str, Value]) -> None:
        """Write variables by name. Raises PlcError; then some may be written."""

    def read(self, names: Sequence[str]) -> dict[str, Value]:
        """Read variables by name. Raises PlcError."""

    def close(self) -> None:
        """Disconnect; never raises."""


def make_link(variable_map: VariableMap, timeout: float) -> PlcLink:
    """Link of a map's protocol; nothing is sent yet.

    Args:
        variable_map: what is where.
        timeout: of one request, s.

    Raises:
        FileNotFoundError: the protocol's package is not installed; says how to get it.
        ValueError: a bad endpoint.
    """
    try:
        if variable_map.protocol == 'modbus':
            from pad_inspection.ros.plc.modbus import ModbusLink

            return ModbusLink(variable_map, timeout)
        from pad_inspection.ros.plc.opcua import OpcUaLink

        return OpcUaLink(variable_map, timeout)
    except ImportError as error:
        raise FileNotFoundError(
            f'{error}: the protocol {variable_map.protocol!r} wants a package that is not '
            'installed, get it with: pip install -r requirements/plc.txt'
        ) from error
