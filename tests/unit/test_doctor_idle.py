"""The doctor with --idle: connections that are cut or closed, or stay open."""

import socket
import ssl
import time
from pathlib import Path

import pytest
from diagnosis import problem_of
from faulty_servers import TIMEOUT, echo, examine_port, running
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

pytestmark = pytest.mark.long


def test_an_idle_connection_that_is_lost_is_a_problem(server_context: ssl.SSLContext, ca_file: Path) -> None:
    def drop_if_idle(connection: ServerConnection) -> None:
        try:
            while True:
                connection.send(connection.recv(timeout=TIMEOUT))
        except (TimeoutError, ConnectionClosed):
            connection.socket.shutdown(socket.SHUT_RDWR)

    with running(drop_if_idle, server_context, ping_interval=None) as port:
        findings = examine_port(port, ca=ca_file, idle=30)
    assert problem_of(findings) == "idle-cut"
    assert "without traffic" in findings[-1].means


def test_an_idle_connection_that_the_server_closes_is_a_problem(server_context: ssl.SSLContext, ca_file: Path) -> None:
    def close_if_idle(connection: ServerConnection) -> None:
        try:
            while True:
                connection.send(connection.recv(timeout=TIMEOUT))
        except TimeoutError:
            connection.close(1012, "restart")
        except ConnectionClosed:
            pass

    with running(close_if_idle, server_context) as port:
        findings = examine_port(port, ca=ca_file, idle=30)
    assert problem_of(findings) == "idle-closed"
    assert "1012 (restart)" in findings[-1].saw


def test_an_idle_connection_that_stays_open_is_good(server_context: ssl.SSLContext, ca_file: Path) -> None:
    with running(echo, server_context, ping_interval=0.5) as port:
        started = time.monotonic()
        findings = examine_port(port, ca=ca_file, idle=2)
    assert time.monotonic() - started >= 2
    assert problem_of(findings) == ""
    assert "pings received" in findings[-1].saw
