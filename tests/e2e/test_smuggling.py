"""Nobody gets in where they don't belong: requests that mean one thing to a proxy and another to what is behind it."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from client import UPGRADE, Target, exchange, target_of
from docker.models.containers import Container
from eventually import eventually
from fixtures import NewStack
from stack import Stack

UPGRADE_LINES = [f"{name}: {value}" for name, value in UPGRADE.items()]


@pytest.mark.parametrize(
    ("lines", "statuses"),
    [
        pytest.param(["Host: evil.example", *UPGRADE_LINES], {400, 421}, id="two hosts"),
        pytest.param([*UPGRADE_LINES, "Content-Length: 5"], {400}, id="a body"),
        pytest.param([*UPGRADE_LINES, "Transfer-Encoding: chunked"], {400}, id="a body in chunks"),
        pytest.param([*UPGRADE_LINES, "Content-Length: 0", "Content-Length: 5"], {400}, id="two lengths"),
        pytest.param([*UPGRADE_LINES, "Content-Length: 5", "Transfer-Encoding: chunked"], {400}, id="both"),
        pytest.param([*UPGRADE_LINES, "Transfer-Encoding: xchunked"], {400, 501}, id="an unknown coding"),
        pytest.param([*UPGRADE_LINES, "Content-Length: +5"], {400}, id="a length that is none"),
        pytest.param([*UPGRADE_LINES, "Content-Length : 5"], {400}, id="a space before the colon"),
        # RFC 9112 section 5.2: refused, or made one line; never two headers.
        pytest.param([*UPGRADE_LINES, "X: 1", " Content-Length: 5"], {400, 101}, id="a folded line"),
        pytest.param([*UPGRADE_LINES, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], {400}, id="two keys"),
        pytest.param([*UPGRADE_LINES, "Sec-WebSocket-Version: 8"], {400, 426}, id="two versions"),
        pytest.param([*UPGRADE_LINES[1:], "Connection: Upgrad"], {426}, id="nearly an upgrade"),
        pytest.param(["Connection: Upgrade", "Upgrade: websocket2"], {426}, id="nearly a websocket"),
        pytest.param([*UPGRADE_LINES, f"X: {'x' * 20000}"], {400, 431}, id="a header of 20 KB"),
    ],
)
def test_a_request_of_two_minds_is_refused(target: Target, lines: list[str], statuses: set[int]) -> None:
    with target.open_tls() as connection:
        request = [f"GET {target.path} HTTP/1.1", f"Host: {target.authority}", *lines]
        assert exchange(connection, request).status in statuses


@pytest.mark.parametrize(
    ("request_line", "statuses"),
    [
        pytest.param("GET {path} HTTP/1.0", {426}, id="HTTP/1.0"),
        pytest.param("TRACE {path} HTTP/1.1", {405}, id="TRACE"),
        pytest.param("POST {path} HTTP/1.1", {405}, id="POST"),
        pytest.param("GET {path}" + "x" * 20000 + " HTTP/1.1", {414, 431}, id="a path of 20 KB"),
        pytest.param("GET {path}/../wss HTTP/1.1 HTTP/1.1", {400}, id="two versions"),
        pytest.param("GET /%00{path} HTTP/1.1", {400, 404}, id="a zero byte"),
        pytest.param("GET /{path} HTTP/1.1", {404}, id="two slashes"),
        pytest.param("GET /%77ss HTTP/1.1", {404}, id="an escaped path"),
    ],
)
def test_a_strange_request_line_is_refused(target: Target, request_line: str, statuses: set[int]) -> None:
    with target.open_tls() as connection:
        request = [request_line.format(path=target.path), f"Host: {target.authority}", *UPGRADE_LINES]
        assert exchange(connection, request).status in statuses


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
    """Put a server of evil intent in the place of ours; its log tells what it got."""
    outcome = stack.compose("stop", "--timeout=2", "backend")
    assert outcome.code == 0, outcome.output
    container = stack.engine.containers.create(
        f"{stack.project}-check", ["python", "-u", "-c", HOSTILE], labels={"com.docker.compose.project": stack.project}
    )
    try:
        stack.engine.networks.get(f"{stack.project}_inner").connect(container, aliases=["backend"])
        container.start()
        yield container
    finally:
        container.remove(force=True)


@pytest.mark.profiles("nginx", "apache")
def test_an_answer_that_is_no_101_opens_no_tunnel(profile: str, new_stack: NewStack, ca_file: Path) -> None:
    stack = new_stack(profile)
    stack.up()
    target = target_of(stack, ca_file)
    host = f"Host: {target.authority}"
    with hostile_backend(stack) as hostile:

        def is_asked() -> bool:
            with target.open_tls() as connection:
                return exchange(connection, [f"GET {target.path} HTTP/1.1", host, *UPGRADE_LINES]).text == "hello"

        eventually(is_asked, 10, "the hostile backend is reached")
        with target.open_tls() as connection:
            first = [f"GET {target.path} HTTP/1.1", host, *UPGRADE_LINES, "", "GET /smuggled HTTP/1.1", host]
            assert exchange(connection, first).status == 200
            with suppress(OSError, http.client.HTTPException):  # it may hang up, or answer as the site does
                assert exchange(connection, ["GET /smuggled HTTP/1.1", host]).status == 404
        said = hostile.logs().decode()
    assert "head" in said
    assert "smuggled" not in said
