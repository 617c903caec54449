"""A proxy opens no tunnel to a backend that answers an upgrade with a status other than 101."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from client import UPGRADE, exchange, target_of
from docker.models.containers import Container
from eventually import eventually
from fixtures import NewStack
from stack import Stack

UPGRADE_LINES = [f"{name}: {value}" for name, value in UPGRADE.items()]

HOSTILE = """
import socket
server = socket.create_server(("", 8282))
while True:
    connection, _ = server.accept()
    connection.settimeout(3)
    try:
        head = b""
        while b"\\r\\n\\r\\n" not in head:
            head += connection.recv(65536)
        print("head", head, flush=True)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: keep-alive\\r\\n\\r\\nhello")
        while more := connection.recv(65536):
            print("more", more, flush=True)
    except OSError:
        pass
    connection.close()
"""


@contextmanager
def hostile_backend(stack: Stack) -> Iterator[Container]:
    """Replace the backend by a hostile server, which logs all data that it receives."""
    outcome = stack.compose("stop", "--timeout=2", "backend")
    assert outcome.code == 0, outcome.output
    container = stack.engine.containers.create(stack.image("backend"), ["python", "-u", "-c", HOSTILE], **stack.beside)
    try:
        stack.engine.networks.get(f"{stack.project}_inner").connect(container, aliases=["backend"])
        container.start()
        yield container
    finally:
        container.remove(force=True)


@pytest.mark.profiles("nginx", "apache")
def test_a_response_other_than_101_opens_no_tunnel(profile: str, new_stack: NewStack, ca_file: Path) -> None:
    stack = new_stack(profile)
    stack.up()
    target = target_of(stack, ca_file)
    host = f"Host: {target.authority}"
    with hostile_backend(stack) as hostile:

        def is_reached() -> bool:
            with target.open_tls() as connection:
                return exchange(connection, [f"GET {target.path} HTTP/1.1", host, *UPGRADE_LINES]).text == "hello"

        eventually(is_reached, "a request reaches the hostile backend")
        with target.open_tls() as connection:
            first = [f"GET {target.path} HTTP/1.1", host, *UPGRADE_LINES, "", "GET /smuggled HTTP/1.1", host]
            assert exchange(connection, first).status == 200
            with suppress(OSError, http.client.HTTPException):  # the proxy may close, or answer 404 itself
                assert exchange(connection, ["GET /smuggled HTTP/1.1", host]).status == 404
        with target.open_tls() as connection:
            exchange(connection, [f"GET {target.path}?last HTTP/1.1", host, *UPGRADE_LINES])

        def logged() -> str | None:
            log = hostile.logs().decode()
            return log if "last" in log else None

        received = eventually(logged, "the hostile backend logs the last request")
    assert "smuggled" not in received
