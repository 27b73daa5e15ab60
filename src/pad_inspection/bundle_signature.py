"""Signs bundles and verifies who made them: Ed25519 (RFC 8032) over the exact manifest.

The manifest holds the SHA-256 of every other file, so that its signature covers the whole bundle.
It lies beside it as ``manifest.sig``, base64 in one line. Keys are PEM files, as OpenSSL has them.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from pathlib import Path

from pad_inspection.bundle import SIGNATURE, Bundle, BundleError
from pad_inspection.whole_files import write_text

_MAX_KEY_BYTES = 64 * 1024


def make_keys(private: Path, public: Path) -> None:
    """Write a new pair of keys; the private one is readable for its owner only.

    Raises:
        FileExistsError: a file is there; a key is never overwritten.
        OSError: a file cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    known = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for path in (private, public):
        if os.path.lexists(path):
            raise FileExistsError(f'{path} exists; a key is not overwritten')
    for path, content, mode in ((private, secret, 0o600), (public, known, 0o644)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, 'wb') as stream:
            stream.write(content)


def sign(bundle: Bundle, private: Path) -> Path:
    """Sign a bundle; an older signature is replaced.

    Args:
        bundle: opened, so that its checksums hold.
        private: file of the private key.

    Returns:
        The file of the signature.

    Raises:
        FileNotFoundError: there is no such key.
        ValueError: it is no private Ed25519 key, or has a password.
        OSError: the signature cannot be written.
    """
    signature = _private_key(private).sign(bundle.manifest_bytes)
    path = bundle.path / SIGNATURE
    write_text(path, base64.b64encode(signature).decode() + '\n')
    return path


def is_signed(bundle: Bundle) -> bool:
    """Whether a bundle has a signature, by whomever."""
    return (bundle.path / SIGNATURE).is_file()


def require_signature(bundle: Bundle, trusted_keys: Sequence[Path]) -> Path:
    """Check that the owner of a trusted key signed a bundle.

    Args:
        bundle: the bundle.
        trusted_keys: files of public keys, at least one.

    Returns:
        The key that it was signed with.

    Raises:
        FileNotFoundError: a key does not exist.
        ValueError: a file is no public Ed25519 key, or there is none.
        BundleError: the bundle is not signed, or by nobody with one of these keys.
    """
    from cryptography.exceptions import InvalidSignature

    # all of them first: a damaged key must not go unnoticed because another one fits
    keys = [(Path(path), _public_key(Path(path))) for path in trusted_keys]
    if not keys:
        raise ValueError('no trusted key was given to verify a bundle with')
    if not is_signed(bundle):
        raise BundleError(
            f'bundle {bundle.path} is not signed and a signature is required '
            '(pad bundle sign makes one)'
        )
    with open(bundle.path / SIGNATURE, 'rb') as stream:
        text = stream.read(_MAX_KEY_BYTES)
    try:
        signature = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as error:
        raise BundleError(f'{bundle.path / SIGNATURE} is no signature: {error}') from error
    for path, key in keys:
        try:
            key.verify(signature, bundle.manifest_bytes)
        except InvalidSignature:
            continue
        return path
    names = ', '.join(str(path) for path, _ in keys)
    raise BundleError(
        f'the signature of bundle {bundle.path} does not fit its manifest and any of the trusted '
        f'keys ({names}): it was changed, or signed with another key'
    )


def _read_key(path: Path) -> bytes:
    """Content of a key file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'key {path} does not exist (pad bundle keygen makes one)')
    with open(path, 'rb') as stream:
        return stream.read(_MAX_KEY_BYTES)


def _private_key(path: Path):
    """Private key of a file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read_key(path), None)
    except TypeError as error:
        raise ValueError(f'key {path} has a password, wanted one without') from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f'{path} is no private key in PEM') from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f'{path} is a {type(key).__name__}, wanted a private Ed25519 key')
    return key


def _public_key(path: Path):
    """Public key of a file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read_key(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f'{path} is no public key in PEM') from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f'{path} is a {type(key).__name__}, wanted a public Ed25519 key')
    return key
