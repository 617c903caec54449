"""Clients that open a connection and then take their time: bounded, while others are served."""

import contextlib
import socket
import ssl

from client import Target
from eventually import LIMIT
from load import Steady
from promise import promise
from stack import Stack

SLOW = 50  # clients of each kind
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


KINDS = {
    "nginx": [_silent, _half_a_hello, _no_request, _half_a_head],
    # Who says nothing at all costs httpd nothing: the kernel keeps it (AcceptFilter, TCP_DEFER_ACCEPT) for a minute.
    "apache": [_half_a_hello, _no_request, _half_a_head],
    "direct": [_silent, _half_a_hello, _no_request, _half_a_head],
}


def test_slow_clients_are_not_waited_for_and_hold_up_nobody(stack: Stack, target: Target) -> None:
    with contextlib.ExitStack() as opened, Steady(target) as steady:
        slow = [opened.enter_context(kind(target)) for kind in KINDS[stack.profile] for _ in range(SLOW)]
        with promise(PATIENCE + 10, "slow clients are closed"):
            for connection in slow:
                connection.settimeout(LIMIT)
                _wait_until_closed(connection)
        assert steady.count > 20
    assert steady.failures == []


def _wait_until_closed(connection: socket.socket) -> None:
    """Return when the server has hung up."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while connection.recv(4096):
            pass
