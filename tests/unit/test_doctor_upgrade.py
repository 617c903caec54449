"""The doctor's sixth check: each answer that does not open a WebSocket."""

import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from diagnosis import problem_of, warnings_of
from faulty_servers import NAME, UPGRADE_HEADERS, answering, examine_port, read_head, serving, switching, write_bundle

from doctor.finding import Finding

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def diagnose(ca: trustme.CA, tmp_path: Path) -> Callable[..., list[Finding]]:
    """Return a function: the findings for a server with valid TLS that behaves as given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(NAME).configure_cert(context)
    ca_file = write_bundle(tmp_path / "ca.pem", ca.cert_pem.bytes())

    def diagnose(behave: Callable[[socket.socket], None], **options: Any) -> list[Finding]:
        with serving(behave, context) as port:
            return examine_port(port, ca=ca_file, **options)

    return diagnose


@pytest.mark.parametrize(
    "status", [200, 400, 401, 403, 404, 405, 418, 421, 426, 429, 431, 500, 502, 503, 504, 521, 599]
)
def test_a_status_other_than_101_is_a_problem(diagnose: Callable[..., list[Finding]], status: int) -> None:
    findings = diagnose(answering(f"{status} Words"))
    assert problem_of(findings) == f"upgrade-{status}"
    assert findings[-1].means
    assert findings[-1].remedy


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_target_of_a_redirect_is_reported(diagnose: Callable[..., list[Finding]], status: int) -> None:
    findings = diagnose(answering(f"{status} Words", "Location: https://www.wss.example/wss"))
    assert problem_of(findings) == f"upgrade-{status}"
    assert "https://www.wss.example/wss" in findings[-1].saw


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        ("404 Not Found", ("Server: nginx", "Server: uvicorn"), "from nginx, uvicorn"),
        ("302 Found", ("Location: /a", "Location: /b"), "to /a, /b"),
        ("403 Forbidden", ("Content-Type: text/plain", "Content-Type: text/html"), "403 Forbidden"),
        ("404 Not Found", ("Server: a\x07b",), "from a?b"),
    ],
)
def test_repeated_headers_and_control_characters_are_reported_readably(
    diagnose: Callable[..., list[Finding]], status: str, fields: tuple[str, ...], expected: str
) -> None:
    findings = diagnose(answering(status, *fields))
    assert problem_of(findings) == f"upgrade-{status[:3]}"
    assert expected in findings[-1].saw


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n", "upgrade-malformed"),
        (b"HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "upgrade-malformed"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "upgrade-no-http"),  # SETTINGS of HTTP/2
    ],
)
def test_a_malformed_answer_on_a_connection_that_stays_open_is_a_problem(
    diagnose: Callable[..., list[Finding]], answer: bytes, problem: str
) -> None:
    def behave(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(answer)
        connection.recv(65536)

    assert problem_of(diagnose(behave)) == problem


def test_a_403_with_an_origin_is_about_the_origin(diagnose: Callable[..., list[Finding]]) -> None:
    findings = diagnose(answering("403 Forbidden"), origin="https://page.example")
    assert problem_of(findings) == "upgrade-403"
    assert "ORIGINS" in findings[-1].remedy
    assert "https://page.example" in findings[-1].saw


@pytest.mark.parametrize(
    "answer",
    [
        answering("403 Forbidden", "Content-Type: text/plain", body="A client certificate is needed here."),
        answering("400 Bad Request", "Content-Type: text/html", body="<h1>No required SSL certificate was sent</h1>"),
    ],
)
def test_a_client_certificate_that_http_requires_is_reported(
    diagnose: Callable[..., list[Finding]], answer: Callable[[socket.socket], None]
) -> None:
    assert problem_of(diagnose(answer)) == "client-certificate"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 503 Service Unavailable\r\n\r\n",
        b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Words\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 503 Words\r\nContent-Type: text/event-stream\r\n\r\n",  # never ends
    ],
)
def test_an_imperfect_answer_still_reports_its_status(diagnose: Callable[..., list[Finding]], head: bytes) -> None:
    def behave(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(head)
        connection.recv(65536)

    assert problem_of(diagnose(behave)) == "upgrade-503"


def test_a_page_at_the_root_means_that_the_url_has_no_path(diagnose: Callable[..., list[Finding]]) -> None:
    findings = diagnose(answering("200 OK"), path="")
    assert problem_of(findings) == "upgrade-200"
    assert findings[-1].remedy.endswith("/wss")


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        (switching(*UPGRADE_HEADERS, accept="d3Jvbmc="), "upgrade-accept"),
        (switching("Connection: Upgrade"), "upgrade-headers"),
        (switching("Upgrade: websocket"), "upgrade-headers"),
        (switching(*UPGRADE_HEADERS, "Sec-WebSocket-Protocol: mine"), "upgrade-negotiation"),
        (switching(*UPGRADE_HEADERS, "Sec-WebSocket-Extensions: permessage-deflate"), "upgrade-negotiation"),
        (lambda connection: connection.recv(65536) and connection.recv(65536), "upgrade-silent"),
        (lambda connection: read_head(connection) and None, "upgrade-cut"),
        (
            lambda connection: read_head(connection) and connection.sendall(b"220 mail.example ESMTP\r\n"),
            "upgrade-no-http",
        ),
    ],
)
def test_a_failed_handshake_is_a_problem(
    diagnose: Callable[..., list[Finding]], behave: Callable[[socket.socket], None], code: str
) -> None:
    assert problem_of(diagnose(behave)) == code


def test_a_subprotocol_that_the_server_does_not_choose_is_a_warning(diagnose: Callable[..., list[Finding]]) -> None:
    assert "upgrade-subprotocol" in warnings_of(diagnose(switching(*UPGRADE_HEADERS), subprotocols=("chat",)))


def test_headers_and_origin_are_sent(diagnose: Callable[..., list[Finding]]) -> None:
    heads: list[bytes] = []
    diagnose(
        switching(*UPGRADE_HEADERS, heads=heads),
        origin="https://page.example",
        headers=(("Cookie", "a=b"), ("Host", "other.example")),
    )
    head = heads[0].decode()
    assert "Origin: https://page.example\r\n" in head
    assert "Cookie: a=b\r\n" in head
    assert re.findall("Host: (.*)\r\n", head) == ["other.example"]
