"""Clients that do not finish the handshake: they are closed after a timeout, and other clients are served."""

import contextlib
import socket
import ssl

from client import Target
from eventually import LIMIT
from load import ConnectionLoad
from stack import Stack
from time_limit import time_limit

CLIENTS = 50  # of each kind
# Seconds for TLS, and again for the request head: HANDSHAKE_TIMEOUT, client_header_timeout, RequestReadTimeout.
HANDSHAKE_TIMEOUT = 10


def _no_data(target: Target) -> socket.socket:
    return target.open_tcp()


def _incomplete_client_hello(target: Target) -> socket.socket:
    connection = target.open_tcp()
    connection.sendall(bytes.fromhex("1603010200010001fc0303"))
    return connection


def _no_request(target: Target) -> socket.socket:
    return target.open_tls()


def _incomplete_head(target: Target) -> socket.socket:
    connection = target.open_tls()
    connection.sendall(f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n".encode())
    return connection


KINDS = {
    "nginx": [_no_data, _incomplete_client_hello, _no_request, _incomplete_head],
    # A connection without data stays in the kernel for a minute before httpd gets it (AcceptFilter, TCP_DEFER_ACCEPT).
    "apache": [_incomplete_client_hello, _no_request, _incomplete_head],
    "direct": [_no_data, _incomplete_client_hello, _no_request, _incomplete_head],
}


def test_slow_clients_are_closed_and_do_not_delay_others(stack: Stack, target: Target) -> None:
    with contextlib.ExitStack() as opened, ConnectionLoad(target) as load:
        slow = [opened.enter_context(kind(target)) for kind in KINDS[stack.profile] for _ in range(CLIENTS)]
        with time_limit(HANDSHAKE_TIMEOUT + 10, "closing slow clients"):
            for connection in slow:
                connection.settimeout(LIMIT)
                _wait_until_closed(connection)
        assert load.attempts > 20
    assert load.failures == []


def _wait_until_closed(connection: socket.socket) -> None:
    """Wait until the server has closed the connection."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while connection.recv(4096):
            pass
