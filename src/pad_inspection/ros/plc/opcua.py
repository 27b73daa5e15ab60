"""OPC UA by asyncua: all variables of one call in one request."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from asyncua import ua
from asyncua.crypto.uacrypto import CertProperties
from asyncua.sync import Client, ThreadLoop, ThreadLoopNotRunning

from pad_inspection.ros.plc.link import PlcError, PlcRefusedError, Value
from pad_inspection.ros.plc.opcua_access import read_password, read_security
from pad_inspection.ros.plc.variable_map import VariableMap

_TYPES = {
    'bool': (ua.VariantType.Boolean, bool),
    'uint16': (ua.VariantType.UInt16, int),
    'uint32': (ua.VariantType.UInt32, int),
    'float32': (ua.VariantType.Float, float),
    'string': (ua.VariantType.String, str),
}
_ERRORS = (
    OSError,
    TimeoutError,
    concurrent.futures.TimeoutError,
    concurrent.futures.CancelledError,
    ua.UaError,
    ThreadLoopNotRunning,
)
# What a server says to a user or a certificate that it does not want.
_REFUSALS = (
    ua.uaerrors.BadUserAccessDenied,
    ua.uaerrors.BadIdentityTokenInvalid,
    ua.uaerrors.BadIdentityTokenRejected,
    ua.uaerrors.BadSecurityChecksFailed,
    ua.uaerrors.BadCertificateInvalid,
    ua.uaerrors.BadCertificateTimeInvalid,
    ua.uaerrors.BadCertificateUntrusted,
    ua.uaerrors.BadCertificateUriInvalid,
    ua.uaerrors.BadCertificateUseNotAllowed,
)
# A node id whose namespace is named by its URI, which stays when the server counts anew.
_URI = 'nsu='
# Connecting takes several requests.
_CONNECT_REQUESTS = 8


class OpcUaLink:
    """See link.PlcLink."""

    def __init__(self, variable_map: VariableMap, timeout: float):
        """Prepare; see link.make_link."""
        self._map, self._timeout = variable_map, timeout
        self._loop: ThreadLoop | None = None
        self._client: Client | None = None
        self._nodes: dict[str, Any] = {}
        # of one request, or a wrong node id: both are mended in the file
        for variable in variable_map.variables.values():
            try:
                ua.NodeId.from_string(variable.node)
            except (ua.UaError, ValueError) as error:
                raise ValueError(f'{variable.name}: node {variable.node!r}: {error}') from error
        self._security = read_security(variable_map.security) if variable_map.security else None
        if variable_map.password_file:
            read_password(variable_map.password_file)

    def connect(self) -> None:
        """See PlcLink."""
        self.close()
        self._loop = ThreadLoop(timeout=_CONNECT_REQUESTS * self._timeout)
        self._loop.daemon = True
        self._loop.start()
        self._client = Client(self._map.endpoint, timeout=self._timeout, tloop=self._loop)
        # certificates, keys and odd servers: asyncua stumbles over them in many ways
        self._ask('connecting', self._connect, (Exception,))
        self._loop.timeout = 2 * self._timeout
        self._nodes = self._find_nodes()
        # a wrong node id is told now and by name
        for name in self._map.variables:
            self.read([name])

    def _find_nodes(self) -> dict[str, Any]:
        """Nodes by name; the server says which index the URI of a namespace has today."""
        nodes, known = {}, None
        for name, variable in self._map.variables.items():
            place = variable.node
            if place.startswith(_URI):
                uri, _, identifier = place.removeprefix(_URI).partition(';')
                if known is None:
                    known = self._ask('reading namespaces', self._client.get_namespace_array)
                uri = unquote(uri)
                if uri not in known:
                    raise PlcError(
                        f'{self._map.endpoint}: {name} ({place}): the server has no namespace '
                        f'{uri!r}, it has {known}'
                    )
                place = f'ns={known.index(uri)};{identifier}'
            nodes[name] = self._client.get_node(ua.NodeId.from_string(place))
        return nodes

    def _connect(self) -> None:
        """Log in."""
        security = self._security
        if security is not None:
            server = security.server_certificate
            self._client.application_uri = security.application_uri
            self._client.set_security(
                security.policy,
                CertProperties(security.certificate, 'der'),
                CertProperties(security.key, 'der'),
                server_certificate=None if server is None else CertProperties(server, 'der'),
                mode=security.mode,
            )
        if self._map.user:
            self._client.set_user(self._map.user)
        if self._map.password_file:
            # read anew: a mended password counts without a restart
            self._client.set_password(read_password(self._map.password_file))
        self._client.connect()

    def write(self, values: Mapping[str, Value]) -> None:
        """See PlcLink."""
        nodes = [self._nodes[name] for name in values]
        variants = []
        for name, value in values.items():
            kind, convert = _TYPES[self._map.variables[name].kind]
            # without a time stamp: many controllers refuse to have theirs written
            variants.append(ua.DataValue(ua.Variant(convert(value), kind)))
        text = f'writing {", ".join(values)}'
        self._ask(text, lambda: self._client.write_values(nodes, variants))

    def read(self, names: Sequence[str]) -> dict[str, Value]:
        """See PlcLink."""
        nodes = [self._nodes[name] for name in names]
        text = f'reading {", ".join(names)}'
        answers = self._ask(text, lambda: self._client.read_attributes(nodes))
        found = {}
        for name, answer in zip(names, answers, strict=True):
            value = None if answer.Value is None else answer.Value.Value
            status = answer.StatusCode
            if value is None or (status is not None and not status.is_good()):
                place = self._map.variables[name].node
                why = 'Good' if status is None else status.name
                raise PlcError(
                    f'{self._map.endpoint}: {name} ({place}) has no value that can be used: '
                    f'the server says {why}'
                )
            found[name] = value
        return found

    def close(self) -> None:
        """See PlcLink."""
        if self._loop is None:
            return
        with contextlib.suppress(*_ERRORS):
            self._loop.timeout = self._timeout
            self._client.disconnect()
        self._loop.stop()
        self._loop = self._client = None

    def _ask(
        self,
        text: str,
        request: Callable[[], Any],
        errors: tuple[type[Exception], ...] = _ERRORS,
    ) -> Any:
        """Answer of the controller; PlcError when there is none or it refuses."""
        if self._client is None:
            raise PlcError(f'{self._map.endpoint}: {text}: not connected')
        try:
            return request()
        except _REFUSALS as error:
            who = f'user {self._map.user!r}' if self._map.user else 'an anonymous user'
            raise PlcRefusedError(
                f'{self._map.endpoint}: {text} as {who}, security '
                f'{self._security.label if self._security else "none"}: {error}'
            ) from error
        except errors as error:
            detail = str(error) or type(error).__name__
            raise PlcError(f'{self._map.endpoint}: {text}: {detail}') from error
