"""What a file holds: certificates and private keys in PEM or PKCS#12, or a mistake with its remedy.

Only the PEM blocks count, not the text around them, so that byte order marks, line ends, indentation and blocks
without a line end between them do not matter. What is published is encoded again: every server reads the same.
"""

import re
from base64 import encodebytes
from binascii import Error as Base64Error
from binascii import a2b_base64
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)

from certificates.mistakes import explain_block, explain_file, is_binary, is_pkcs12

PrivateKey = PrivateKeyTypes
_CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE")
_PRIVATE_KEYS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
_IGNORED = ("EC PARAMETERS", "DH PARAMETERS")
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
# RFC 1421 section 4.6: the headers of an encrypted key in OpenSSL's old format.
_HEADERS = re.compile(r"\s*((?:[A-Za-z0-9-]+: [^\n]*\n)+)\s*\n")


@dataclass(frozen=True)
class Contents:
    """The certificates and private keys of one file; `mistake`: cause and remedy if a part of it cannot be used."""

    certificates: tuple[x509.Certificate, ...] = ()
    keys: tuple[PrivateKey, ...] = field(default=(), hash=False)
    mistake: str = ""

    def __bool__(self) -> bool:
        return bool(self.certificates or self.keys or self.mistake)


@lru_cache(maxsize=4096)
def read_contents(data: bytes, name: str, password: bytes | None = None) -> Contents:
    """Return what the bytes of the file `name` hold; `password`: of its encrypted keys."""
    if is_pkcs12(data):
        return _read_pkcs12(data, name, password)
    text = _decode(data)
    blocks = list(_BLOCK.finditer(text))
    if {text.count("-----BEGIN "), text.count("-----END ")} != {len(blocks)} or not blocks or is_binary(data):
        return Contents(mistake=explain_file(data, text, name))
    certificates: dict[x509.Certificate, None] = {}
    keys: dict[bytes, PrivateKey] = {}
    for number, block in enumerate(blocks, 1):
        label, body = block[1], block[2]
        try:
            if label in _CERTIFICATES:
                certificates[x509.load_der_x509_certificate(_der(body))] = None
            elif label in _PRIVATE_KEYS:
                key = _load_key(label, body, password)
                keys[public_bytes(key)] = key
            elif label not in _IGNORED:
                return Contents(mistake=explain_block(name, label))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            where = name if len(blocks) == 1 else f"block {number} of {name}"
            return Contents(mistake=explain_block(name, label, where, body, error, has_password=password is not None))
    return Contents(tuple(certificates), tuple(keys.values()))


def public_bytes(of: x509.Certificate | PrivateKey) -> bytes:
    """Return the public key, to compare a certificate with a key."""
    return of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_pem(key: PrivateKey) -> bytes:
    """Return the key as published: unencrypted PKCS#8."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _decode(data: bytes) -> str:
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"-\0-\0", "utf-16-le")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    return data.decode("latin-1")


def _der(body: str) -> bytes:
    return a2b_base64(re.sub(r"\s", "", body), strict_mode=True)


def _load_key(label: str, body: str, password: bytes | None) -> PrivateKey:
    """Raises TypeError if the key is encrypted and there is no password."""
    headers = _HEADERS.match(body.replace("\r\n", "\n"))
    rest = body.replace("\r\n", "\n")[headers.end() :] if headers else body
    first = f"{headers[1]}\n" if headers else ""
    pem = f"-----BEGIN {label}-----\n{first}{encodebytes(_der(rest)).decode()}-----END {label}-----\n"
    is_encrypted = label.startswith("ENCRYPTED") or bool(headers and "ENCRYPTED" in headers[1])
    # The validation of a long RSA key takes a minute; `check_pair` tries the key out in a handshake.
    return load_pem_private_key(pem.encode(), password if is_encrypted else None, unsafe_skip_rsa_key_validation=True)


def _read_pkcs12(data: bytes, name: str, password: bytes | None) -> Contents:
    for attempt in dict.fromkeys((password, None, b"")):
        try:
            key, leaf, others = pkcs12.load_key_and_certificates(data, attempt)
        except (ValueError, TypeError, UnsupportedAlgorithm, Base64Error) as failure:
            error = failure
            continue
        certificates = tuple(dict.fromkeys([*([leaf] if leaf else []), *others]))
        return Contents(certificates, (key,) if key else ())
    return Contents(mistake=explain_block(name, "PKCS12", name, "", error, has_password=password is not None))
