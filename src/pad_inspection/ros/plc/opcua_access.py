"""Who we are to an OPC UA server: certificates, user and password, checked at the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.crypto import security_policies
from cryptography import x509
from cryptography.hazmat.primitives import serialization

_POLICIES = {
    'Basic256Sha256': security_policies.SecurityPolicyBasic256Sha256,
    'Aes128Sha256RsaOaep': security_policies.SecurityPolicyAes128Sha256RsaOaep,
    'Aes256Sha256RsaPss': security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_MODES = {
    'Sign': ua.MessageSecurityMode.Sign,
    'SignAndEncrypt': ua.MessageSecurityMode.SignAndEncrypt,
}
_FORM = 'policy,mode,certificate,private key[,certificate of the controller]'


@dataclass(frozen=True)
class Security:
    """How messages are signed and encrypted.

    Attributes:
        policy: class of asyncua.
        mode: of ua.MessageSecurityMode.
        certificate: ours, DER.
        key: of ours, PKCS8 DER.
        server_certificate: DER; None = whatever the server shows.
        application_uri: what our certificate says we are; servers compare it with what we say.
        label: policy and mode, for messages.
    """

    policy: type
    mode: ua.MessageSecurityMode
    certificate: bytes
    key: bytes
    server_certificate: bytes | None
    application_uri: str
    label: str


def read_password(path: str) -> str:
    """Password in a file: its text without the line break at the end.

    Raises:
        ValueError: the file cannot be read, or is empty.
    """
    try:
        password = Path(path).read_text().rstrip('\r\n')
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f'password_file {path!r} cannot be read: {_why(error)}') from error
    if not password:
        raise ValueError(f'password_file {path!r} is empty, wanted the password')
    return password


def read_security(text: str) -> Security:
    """Read the files that the key ``security`` of a map file names.

    Args:
        text: policy,mode,certificate,private key[,certificate of the controller]; files PEM or
            DER; the key as file::password where it has one.

    Raises:
        ValueError: what is wrong, what was wanted; never holds the password of the key.
    """
    parts = [part.strip() for part in text.split(',')]
    if not 4 <= len(parts) <= 5:
        raise ValueError(f'security has {len(parts)} parts, wanted {_FORM}')
    policy, mode, certificate_file, key_file = parts[:4]
    for name, value, known in (('policy', policy, _POLICIES), ('mode', mode, _MODES)):
        if value not in known:
            raise ValueError(f'security: {name} is {value!r}, wanted one of {sorted(known)}')
    certificate = _certificate(certificate_file)
    key_file, _, password = key_file.partition('::')
    key = _private_key(key_file, password)
    if key.public_key() != certificate.public_key():
        raise ValueError(f'security: {key_file!r} is not the key of {certificate_file!r}')
    server = _der(_certificate(parts[4])) if len(parts) == 5 else None
    key_der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Security(
        _POLICIES[policy],
        _MODES[mode],
        _der(certificate),
        key_der,
        server,
        _application_uri(certificate, certificate_file),
        f'{policy},{mode}',
    )


def _why(error: Exception) -> str:
    """Cause of a file that cannot be read, without its path."""
    return getattr(error, 'strerror', None) or str(error)


def _load(path: str, what: str, pem: Callable[[bytes], Any], der: Callable[[bytes], Any]) -> Any:
    """Content of a PEM or DER file."""
    try:
        data = Path(path).read_bytes()
        return (pem if data.lstrip().startswith(b'-----BEGIN') else der)(data)
    except OSError as error:
        raise ValueError(f'security: {what} {path!r} cannot be read: {_why(error)}') from error
    except (ValueError, TypeError) as error:
        raise ValueError(
            f'security: {path!r} holds no {what} that can be used: {error}'
        ) from error


def _certificate(path: str) -> x509.Certificate:
    """Certificate in a file."""
    return _load(
        path, 'certificate', x509.load_pem_x509_certificate, x509.load_der_x509_certificate
    )


def _private_key(path: str, password: str) -> Any:
    """Private key in a file; password '' = not encrypted."""
    secret = password.encode() or None
    return _load(
        path,
        'private key',
        lambda data: serialization.load_pem_private_key(data, secret),
        lambda data: serialization.load_der_private_key(data, secret),
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _application_uri(certificate: x509.Certificate, path: str) -> str:
    """URI among the alternative names of our certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    if not uris:
        raise ValueError(
            f'security: certificate {path!r} has no URI in its subjectAltName, which OPC UA '
            'servers ask for; make one as docs/plc.md says'
        )
    return uris[0]
