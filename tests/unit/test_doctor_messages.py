"""The doctor's last checks: WebSocket servers that close, do not answer, or violate the protocol."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from diagnosis import problem_of, warnings_of
from faulty_servers import (
    NAME,
    TIMEOUT,
    UPGRADE_HEADERS,
    close_with_1008,
    examine_port,
    in_sequence,
    pong,
    pong_and_close,
    pong_and_read_all,
    pong_and_set_rsv1,
    read_all,
    serving,
    switching,
    write_bundle,
)
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(NAME).configure_cert(context)
    return context


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "ca.pem", ca.cert_pem.bytes())


@contextmanager
def running(handler: Callable[[ServerConnection], None], context: ssl.SSLContext, **options: Any) -> Iterator[int]:
    with serve(handler, "127.0.0.1", 0, ssl=context, **options) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]
        server.shutdown()


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def listen(connection: ServerConnection) -> None:
    for _ in connection:
        pass


def fail(connection: ServerConnection) -> None:
    connection.recv()
    raise RuntimeError("the handler fails")


def drop(connection: ServerConnection) -> None:
    connection.recv()
    connection.socket.shutdown(socket.SHUT_RDWR)


def refuse(code: int) -> Callable[[ServerConnection], None]:
    def handler(connection: ServerConnection) -> None:
        connection.recv()
        connection.close(code, "because")

    return handler


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("handler", "code"), [(fail, "message-1011"), (drop, "message-1006")])
def test_a_close_after_a_message_is_a_problem(
    context: ssl.SSLContext, ca_file: Path, handler: Callable[[ServerConnection], None], code: str
) -> None:
    with running(handler, context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == code


def test_a_server_that_does_not_answer_pings_is_a_problem(context: ssl.SSLContext, ca_file: Path) -> None:
    def ignore_pings(connection: socket.socket) -> None:
        switching(*UPGRADE_HEADERS)(connection)
        while connection.recv(65536):
            pass

    with serving(ignore_pings, context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "message-no-pong"


def test_a_long_message_that_keeps_the_server_busy_is_a_warning(context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_sequence(read_all, pong_and_read_all, read_all), context) as port:
        assert "message-slow" in warnings_of(examine_port(port, ca=ca_file))


def test_an_invalid_frame_is_a_problem(context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_sequence(read_all, pong_and_set_rsv1), context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "message-violation"


def test_text_that_is_not_valid_utf_8_is_a_problem(context: ssl.SSLContext, ca_file: Path) -> None:
    def behave(connection: socket.socket) -> None:
        pong(connection)
        connection.sendall(b"\x81\x02\xff\xfe")
        read_all(connection)

    with serving(in_sequence(read_all, behave), context) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == "message-violation"
    assert "not valid UTF-8" in findings[-1].saw


def test_an_invalid_frame_before_an_abnormal_closure_is_the_problem(context: ssl.SSLContext, ca_file: Path) -> None:
    def behave(connection: socket.socket) -> None:
        pong(connection)
        connection.sendall(b"\x81\x83\x00\x00\x00\x00tom")  # masked, as only a client may
        connection.recv(65536)

    with serving(in_sequence(read_all, behave), context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "message-violation"


def test_a_close_frame_without_an_answer_is_a_warning(context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_sequence(read_all, pong_and_close), context) as port:
        assert "message-close" in warnings_of(examine_port(port, ca=ca_file, message=None))


def test_a_server_that_serves_one_connection_but_not_the_next_is_unsteady(
    context: ssl.SSLContext, ca_file: Path
) -> None:
    with serving(in_sequence(read_all), context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "unsteady"


def test_a_limit_on_connections_is_a_problem(context: ssl.SSLContext, ca_file: Path) -> None:
    def only_one(_: ServerConnection, request: Request) -> Response | None:
        requests.append(request)
        return None if len(requests) == 1 else Response(429, "Too Many Requests", Headers())

    requests: list[Request] = []
    with running(echo, context, process_request=only_one) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "upgrade-429"


def test_a_handler_that_never_replies_is_only_a_warning(context: ssl.SSLContext, ca_file: Path) -> None:
    with running(listen, context) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == ""
    assert {"message-no-reply-text", "message-no-reply-binary"} <= warnings_of(findings)


def test_a_limit_on_message_size_is_a_warning(context: ssl.SSLContext, ca_file: Path) -> None:
    with running(echo, context, max_size=1000) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == ""
    assert "message-1009" in warnings_of(findings)


@pytest.mark.parametrize("code", [1000, 1008, 4400])
def test_a_server_that_rejects_the_message_is_only_a_warning(context: ssl.SSLContext, ca_file: Path, code: int) -> None:
    with running(refuse(code), context) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == ""
    assert f"message-{code}" in warnings_of(findings)
    assert any("because" in finding.saw for finding in findings)


def test_a_server_that_closes_before_any_message_is_a_problem(context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_sequence(read_all, close_with_1008), context) as port:
        findings = examine_port(port, ca=ca_file, message=None)
    assert problem_of(findings) == "message-1008"


def test_a_message_that_the_server_pushes_is_not_taken_for_the_reply(context: ssl.SSLContext, ca_file: Path) -> None:
    def push(connection: ServerConnection) -> None:
        connection.send("welcome")
        echo(connection)

    with running(push, context, max_size=1000) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == ""
    assert "message-1009" in warnings_of(findings)


def test_no_message_is_sent_with_no_messages(context: ssl.SSLContext, ca_file: Path) -> None:
    received: list[Any] = []

    def record(connection: ServerConnection) -> None:
        received.extend(connection)

    with running(record, context) as port:
        assert problem_of(examine_port(port, ca=ca_file, message=None)) == ""
    assert received == []


def test_an_idle_connection_that_is_lost_is_a_problem(context: ssl.SSLContext, ca_file: Path) -> None:
    def drop_if_idle(connection: ServerConnection) -> None:
        try:
            while True:
                connection.send(connection.recv(timeout=TIMEOUT))
        except (TimeoutError, ConnectionClosed):
            connection.socket.shutdown(socket.SHUT_RDWR)

    with running(drop_if_idle, context, ping_interval=None) as port:
        findings = examine_port(port, ca=ca_file, idle=30)
    assert problem_of(findings) == "idle-cut"
    assert "without traffic" in findings[-1].means


def test_an_idle_connection_that_the_server_closes_is_a_problem(context: ssl.SSLContext, ca_file: Path) -> None:
    def close_if_idle(connection: ServerConnection) -> None:
        try:
            while True:
                connection.send(connection.recv(timeout=TIMEOUT))
        except TimeoutError:
            connection.close(1012, "restart")
        except ConnectionClosed:
            pass

    with running(close_if_idle, context) as port:
        findings = examine_port(port, ca=ca_file, idle=30)
    assert problem_of(findings) == "idle-closed"
    assert "1012 (restart)" in findings[-1].saw


def test_an_idle_connection_that_stays_open_is_good(context: ssl.SSLContext, ca_file: Path) -> None:
    with running(echo, context, ping_interval=0.5) as port:
        started = time.monotonic()
        findings = examine_port(port, ca=ca_file, idle=2)
    assert time.monotonic() - started >= 2
    assert problem_of(findings) == ""
    assert "pings received" in findings[-1].saw
