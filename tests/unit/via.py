"""A server's connections from several addresses of this machine, such as those of a proxy."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property

import pytest
from server import TIMEOUT, Server

__all__ = ("OTHER", "PROXY", "Via", "opened", "request")

PROXY, OTHER = "127.0.0.2", "127.0.0.3"


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
