"""A handmade ClientHello, for versions and cipher suites that TLS libraries no longer offer."""

import secrets

from client import Target

# Record and handshake types of RFC 5246 and 8446.
ALERT, HANDSHAKE = 21, 22
PROTOCOL_VERSION, HANDSHAKE_FAILURE = 70, 40

TLS_1_2 = 0x0303


def send_client_hello(target: Target, version: int, *suites: int) -> bytes:
    """Send a ClientHello with this version and these cipher suites; return the record that answers it."""
    name = target.host.encode()
    extensions = b"".join(
        _u16(number) + _with_length(body)
        for number, body in (
            (0, _with_length(b"\x00" + _with_length(name))),  # server_name
            (10, _with_length(_u16(0x001D) + _u16(0x0017))),  # supported_groups: x25519, secp256r1
            (11, b"\x01\x00"),  # ec_point_formats: uncompressed
            (13, _with_length(b"".join(map(_u16, (0x0403, 0x0804, 0x0401, 0x0203, 0x0201))))),  # signature_algorithms
        )
    )
    hello = (
        _u16(version)
        + secrets.token_bytes(32)
        + b"\x00"  # no session
        + _with_length(b"".join(map(_u16, suites)))
        + b"\x01\x00"  # no compression
        + _with_length(extensions)
    )
    handshake = b"\x01" + len(hello).to_bytes(3, "big") + hello
    with target.open_tcp() as connection, connection.makefile("rb") as stream:
        connection.sendall(bytes([HANDSHAKE]) + _u16(0x0301) + _with_length(handshake))
        header = stream.read(5)
        return header + stream.read(int.from_bytes(header[3:], "big"))


def _u16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _with_length(body: bytes) -> bytes:
    return _u16(len(body)) + body
