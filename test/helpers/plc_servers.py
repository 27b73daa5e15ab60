"""Line controllers for tests: the servers of pymodbus and asyncua with a small program inside.

The program is what docs/plc.md asks of a controller: it takes a verdict when sequence differs from
acknowledge (and is not 0), keeps what it took, and rejects by itself while the heartbeat stands
still or ready is false.
"""

import asyncio
import datetime
import math
import socket
import struct
import threading
import time
from collections import namedtuple

import yaml

Taken = namedtuple('Taken', 'sequence object_id reject verdict reason')
SCAN_S = 0.01
# The heartbeat may stand still this long.
BEAT_S = 1.0

MODBUS_PLACES = {
    'heartbeat': ('holding', 0, 'uint16'),
    'sequence': ('holding', 2, 'uint32'),
    'verdict': ('holding', 4, 'uint16'),
    'reason': ('holding', 5, 'uint16'),
    'score': ('holding', 6, 'float32'),
    'num_views': ('holding', 8, 'uint16'),
    'num_judged': ('holding', 9, 'uint16'),
    'object_id': ('holding', 10, 'string'),
    'ready': ('coil', 0, 'bool'),
    'stop_request': ('coil', 1, 'bool'),
    'reject': ('coil', 2, 'bool'),
    'acknowledge': ('holding', 100, 'uint32'),
    'controller_heartbeat': ('holding', 102, 'uint16'),
    'reset_stop': ('coil', 16, 'bool'),
}
FORMATS = {'uint16': '>H', 'uint32': '>I', 'float32': '>f', 'string': '>32s'}


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class SimulatedPlc:
    """Context with a thread of its own; ``down`` and ``up`` pull the plug and put it back."""

    def __init__(self):
        self.port = free_port()
        self.taken = []
        self.values = {}
        self.frozen = False
        self.reset_stop = False
        self.rejects_by_itself = True
        self._acknowledge = 0
        self._beats = 0
        self._last_beat = (None, -math.inf)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._scanning = None

    def __enter__(self):
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *_):
        if self._scanning is not None:
            self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def reset(self):
        """As new, for the next test (the address space of an OPC UA server takes seconds)."""
        if self._scanning is not None:
            self.down()
        self.taken.clear()
        self.frozen = self.reset_stop = False
        self._acknowledge = 0
        self._last_beat = (None, -math.inf)
        self.up()

    def up(self):
        self._run(self._start())

    def down(self):
        self._run(self._stop())
        self.rejects_by_itself = True

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(180)

    async def _start(self):
        await self.start_server()
        for name in ('heartbeat', 'sequence', 'ready', 'stop_request', 'controller_heartbeat'):
            await self.set(name, 0)
        await self.set('acknowledge', self._acknowledge)
        self._scanning = asyncio.ensure_future(self._scan_forever())

    async def _stop(self):
        self._scanning.cancel()
        self._scanning = None
        await self.stop_server()

    async def _scan_forever(self):
        while True:
            await self._scan()
            await asyncio.sleep(SCAN_S)

    async def _scan(self):
        """One cycle of the controller's program."""
        get = self.get
        beat = await get('heartbeat')
        if beat != self._last_beat[0]:
            self._last_beat = (beat, time.monotonic())
        alive = time.monotonic() - self._last_beat[1] < BEAT_S
        self.values = {name: await get(name) for name in ('ready', 'stop_request', 'score')}
        self.rejects_by_itself = not (alive and self.values['ready'])
        if self.frozen:
            return
        self._beats = (self._beats + 1) % 2**16
        await self.set('controller_heartbeat', self._beats)
        await self.set('reset_stop', self.reset_stop)
        sequence = await get('sequence')
        if sequence not in (0, self._acknowledge):
            names = ('object_id', 'reject', 'verdict', 'reason')
            self.taken.append(Taken(sequence, *[await get(name) for name in names]))
            self._acknowledge = sequence
            await self.set('acknowledge', sequence)


