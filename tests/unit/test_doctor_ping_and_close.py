"""The doctor without --messages: it sends pings and close frames, and the application receives nothing."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diagnosis import problem_of, warnings_of
from faulty_servers import (
    UPGRADE_HEADERS,
    close_with_1008,
    echo,
    examine_port,
    in_sequence,
    pong,
    pong_and_close,
    read_all,
    running,
    serving,
    switching,
)
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"idle": 1, "subprotocols": ("chat",)}, []),
        ({"message": "hello"}, ["hello"]),
        ({"messages": True}, ["tom", b"\x00\x01\xff", 1 << 20]),
        ({"messages": True, "message": "hello"}, ["hello", b"\x00\x01\xff", 1 << 20]),
    ],
)
def test_the_application_receives_only_messages_that_the_user_requests(
    server_context: ssl.SSLContext, ca_file: Path, options: dict[str, Any], expected: list[Any]
) -> None:
    received: list[Any] = []

    def record(connection: ServerConnection) -> None:
        for message in connection:
            received.append(message if len(message) < 100 else len(message))
            connection.send(message)

    with running(record, server_context) as port:
        assert problem_of(examine_port(port, ca=ca_file, **options)) == ""
    assert received == expected


def test_a_server_that_does_not_answer_pings_is_a_problem(server_context: ssl.SSLContext, ca_file: Path) -> None:
    def ignore_pings(connection: socket.socket) -> None:
        switching(*UPGRADE_HEADERS)(connection)
        while connection.recv(65536):
            pass

    with serving(ignore_pings, server_context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "ping-no-pong"


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"\xc1\x02hi", "reserved bits"),  # RSV1 without an extension
        (b"\x81\x83\x00\x00\x00\x00tom", "incorrect masking"),  # only a client may mask
        (b"\x81\x02\xff\xfe", "not valid UTF-8"),
    ],
)
@pytest.mark.parametrize("then", [read_all, lambda connection: connection.recv(65536)])
def test_an_invalid_frame_is_a_problem(
    server_context: ssl.SSLContext, ca_file: Path, frame: bytes, words: str, then: Callable[[socket.socket], object]
) -> None:
    def behave(connection: socket.socket) -> None:
        pong(connection)
        connection.sendall(frame)
        then(connection)

    with serving(in_sequence(read_all, behave), server_context) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == "violation"
    assert words in findings[-1].saw


def test_a_close_frame_without_an_answer_is_a_warning(server_context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_sequence(read_all, pong_and_close), server_context) as port:
        assert "close-no-answer" in warnings_of(examine_port(port, ca=ca_file))


def test_a_server_that_closes_before_any_message_is_a_problem(server_context: ssl.SSLContext, ca_file: Path) -> None:
    with serving(in_sequence(read_all, close_with_1008), server_context) as port:
        findings = examine_port(port, ca=ca_file)
    assert problem_of(findings) == "close-1008"


def test_a_server_that_serves_one_connection_but_not_the_next_is_unsteady(
    server_context: ssl.SSLContext, ca_file: Path
) -> None:
    with serving(in_sequence(read_all), server_context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "unsteady"


def test_a_limit_on_connections_is_a_problem(server_context: ssl.SSLContext, ca_file: Path) -> None:
    def only_one(_: ServerConnection, request: Request) -> Response | None:
        requests.append(request)
        return None if len(requests) == 1 else Response(429, "Too Many Requests", Headers())

    requests: list[Request] = []
    with running(echo, server_context, process_request=only_one) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "upgrade-429"
