"""Data frames (RFC 6455 section 5.2): what is read of a client's, and how a server writes its own, without a mask."""

import struct
from typing import Protocol

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2  # opcodes


class Frame(Protocol):
    """What is needed of picows' WSFrame."""

    fin: int
    rsv1: int
    rsv2: int
    rsv3: int

    def get_payload_as_bytes(self) -> bytes: ...


# The first byte of a frame.
FIN, COMPRESSED = 0x80, 0x40
_MEDIUM_HEAD, _LONG_HEAD = struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack


def head(first: int, size: int) -> bytes:
    """Return first byte and length."""
    if size < 126:
        return bytes((first, size))
    if size < 1 << 16:
        return _MEDIUM_HEAD(first, 126, size)
    return _LONG_HEAD(first, 127, size)


# Those of most messages, ready made.
SMALL = 1024
HEADS = {FIN | kind: [head(FIN | kind, size) for size in range(SMALL)] for kind in (TEXT, BINARY)}


def encoded(data: object) -> bytes:
    """Return the bytes of a text, or of what is bytes; raises TypeError for all else: bytes(5) would be five zeros."""
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"a message is text or bytes, not {type(data).__name__}")


class PreparedMessage:
    """A message for many, framed once for all of them that do not compress."""

    def __init__(self, message: str | bytes, kind: int | None = None) -> None:
        """`kind` is the opcode, by default that of the message's type."""
        self.payload = encoded(message)
        self.kind = kind or (TEXT if isinstance(message, str) else BINARY)
        self.frame = head(FIN | self.kind, len(self.payload)) + self.payload