class ModbusPlc(SimulatedPlc):
    def write_map(self, path):
        places = {
            name: {'table': table, 'address': address, 'type': kind}
            for name, (table, address, kind) in MODBUS_PLACES.items()
        }
        places['object_id']['length'] = 16
        content = {
            'protocol': 'modbus',
            'endpoint': f'tcp://127.0.0.1:{self.port}',
            'variables': places,
        }
        path.write_text(yaml.safe_dump(content))
        return path

    async def start_server(self):
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        registers = SimData(0, count=128, values=0, datatype=DataType.REGISTERS)
        bits = SimData(0, count=32, values=False, datatype=DataType.BITS)
        device = SimDevice(1, simdata=([bits], [bits], [registers], [registers]))
        self._server = ModbusTcpServer(device, address=('127.0.0.1', self.port))
        await self._server.serve_forever(background=True)

    async def stop_server(self):
        await self._server.shutdown()

    async def get(self, name):
        table, address, kind = MODBUS_PLACES[name]
        if table == 'coil':
            return bool((await self._server.async_getValues(1, 1, address, 1))[0])
        size = struct.calcsize(FORMATS[kind])
        cells = await self._server.async_getValues(1, 3, address, size // 2)
        (value,) = struct.unpack(FORMATS[kind], struct.pack(f'>{len(cells)}H', *cells))
        return value.rstrip(b'\0').decode() if kind == 'string' else value

    async def set(self, name, value):
        table, address, kind = MODBUS_PLACES[name]
        if table == 'coil':
            await self._server.async_setValues(1, 15, address, [bool(value)])
            return
        data = struct.pack(FORMATS[kind], value)
        cells = list(struct.unpack(f'>{len(data) // 2}H', data))
        await self._server.async_setValues(1, 16, address, cells)


class OpcUaPlc(SimulatedPlc):
    _server = None

    def write_map(self, path):
        content = {
            'protocol': 'opcua',
            'endpoint': f'opc.tcp://127.0.0.1:{self.port}',
            'variables': {
                name: {'node': f'ns=2;s=Pad.{name}', 'type': kind}
                for name, (_, _, kind) in MODBUS_PLACES.items()
            },
        }
        path.write_text(yaml.safe_dump(content))
        return path

    async def start_server(self):
        if self._server is None:
            await self._make_server()
        await self._server.start()

    async def _make_server(self):
        from asyncua import Server, ua

        self._server = Server()
        await self._server.init()
        self._server.set_endpoint(f'opc.tcp://127.0.0.1:{self.port}')
        await self._secure()
        await self._server.register_namespace('urn:test:plc')
        types = {
            'bool': (ua.VariantType.Boolean, False),
            'uint16': (ua.VariantType.UInt16, 0),
            'uint32': (ua.VariantType.UInt32, 0),
            'float32': (ua.VariantType.Float, 0.0),
            'string': (ua.VariantType.String, ''),
        }
        self._nodes, self._types = {}, {}
        for name, (_, _, kind) in MODBUS_PLACES.items():
            variant, initial = types[kind]
            node = await self._server.nodes.objects.add_variable(
                ua.NodeId(f'Pad.{name}', 2), name, initial, variant
            )
            await node.set_writable()
            self._nodes[name], self._types[name] = node, variant

    async def _secure(self):
        from asyncua import ua

        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])

    async def stop_server(self):
        await self._server.stop()

    async def get(self, name):
        return await self._nodes[name].read_value()

    async def set(self, name, value):
        value = bool(value) if MODBUS_PLACES[name][2] == 'bool' else value
        await self._nodes[name].write_value(value, self._types[name])


def make_certificate(folder, name, uri):
    """Self-signed certificate and key as OPC UA wants them: files <name>.pem, <name>.key.pem."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(socket.gethostname())]
    if uri:
        names.insert(0, x509.UniformResourceIdentifier(uri))
    usage = dict.fromkeys(
        ('digital_signature', 'content_commitment', 'key_encipherment', 'data_encipherment'), True
    ) | dict.fromkeys(
        ('key_agreement', 'key_cert_sign', 'crl_sign', 'encipher_only', 'decipher_only'), False
    )
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / f'{name}.pem', folder / f'{name}.key.pem'
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class SecuredOpcUaPlc(OpcUaPlc):
    """Wants the user 'pad'; open, or signed and encrypted by a client that it knows."""

    PASSWORD = 'geheim 4711'

    def __init__(self, folder):
        super().__init__()
        self.certificate, self._key = make_certificate(folder, 'plc', 'urn:test:plc')
        self.client = make_certificate(folder, 'client', 'urn:test:line')
        self.asked = []

    def write_map(self, path, **access):
        super().write_map(path)
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | access))
        return path

    async def _secure(self):
        from asyncua import ua
        from asyncua.crypto.permission_rules import User, UserRole
        from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions

        policies = ua.SecurityPolicyType
        self._server.set_security_policy(
            [policies.NoSecurity, policies.Basic256Sha256_SignAndEncrypt]
        )
        await self._server.load_certificate(self.certificate)
        await self._server.load_private_key(self._key)
        await self._server.set_application_uri('urn:test:plc')
        self._server.set_identity_tokens([ua.UserNameIdentityToken])
        known = self.client[0].read_bytes()
        options = CertificateValidatorOptions.EXT_VALIDATION
        basics = CertificateValidator(options | CertificateValidatorOptions.PEER_CLIENT)

        async def validate(certificate, description):
            from asyncua.common.utils import ServiceError
            from cryptography.hazmat.primitives.serialization import Encoding

            if certificate.public_bytes(Encoding.PEM) != known:
                raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)
            await basics.validate(certificate, description)

        self._server.set_certificate_validator(validate)
        plc = self

        class Users:
            def get_user(self, iserver, username=None, password=None, certificate=None):
                plc.asked.append((username, bool(certificate)))
                right = (username, password) == ('pad', plc.PASSWORD)
                return User(role=UserRole.User, name=username) if right else None

        self._server.iserver.set_user_manager(Users())
