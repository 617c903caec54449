"""A websocket opened by hand, to send what no library would, and to see every frame."""

import socket
import struct
from contextlib import ExitStack

from server import TIMEOUT, Server

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
HANDSHAKE = (
    b"GET /wss HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """Return a client's frame (RFC 6455 section 5.2), as wrong as it is asked for."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 65536:
        length = b"\x7e" + struct.pack(">H", size)
    else:
        length = b"\x7f" + struct.pack(">Q", size)
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if not masked:
        return head + length + payload
    # A mask of zeros leaves the payload as it is.
    return head + bytes([length[0] | 0x80]) + length[1:] + bytes(4) + payload


class Client:
    """A websocket opened by hand, to send what no library would."""

    def __init__(self, server: Server, extra: bytes = b"", query: str = "") -> None:
        self.socket = socket.create_connection(("localhost", server.port), TIMEOUT)
        head = HANDSHAKE.removesuffix(b"\r\n").replace(b"/wss", f"/wss{query}".encode())
        self.socket.sendall(head + extra + b"\r\n")
        self.stream = self.socket.makefile("rb")
        while self.stream.readline() != b"\r\n":
            pass

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def receive(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame; a close code stands at the start of the payload."""
        opcode, size = self.stream.read(2)
        if size == 126:
            (size,) = struct.unpack(">H", self.stream.read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self.stream.read(8))
        return opcode & 0xF, self.stream.read(size)

    def close_code(self, *, answer: bool = True) -> int | None:
        """Wait for the close frame, and see that nothing follows; return its code.

        `answer` it, as the server waits for that; but not after a violation or the client's close, as it has hung up.
        """
        opcode, payload = self.receive()
        assert opcode == CLOSE
        if answer:
            self.send(frame(CLOSE, payload[:2]))
        assert self.stream.read() == b"", "the server hangs up after its close frame"
        return int.from_bytes(payload[:2], "big") if payload else None


def connect(server: Server, clients: ExitStack, extra: bytes = b"", query: str = "") -> Client:
    """Open a websocket; `extra` are header lines, `query` comes after the path."""
    client = Client(server, extra, query)
    clients.callback(client.socket.close)
    clients.callback(client.stream.close)
    return client


def code(number: int, reason: bytes = b"") -> bytes:
    return number.to_bytes(2, "big") + reason
