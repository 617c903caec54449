"""A draining proxy: its clients are closed with 1012 in all workers, and no others."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property

import pytest
from raw import HANDSHAKE
from server import TIMEOUT, Server, Start

PROXY, OTHER = "127.0.0.2", "127.0.0.3"
CLIENTS = 8


class Via:
    """A connection from this address."""

    def __init__(self, server: Server, address: str, request: bytes, opened: ExitStack, *, wait: bool = True) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), TIMEOUT, (address, 0))
        opened.enter_context(self._socket)
        self._stream = opened.enter_context(self._socket.makefile("rb"))
        self._socket.sendall(request)
        if wait:
            assert self.status

    @cached_property
    def status(self) -> int:
        """The status of the response, whose head is read."""
        status = int(self._stream.readline().split()[1])
        while self._stream.readline() != b"\r\n":
            pass
        return status

    def close_code(self) -> int:
        assert self._stream.read(1) == b"\x88"
        size = self._stream.read(1)[0]
        return int.from_bytes(self._stream.read(size)[:2], "big")

    def receives(self, expected: bytes, message: bytes = b"\x81\x80\0\0\0\0") -> bool:
        """Whether this arrives after a message, by default an empty one."""
        self._socket.sendall(message)
        return self._stream.read(len(expected)) == expected


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def request(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


def test_the_clients_of_a_draining_proxy_are_closed_and_no_others(start: Start, opened: ExitStack) -> None:
    server = start(WORKERS="2", TRUSTED_PROXIES="127.0.0.0/8")
    server.wait_for("(serving)")
    clients, others = ([Via(server, address, HANDSHAKE, opened) for _ in range(CLIENTS)] for address in (PROXY, OTHER))
    assert Via(server, PROXY, request("/internal/proxy-draining"), opened).status == 200
    assert [client.close_code() for client in clients] == [1012] * CLIENTS
    assert all(other.receives(b"\x81\x02ok") for other in others)


def test_only_a_trusted_proxy_can_request_it(start: Start, opened: ExitStack) -> None:
    server = start(TRUSTED_PROXIES="10.0.0.0/8")
    client = Via(server, PROXY, HANDSHAKE, opened)
    assert Via(server, PROXY, request("/internal/proxy-draining"), opened).status == 404
    assert client.receives(b"\x81\x02ok")


def test_a_client_of_a_proxy_cannotrequest(start: Start, opened: ExitStack) -> None:
    server = start(TRUSTED_PROXIES="127.0.0.0/8", WS_PATHS="/wss,/internal/*")
    client = Via(server, PROXY, HANDSHAKE, opened)
    assert Via(server, PROXY, request("/internal/proxy-draining", "X-Real-IP: 192.0.2.7\r\n"), opened).status == 426
    assert client.receives(b"\x81\x02ok")
