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
from time_limit import slowness
from websockets.sync.server import ServerConnection, serve

from doctor.finding import Finding

NAME = "wss.example"
UPGRADE_HEADERS = ("Upgrade: websocket", "Connection: Upgrade")
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
# Seconds: enough for any server here to answer, and short, because tests of silent servers wait for all of it.
TIMEOUT = min(2.0 * slowness(), 10.0)


@contextmanager
def serving(behave: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Call `behave` with each connection, after TLS if there is a context; yields the port on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def handle(connection: socket.socket) -> None:
            # The client may close at any time; only its findings count.
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
                    threading.Thread(target=handle, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def running(handler: Callable[[ServerConnection], None], context: ssl.SSLContext, **options: Any) -> Iterator[int]:
    """Run a server with this handler; yields the port on 127.0.0.1."""
    with serve(handler, "127.0.0.1", 0, ssl=context, **options) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]
        server.shutdown()


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def examine_port(port: int, *, name: str = NAME, path: str = "/wss", **options: Any) -> list[Finding]:
    """Return the findings for a server on 127.0.0.1 under this name."""
    options = {"timeout": TIMEOUT, "resolve": ((name, port, "127.0.0.1"),), **options}
    return examine(f"wss://{name}:{port}{path}", **options)


def read_head(connection: socket.socket) -> bytes:
    """Return the request line and the headers."""
    head = b""
    while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
        head += more
    return head


def read_head_and_close(connection: socket.socket) -> None:
    read_head(connection)


def write_bundle(path: Path, *blobs: bytes) -> Path:
    path.write_bytes(b"".join(blobs))
    return path


# --- Behaviours of a server on a connection


def answering(status: str, *fields: str, body: str = "") -> Callable[[socket.socket], None]:
    """A server that sends this answer to each request."""

    def behave(connection: socket.socket) -> None:
        read_head(connection)
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", body]
        connection.sendall("\r\n".join(head).encode())

    return behave


def switching(
    *fields: str, accept: str = "", wait: bool = True, heads: list[bytes] | None = None
) -> Callable[[socket.socket], None]:
    """A WebSocket server that implements only the handshake; appends each request to `heads`."""

    def behave(connection: socket.socket) -> None:
        head = read_head(connection)
        if heads is not None and head:
            heads.append(head)
        found = re.search(rb"Sec-WebSocket-Key: (\S+)", head, re.IGNORECASE)
        expected = b64encode(sha1(found[1] + GUID.encode()).digest()).decode() if found else ""  # noqa: S324  # RFC 6455
        lines = ["HTTP/1.1 101 Switching Protocols", *fields, f"Sec-WebSocket-Accept: {accept or expected}", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        if wait:
            connection.recv(65536)

    return behave


def in_sequence(*behaviours: Callable[[socket.socket], object]) -> Callable[[socket.socket], None]:
    """A WebSocket server whose nth connection has the nth behaviour; it closes any later one."""
    heads: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        before = len(heads)
        if before < len(behaviours):
            switching(*UPGRADE_HEADERS, wait=False, heads=heads)(connection)
            if len(heads) > before:
                behaviours[before](connection)

    return behave


def pong(connection: socket.socket) -> None:
    ping = connection.recv(65536)
    mask, data = ping[2:6], ping[6:14]
    connection.sendall(b"\x8a\x08" + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)))


def read_all(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def pong_and_close(connection: socket.socket) -> None:
    pong(connection)
    connection.recv(65536)


def close_with_1008(connection: socket.socket) -> None:
    connection.sendall(b"\x88\x02" + (1008).to_bytes(2, "big"))
    read_all(connection)
