"""Data frames (RFC 6455 section 5.2): the parsed frames of clients, and the unmasked frames of the server."""

import struct
from typing import Protocol

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2  # opcodes


class Frame(Protocol):
    """The attributes of picows' WSFrame that are used here."""

    fin: int
    rsv1: int
    rsv2: int
    rsv3: int

    def get_payload_as_bytes(self) -> bytes: ...


# The first byte of a frame.
FIN, COMPRESSED = 0x80, 0x40
_MEDIUM_HEAD, _LONG_HEAD = struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack


def head(first: int, size: int) -> bytes:
    """Return the first byte and the encoded length."""
    if size < 126:
        return bytes((first, size))
    if size < 1 << 16:
        return _MEDIUM_HEAD(first, 126, size)
    return _LONG_HEAD(first, 127, size)


# The heads of small messages, precomputed.
SMALL = 1024
HEADS = {FIN | kind: [head(FIN | kind, size) for size in range(SMALL)] for kind in (TEXT, BINARY)}


def encoded(data: object) -> bytes:
    """Return a str or bytes-like object as bytes. Raises TypeError for other types: bytes(5) would be five zeros."""
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"a message is text or bytes, not {type(data).__name__}")


class PreparedMessage:
    """A message for many connections, framed once for all that do not compress."""

    def __init__(self, message: str | bytes, kind: int | None = None) -> None:
        """`kind` is the opcode, by default that of the message's type."""
        self.payload = encoded(message)
        self.kind = kind or (TEXT if isinstance(message, str) else BINARY)
        self.frame = head(FIN | self.kind, len(self.payload)) + self.payload
