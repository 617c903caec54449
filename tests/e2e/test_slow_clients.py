"""Clients that open a connection and then take their time: bounded, while others are served."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable

import pytest
from client import Target
from load import Steady

SLOW = 100  # clients at a time
PATIENCE = 10  # seconds for TLS, and again for the head: HANDSHAKE_TIMEOUT, client_header_timeout, RequestReadTimeout


def _silent(target: Target) -> socket.socket:
    return target.open_tcp()


def _half_a_hello(target: Target) -> socket.socket:
    connection = target.open_tcp()
    connection.sendall(bytes.fromhex("1603010200010001fc0303"))
    return connection


def _no_request(target: Target) -> socket.socket:
    return target.open_tls()


def _half_a_head(target: Target) -> socket.socket:
    connection = target.open_tls()
    connection.sendall(f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n".encode())
    return connection


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("open_slowly", [_silent, _half_a_hello, _no_request, _half_a_head])
def test_a_slow_client_is_not_waited_for_and_holds_up_nobody(
    target: Target, open_slowly: Callable[[Target], socket.socket]
) -> None:
    with contextlib.ExitStack() as opened, Steady(target) as steady:
        slow = [opened.enter_context(open_slowly(target)) for _ in range(SLOW)]
        started = time.monotonic()
        for connection in slow:
            connection.settimeout(PATIENCE + 10)
            _drip_until_closed(connection)
        assert time.monotonic() - started < PATIENCE + 10
        assert steady.count > 20
    assert steady.failures == []


def _drip_until_closed(connection: socket.socket) -> None:
    """Return when the server has hung up."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while connection.recv(4096):
            pass
