"""Which versions and key-exchange groups does a server accept?

Python's ssl cannot offer obsolete versions if OpenSSL is built without them, nor choose groups before 3.15. A server
sends both in its first message, before any key is derived: sending a ClientHello (RFC 8446 section 4.1.2) is enough.
"""

import secrets
import socket
import time
from dataclasses import dataclass

from doctor.address import is_address

SSL_3, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304
# https://www.iana.org/assignments/tls-parameters/
GROUPS = {0x11EC: "X25519MLKEM768", 0x001D: "X25519", 0x0017: "P-256", 0x0018: "P-384", 0x0019: "P-521"}
X25519MLKEM768 = 0x11EC

_SUITES_1_3 = (0x1301, 0x1302, 0x1303)
# What servers of the last twenty years support: ECDHE and AEAD, then CBC, plain RSA, 3DES, RC4.
_SUITES = (
    *(0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0x009E, 0x009F),
    *(0xC009, 0xC013, 0xC00A, 0xC014, 0x0033, 0x0039, 0x009C, 0x009D, 0x002F, 0x0035, 0x000A, 0x0005),
)
_SIGNATURES = (
    *(0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B),
    *(0x0401, 0x0501, 0x0601, 0x0203, 0x0201),
)
_HANDSHAKE, _SERVER_HELLO = 22, 2
_SUPPORTED_VERSIONS, _KEY_SHARE = 43, 51


@dataclass(frozen=True)
class ServerHello:
    """What the server chose; only TLS 1.3 sends `group`."""

    version: int
    group: int | None


def send_client_hello(
    connection: socket.socket, host: str, version: int, groups: tuple[int, ...]
) -> ServerHello | None:
    """Send a ClientHello that offers only this version, and return the answer; None: the server refuses it.

    In TLS 1.3 it has no key share, so that the server names the group that it prefers (section 4.1.4).
    Raises OSError as sockets do.
    """
    deadline = time.monotonic() + (connection.gettimeout() or 0.0)
    connection.sendall(_client_hello(host, version, groups))
    header = _read(connection, 5, deadline)
    if header[0] != _HANDSHAKE:
        return None
    return _server_hello(_read(connection, int.from_bytes(header[3:], "big"), deadline))


def _read(connection: socket.socket, size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        # One deadline for the whole message, because a server may send one byte at a time.
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        if not (more := connection.recv(size - len(data))):
            raise ConnectionAbortedError("the server closed the connection within a message")
        data += more
    return data


def _client_hello(host: str, version: int, groups: tuple[int, ...]) -> bytes:
    extensions = {
        10: _length_prefixed(b"".join(map(_uint16, groups))),  # supported_groups
        11: b"\x01\x00",  # ec_point_formats: uncompressed
        13: _length_prefixed(b"".join(map(_uint16, _SIGNATURES))),
        23: b"",  # extended_master_secret
        0xFF01: b"\x00",  # renegotiation_info
    }
    if not is_address(host):
        extensions[0] = _length_prefixed(b"\x00" + _length_prefixed(host.encode("idna")))  # server_name
    if version == TLS_1_3:
        extensions[_SUPPORTED_VERSIONS] = b"\x02" + _uint16(TLS_1_3)
        extensions[_KEY_SHARE] = _length_prefixed(b"")
    hello = (
        _uint16(min(version, TLS_1_2))
        + secrets.token_bytes(32)
        + b"\x00"  # no session
        + _length_prefixed(b"".join(map(_uint16, _SUITES_1_3 if version == TLS_1_3 else _SUITES)))
        + b"\x01\x00"  # no compression
        + _length_prefixed(b"".join(_uint16(number) + _length_prefixed(body) for number, body in extensions.items()))
    )
    handshake = b"\x01" + len(hello).to_bytes(3, "big") + hello
    return bytes([_HANDSHAKE]) + _uint16(min(version, TLS_1_0)) + _length_prefixed(handshake)


def _server_hello(message: bytes) -> ServerHello | None:
    if message[:1] != bytes([_SERVER_HELLO]):
        return None
    version, session = int.from_bytes(message[4:6], "big"), message[38]
    rest = message[39 + session + 2 + 1 + 2 :]  # after the session, the suite, the compression, the extensions' length
    group = None
    while len(rest) >= 4:
        number, size = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:4], "big")
        body, rest = rest[4 : 4 + size], rest[4 + size :]
        if number == _SUPPORTED_VERSIONS:
            version = int.from_bytes(body[:2], "big")
        elif number == _KEY_SHARE:
            group = int.from_bytes(body[:2], "big")
    return ServerHello(version, group)


def _uint16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _length_prefixed(body: bytes) -> bytes:
    return _uint16(len(body)) + body
