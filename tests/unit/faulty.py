"""Servers with one fault each, on 127.0.0.1."""

import re
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1
from pathlib import Path
from typing import Any

from diagnosis import examine
from eventually import LIMIT
from promise import slowness

from doctor.finding import Finding

NAME = "wss.example"
UPGRADED = ("Upgrade: websocket", "Connection: Upgrade")
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
# Seconds. A server that is not silent answers within that on this machine, and a test of silence does not take long.
PATIENCE = min(2.0 * slowness(), 10.0)


@contextmanager
def serving(behave: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Let `behave` have each connection, after TLS where there is a context; yields the port on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def attend(connection: socket.socket) -> None:
            # The client may go away at any moment, and judges by what it has got.
            with suppress(OSError), connection:
                connection.settimeout(LIMIT)
                if context is None:
                    behave(connection)
                else:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        behave(secure)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=attend, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def examine_port(port: int, *, name: str = NAME, path: str = "/wss", **options: Any) -> list[Finding]:
    """Return what it finds on the way to a server here that has this name."""
    options = {"timeout": PATIENCE, "resolve": ((name, port, "127.0.0.1"),), **options}
    return examine(f"wss://{name}:{port}{path}", **options)


def read_head(connection: socket.socket) -> bytes:
    """Return a request's line and headers."""
    head = b""
    while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
        head += more
    return head


def write_bundle(path: Path, *blobs: bytes) -> Path:
    path.write_bytes(b"".join(blobs))
    return path


# --- What a server may do with a connection


def answering(status: str, *fields: str, body: str = "") -> Callable[[socket.socket], None]:
    """A server that has one answer to everything, as one that is misconfigured has."""

    def behave(connection: socket.socket) -> None:
        read_head(connection)
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", body]
        connection.sendall("\r\n".join(head).encode())

    return behave


def switching(
    *fields: str, accept: str = "", wait: bool = True, heads: list[bytes] | None = None
) -> Callable[[socket.socket], None]:
    """A home-made websocket server that knows nothing but the handshake; a request is added to `heads`."""

    def behave(connection: socket.socket) -> None:
        head = read_head(connection)
        if heads is not None and head:
            heads.append(head)
        found = re.search(rb"Sec-WebSocket-Key: (\S+)", head, re.IGNORECASE)
        right = b64encode(sha1(found[1] + GUID.encode()).digest()).decode() if found else ""  # noqa: S324  # RFC 6455
        lines = ["HTTP/1.1 101 Switching Protocols", *fields, f"Sec-WebSocket-Accept: {accept or right}", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        if wait:
            connection.recv(65536)

    return behave


def in_turns(*behaviours: Callable[[socket.socket], object]) -> Callable[[socket.socket], None]:
    """A home-made server: the first websocket gets the first behaviour, and so on; then nobody gets anything."""
    heads: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        before = len(heads)
        if before < len(behaviours):
            switching(*UPGRADED, wait=False, heads=heads)(connection)
            if len(heads) > before:
                behaviours[before](connection)

    return behave


def pong(connection: socket.socket) -> None:
    ping = connection.recv(65536)
    mask, data = ping[2:6], ping[6:14]
    connection.sendall(b"\x8a\x08" + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)))


def listen_on(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def pong_and_listen_on(connection: socket.socket) -> None:
    pong(connection)
    listen_on(connection)


def pong_and_hang_up(connection: socket.socket) -> None:
    pong(connection)
    connection.recv(65536)


def close_with_1008(connection: socket.socket) -> None:
    connection.sendall(b"\x88\x02" + (1008).to_bytes(2, "big"))
    listen_on(connection)


def pong_and_break_the_protocol(connection: socket.socket) -> None:
    pong(connection)
    connection.sendall(b"\xc1\x02hi")  # RSV1, and no extension that it could mean
    listen_on(connection)
