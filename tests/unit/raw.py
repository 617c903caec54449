"""A websocket client without a library: it can send invalid frames, and returns every frame that it receives."""

import socket
import ssl
import struct
from contextlib import ExitStack

from server import TIMEOUT, Server
from wss.testing import TestServer

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
HANDSHAKE = (
    b"GET /wss HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """Return a client's frame (RFC 6455 section 5.2), which the arguments can make invalid."""
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
    # A masking key of zeros does not change the payload.
    return head + bytes([length[0] | 0x80]) + length[1:] + bytes(4) + payload


class Client:
    """An open websocket; its methods send and receive single frames."""

    def __init__(
        self, server: Server | TestServer, extra: bytes = b"", query: str = "", context: ssl.SSLContext | None = None
    ) -> None:
        plain = socket.create_connection(("localhost", server.port), TIMEOUT)
        self.socket = context.wrap_socket(plain, server_hostname="localhost") if context else plain
        head = HANDSHAKE.removesuffix(b"\r\n").replace(b"/wss", f"/wss{query}".encode())
        self.socket.sendall(head + extra + b"\r\n")
        self.stream = self.socket.makefile("rb")
        while self.stream.readline() != b"\r\n":
            pass

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def receive(self) -> tuple[int, bytes]:
        """Return the opcode and payload of the next frame; the payload of a close frame starts with the code."""
        opcode, size = self.stream.read(2)
        if size == 126:
            (size,) = struct.unpack(">H", self.stream.read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self.stream.read(8))
        return opcode & 0xF, self.stream.read(size)

    def close_code(self, *, answer: bool = True) -> int | None:
        """Wait for the close frame, check that no data follows, and return the close code.

        `answer`: send a close frame, which the server waits for. After a violation, or after the client's own close
        frame, the server does not wait: pass False.
        """
        opcode, payload = self.receive()
        assert opcode == CLOSE
        if answer:
            self.send(frame(CLOSE, payload[:2]))
        assert self.stream.read() == b"", "the server sent data after its close frame"
        return int.from_bytes(payload[:2], "big") if payload else None


def connect(
    server: Server | TestServer,
    clients: ExitStack,
    extra: bytes = b"",
    query: str = "",
    context: ssl.SSLContext | None = None,
) -> Client:
    """Open a websocket; `extra` are header lines, `query` is appended to the path. With a context, over TLS."""
    client = Client(server, extra, query, context)
    clients.callback(client.socket.close)
    clients.callback(client.stream.close)
    return client


def code(number: int, reason: bytes = b"") -> bytes:
    return number.to_bytes(2, "big") + reason
