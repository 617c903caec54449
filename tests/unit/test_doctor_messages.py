"""The doctor with --messages or --message: applications that close, do not reply, or violate the protocol."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from diagnosis import problem_of, warnings_of
from faulty_servers import echo, examine_port, in_sequence, pong_and_close, read_all, running, serving
from websockets.sync.server import ServerConnection

pytestmark = pytest.mark.long


def listen(connection: ServerConnection) -> None:
    for _ in connection:
        pass


def fail(connection: ServerConnection) -> None:
    connection.recv()
    raise RuntimeError("the handler fails")


def drop(connection: ServerConnection) -> None:
    connection.recv()
    connection.socket.shutdown(socket.SHUT_RDWR)


def accept_text_only(connection: ServerConnection) -> None:
    for message in connection:
        assert isinstance(message, str)
        connection.send(message)


def refuse(code: int) -> Callable[[ServerConnection], None]:
    def handler(connection: ServerConnection) -> None:
        connection.recv()
        connection.close(code, "because")

    return handler


ignore_failing_handlers = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@ignore_failing_handlers
@pytest.mark.parametrize(("handler", "code"), [(fail, "message-1011"), (drop, "message-1006")])
def test_a_failure_after_a_message_of_the_user_is_a_problem(
    server_context: ssl.SSLContext, ca_file: Path, handler: Callable[[ServerConnection], None], code: str
) -> None:
    with running(handler, server_context) as port:
        assert problem_of(examine_port(port, ca=ca_file, message="hello")) == code


@ignore_failing_handlers
@pytest.mark.parametrize(
    ("handler", "code"), [(fail, "message-1011"), (drop, "message-1006"), (accept_text_only, "message-1011")]
)
def test_a_failure_after_a_message_of_the_doctor_is_only_a_warning(
    server_context: ssl.SSLContext, ca_file: Path, handler: Callable[[ServerConnection], None], code: str
) -> None:
    """The application does not know these messages."""
    with running(handler, server_context) as port:
        findings = examine_port(port, ca=ca_file, messages=True)
    assert problem_of(findings) == ""
    assert code in warnings_of(findings)


def test_a_long_message_that_keeps_the_server_busy_is_a_warning(server_context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_sequence(read_all, pong_and_close, read_all, read_all, read_all), server_context) as port:
        assert "message-slow" in warnings_of(examine_port(port, ca=ca_file, messages=True))


def test_an_invalid_reply_is_a_problem(server_context: ssl.SSLContext, ca_file: Path) -> None:
    def reply(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"\xc1\x02hi")  # RSV1 without an extension
        read_all(connection)

    with serving(in_sequence(read_all, pong_and_close, reply), server_context) as port:
        assert problem_of(examine_port(port, ca=ca_file, messages=True)) == "violation"


def test_a_handler_that_never_replies_is_only_a_warning(server_context: ssl.SSLContext, ca_file: Path) -> None:
    with running(listen, server_context) as port:
        findings = examine_port(port, ca=ca_file, messages=True)
    assert problem_of(findings) == ""
    assert {"message-no-reply-text", "message-no-reply-binary"} <= warnings_of(findings)


def test_a_limit_on_message_size_is_a_warning(server_context: ssl.SSLContext, ca_file: Path) -> None:
    with running(echo, server_context, max_size=1000) as port:
        findings = examine_port(port, ca=ca_file, messages=True)
    assert problem_of(findings) == ""
    assert "message-1009" in warnings_of(findings)


@pytest.mark.parametrize("code", [1000, 1008, 4400])
def test_a_server_that_rejects_the_message_is_only_a_warning(
    server_context: ssl.SSLContext, ca_file: Path, code: int
) -> None:
    with running(refuse(code), server_context) as port:
        findings = examine_port(port, ca=ca_file, messages=True)
    assert problem_of(findings) == ""
    assert f"message-{code}" in warnings_of(findings)
    assert any("because" in finding.saw for finding in findings)


def test_a_message_that_the_server_pushes_is_not_taken_for_the_reply(
    server_context: ssl.SSLContext, ca_file: Path
) -> None:
    def push(connection: ServerConnection) -> None:
        connection.send("welcome")
        echo(connection)

    with running(push, server_context, max_size=1000) as port:
        findings = examine_port(port, ca=ca_file, messages=True)
    assert problem_of(findings) == ""
    assert "message-1009" in warnings_of(findings)
