"""The doctor, last steps: servers that speak the protocol, and do not do what one expects."""

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
from faulty import (
    NAME,
    PATIENCE,
    UPGRADED,
    close_with_1008,
    examine_port,
    in_turns,
    listen_on,
    pong,
    pong_and_break_the_protocol,
    pong_and_hang_up,
    pong_and_listen_on,
    serving,
    switching,
    write_bundle,
)
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve


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
    raise RuntimeError("the handler's fault")


def hang_up(connection: ServerConnection) -> None:
    connection.recv()
    connection.socket.shutdown(socket.SHUT_RDWR)


def refuse(code: int) -> Callable[[ServerConnection], None]:
    def handler(connection: ServerConnection) -> None:
        connection.recv()
        connection.close(code, "because")

    return handler


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("handler", "code"), [(fail, "message-1011"), (hang_up, "message-1006")])
def test_a_line_that_ends_at_a_message(
    context: ssl.SSLContext, ca_file: Path, handler: Callable[[ServerConnection], None], code: str
) -> None:
    with running(handler, context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == code


def test_no_pong(context: ssl.SSLContext, ca_file: Path) -> None:
    def mute(connection: socket.socket) -> None:
        switching(*UPGRADED)(connection)
        while connection.recv(65536):
            pass

    with serving(mute, context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "message-no-pong"


def test_a_long_message_that_keeps_a_server_busy(context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_turns(listen_on, pong_and_listen_on, listen_on), context) as port:
        assert "message-slow" in warnings_of(examine_port(port, ca=ca_file))


def test_frames_that_break_the_protocol(context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_turns(listen_on, pong_and_break_the_protocol), context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "message-violation"


def test_a_text_that_is_no_utf_8(context: ssl.SSLContext, ca_file: Path) -> None:
    def behave(connection: socket.socket) -> None:
        pong(connection)
        connection.sendall(b"\x81\x02\xff\xfe")
        listen_on(connection)

    with serving(in_turns(listen_on, behave), context) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == "message-violation"
    assert "no UTF-8" in findings[-1].saw


def test_frames_that_break_the_protocol_before_the_line_ends(context: ssl.SSLContext, ca_file: Path) -> None:
    def behave(connection: socket.socket) -> None:
        pong(connection)
        connection.sendall(b"\x81\x83\x00\x00\x00\x00tom")  # masked, as a client's
        connection.recv(65536)

    with serving(in_turns(listen_on, behave), context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "message-violation"


def test_a_close_frame_that_is_not_answered(context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_turns(listen_on, pong_and_hang_up), context) as port:
        assert "message-close" in warnings_of(examine_port(port, ca=ca_file, message=None))


def test_a_server_that_serves_one_connection_and_not_the_next(context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_turns(listen_on), context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "unsteady"


def test_a_limit_on_websockets(context: ssl.SSLContext, ca_file: Path) -> None:
    def only_one(_: ServerConnection, request: Request) -> Response | None:
        asked.append(request)
        return None if len(asked) == 1 else Response(429, "Too Many Requests", Headers())

    asked: list[Request] = []
    with running(echo, context, process_request=only_one) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "upgrade-429"


def test_a_handler_that_never_answers_may_be_right(context: ssl.SSLContext, ca_file: Path) -> None:
    with running(listen, context) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == ""
    assert {"message-no-reply-text", "message-no-reply-binary"} <= warnings_of(findings)


def test_a_limit_on_messages_is_told(context: ssl.SSLContext, ca_file: Path) -> None:
    with running(echo, context, max_size=1000) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == ""
    assert "message-1009" in warnings_of(findings)


@pytest.mark.parametrize("code", [1000, 1008, 4400])
def test_a_server_that_does_not_like_tom_is_not_ill(context: ssl.SSLContext, ca_file: Path, code: int) -> None:
    with running(refuse(code), context) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == ""
    assert f"message-{code}" in warnings_of(findings)
    assert any("because" in finding.saw for finding in findings)


def test_a_server_that_closes_before_anything_was_said_is(context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_turns(listen_on, close_with_1008), context) as port:
        findings = examine_port(port, ca=ca_file, message=None)
    assert problem_of(findings) == "message-1008"


def test_a_server_that_pushes_is_understood(context: ssl.SSLContext, ca_file: Path) -> None:
    def push(connection: ServerConnection) -> None:
        connection.send("welcome")
        echo(connection)

    with running(push, context, max_size=1000) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == ""
    assert "message-1009" in warnings_of(findings)


def test_no_message_is_sent_if_not_wanted(context: ssl.SSLContext, ca_file: Path) -> None:
    received: list[Any] = []

    def remember(connection: ServerConnection) -> None:
        received.extend(connection)

    with running(remember, context) as port:
        assert problem_of(examine_port(port, ca=ca_file, message=None)) == ""
    assert received == []


def test_a_line_that_is_cut_when_idle(context: ssl.SSLContext, ca_file: Path) -> None:
    def impatient(connection: ServerConnection) -> None:
        try:
            while True:
                connection.send(connection.recv(timeout=PATIENCE))
        except (TimeoutError, ConnectionClosed):
            connection.socket.shutdown(socket.SHUT_RDWR)

    with running(impatient, context, ping_interval=None) as port:
        findings = examine_port(port, ca=ca_file, idle=30)
    assert problem_of(findings) == "idle-cut"
    assert "without traffic" in findings[-1].means


def test_a_line_that_the_server_closes_when_idle(context: ssl.SSLContext, ca_file: Path) -> None:
    def restart(connection: ServerConnection) -> None:
        try:
            while True:
                connection.send(connection.recv(timeout=PATIENCE))
        except TimeoutError:
            connection.close(1012, "restart")
        except ConnectionClosed:
            pass

    with running(restart, context) as port:
        findings = examine_port(port, ca=ca_file, idle=30)
    assert problem_of(findings) == "idle-closed"
    assert "1012 (restart)" in findings[-1].saw


def test_a_line_that_holds(context: ssl.SSLContext, ca_file: Path) -> None:
    with running(echo, context, ping_interval=0.5) as port:
        started = time.monotonic()
        findings = examine_port(port, ca=ca_file, idle=2)
    assert time.monotonic() - started >= 2
    assert problem_of(findings) == ""
    assert "pings came" in findings[-1].saw
