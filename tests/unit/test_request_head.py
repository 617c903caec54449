"""The head of a request: which requests are passed on, and which responses reject the others."""

import os
import signal
import socket
import ssl
import time
from contextlib import closing
from pathlib import Path

import pytest
from server import TIMEOUT, Server, Start

GOOD = (
    "GET /wss HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


def connect(server: Server, context: ssl.SSLContext | None = None) -> socket.socket:
    plain = socket.create_connection(("localhost", server.port), TIMEOUT)
    return context.wrap_socket(plain, server_hostname="localhost") if context else plain


def response_to(server: Server, *pieces: str, context: ssl.SSLContext | None = None) -> str:
    with closing(connect(server, context)) as connection, connection.makefile("rb") as stream:
        for piece in pieces:
            connection.sendall(piece.encode())
        head = b""
        while line := stream.readline().strip():
            head += line + b"\n"
        return head.decode()


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def context(request: pytest.FixtureRequest, client_context: ssl.SSLContext) -> ssl.SSLContext | None:
    return client_context if request.param else None


@pytest.fixture
def server(share: Start, context: ssl.SSLContext | None, tls_dir: Path) -> Server:
    return share(MAX_HEADER="2K", **({"TLS_DIR": str(tls_dir)} if context else {}))


def test_tls_on_a_plain_port_gets_a_response_at_once(start: Start) -> None:
    server = start(HANDSHAKE_TIMEOUT="60")
    assert response_to(server, "\x16\x03\x01").startswith("HTTP/1.1 400 ")


def head_of(size: int) -> str:
    return f"{GOOD}X: {'x' * (size - len(GOOD) - len('X: '))}"


@pytest.mark.parametrize(
    ("request_", "status", "field"),
    [
        (head_of(2047), 101, "Upgrade: websocket"),
        (head_of(2048), 101, "Upgrade: websocket"),
        (head_of(2049), 431, ""),
        (f"GET /{'x' * 30000} HTTP/1.1\r\nHost: localhost", 431, ""),
        ("POST /wss HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3", 405, "Allow: GET"),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost", 405, "Allow: GET"),
        ("GET /wss HTTP/1.0\r\nHost: localhost", 426, "Sec-WebSocket-Version: 13"),
        ("PRI * HTTP/2.0", 405, ""),
        ("GET /wss\r\nHost: localhost", 400, ""),
        ("GET /w ss HTTP/1.1\r\nHost: localhost", 400, ""),
        ("\x05\x01\x00", 400, ""),
        # RFC 9110 section 9.3.1: content in a GET has no meaning, and may be request smuggling.
        (f"{GOOD}Content-Length: 3", 400, ""),
        (f"{GOOD}Transfer-Encoding: chunked", 400, ""),
    ],
)
def test_a_head_is_passed_on_or_rejected(
    server: Server, context: ssl.SSLContext | None, request_: str, status: int, field: str
) -> None:
    head = response_to(server, request_.rstrip("\r\n"), "\r\n\r\n", context=context)
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert field in head


def test_a_head_may_arrive_in_pieces(server: Server, context: ssl.SSLContext | None) -> None:
    assert response_to(server, *f"{GOOD}\r\n", context=context).startswith("HTTP/1.1 101 ")


def test_frames_directly_after_the_head_are_not_lost(server: Server, context: ssl.SSLContext | None) -> None:
    with closing(connect(server, context)) as connection:
        connection.sendall(f"{GOOD}\r\n".encode() + b"\x81\x83\0\0\0\0tom" * 1000)
        with connection.makefile("rb") as stream:
            while stream.readline().strip():
                pass
            assert stream.read(4000) == b"\x81\x02ok" * 1000


@pytest.mark.parametrize(
    "burst",
    [
        pytest.param(b"\x81\xfe\x03\xe8\0\0\0\0" + b"x" * 1000, id="messages"),
        pytest.param(b"\x01\x83\0\0\0\0tom" + b"\0\x80\0\0\0\0" * 198 + b"\x80\x80\0\0\0\0", id="fragments"),
    ],
)
def test_every_message_of_a_burst_is_answered(server: Server, context: ssl.SSLContext | None, burst: bytes) -> None:
    with closing(connect(server, context)) as connection, connection.makefile("rb") as stream:
        connection.sendall(f"{GOOD}\r\n".encode())
        while stream.readline().strip():
            pass
        # All of it arrives at once, far more than the receive queue holds.
        os.kill(server.worker(), signal.SIGSTOP)
        connection.sendall(burst * 200)
        os.kill(server.worker(), signal.SIGCONT)
        assert stream.read(800) == b"\x81\x02ok" * 200


def test_an_incomplete_head_times_out(start: Start) -> None:
    server = start(HANDSHAKE_TIMEOUT="0.5")
    started = time.monotonic()
    with closing(connect(server)) as connection:
        connection.sendall(GOOD.encode())
        assert connection.recv(1) == b""
        assert time.monotonic() - started > 0.4
