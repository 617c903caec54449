"""Servers with one fault each, on 127.0.0.1."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from diagnosis import examine

from doctor.finding import Finding

NAME = "wss.example"
# So long that nobody waits for it in vain, so short that a test of silence does not last.
PATIENCE = 2.0  # seconds


@contextmanager
def serving(behave: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Let `behave` have each connection, after TLS where there is a context; yields the port on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def attend(connection: socket.socket) -> None:
            # The client may go away at any moment, and judges by what it has got.
            with suppress(OSError), connection:
                connection.settimeout(10)
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
