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
from faulty import NAME, examine_port, problem_of, serving, warnings_of, write_bundle
from test_doctor_upgrade import UPGRADED, switching
from websockets.exceptions import ConnectionClosed
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
@pytest.mark.parametrize(
    ("handler", "code"), [(fail, "message-1011"), (hang_up, "message-1006"), (refuse(4000), "message-4000")]
)
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


def test_a_close_frame_that_is_not_answered(context: ssl.SSLContext, ca_file: Path) -> None:
    def rude(connection: socket.socket) -> None:
        switching(*UPGRADED, wait=False)(connection)
        ping = connection.recv(65536)
        mask, data = ping[2:6], ping[6:14]
        connection.sendall(b"\x8a\x08" + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)))
        connection.recv(65536)

    with serving(rude, context) as port:
        assert "message-close" in warnings_of(examine_port(port, ca=ca_file, message=None))


def test_a_server_that_serves_one_connection_and_not_the_next(context: ssl.SSLContext, ca_file: Path) -> None:
    heads: list[bytes] = []

    def moody(connection: socket.socket) -> None:
        if not heads:
            switching(*UPGRADED, heads=heads)(connection)

    with serving(moody, context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "unsteady"


def test_a_handler_that_never_answers_may_be_right(context: ssl.SSLContext, ca_file: Path) -> None:
    with running(listen, context) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == ""
    assert {"message-no-reply-text", "message-no-reply-binary", "message-no-reply-long"} <= warnings_of(findings)


def test_a_limit_on_messages_is_told(context: ssl.SSLContext, ca_file: Path) -> None:
    with running(echo, context, max_size=1000) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == ""
    assert "message-1009" in warnings_of(findings)


def test_a_policy_is_told(context: ssl.SSLContext, ca_file: Path) -> None:
    with running(refuse(1008), context) as port:
        findings = examine_port(port, ca=ca_file)
    assert "message-1008" in warnings_of(findings)
    assert any("because" in finding.saw for finding in findings)


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
                connection.send(connection.recv(timeout=1))
        except (TimeoutError, ConnectionClosed):
            connection.socket.shutdown(socket.SHUT_RDWR)

    with running(impatient, context, ping_interval=None) as port:
        findings = examine_port(port, ca=ca_file, idle=30)
    assert problem_of(findings) == "idle-cut"
    assert findings[-1].saw.startswith("cut after 1 s (1006)")


def test_a_line_that_holds(context: ssl.SSLContext, ca_file: Path) -> None:
    with running(echo, context, ping_interval=0.5) as port:
        started = time.monotonic()
        findings = examine_port(port, ca=ca_file, idle=2)
    assert time.monotonic() - started >= 2
    assert problem_of(findings) == ""
    assert "the server pinged" in findings[-1].saw
