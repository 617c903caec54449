"""Request smuggling: requests that a proxy and the backend could interpret differently are refused."""

import pytest
from client import UPGRADE, Target, exchange

UPGRADE_LINES = [f"{name}: {value}" for name, value in UPGRADE.items()]


@pytest.mark.parametrize(
    ("lines", "statuses"),
    [
        pytest.param(["Host: evil.example", *UPGRADE_LINES], {400, 421}, id="two hosts"),
        pytest.param([*UPGRADE_LINES, "Content-Length: 5"], {400}, id="a body"),
        pytest.param([*UPGRADE_LINES, "Transfer-Encoding: chunked"], {400}, id="a body in chunks"),
        pytest.param([*UPGRADE_LINES, "Content-Length: 0", "Content-Length: 5"], {400}, id="two lengths"),
        pytest.param([*UPGRADE_LINES, "Content-Length: 5", "Transfer-Encoding: chunked"], {400}, id="both"),
        pytest.param([*UPGRADE_LINES, "Transfer-Encoding: xchunked"], {400, 501}, id="an unknown coding"),
        pytest.param([*UPGRADE_LINES, "Content-Length: +5"], {400}, id="a length with a sign"),
        pytest.param([*UPGRADE_LINES, "Content-Length : 5"], {400}, id="a space before the colon"),
        # RFC 9112 section 5.2: refused, or unfolded to one line; never two headers.
        pytest.param([*UPGRADE_LINES, "X: 1", " Content-Length: 5"], {400, 101}, id="a folded line"),
        pytest.param([*UPGRADE_LINES, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], {400}, id="two keys"),
        pytest.param([*UPGRADE_LINES, "Sec-WebSocket-Version: 8"], {400, 426}, id="two versions"),
        pytest.param([*UPGRADE_LINES[1:], "Connection: Upgrad"], {426}, id="nearly an upgrade"),
        pytest.param(["Connection: Upgrade", "Upgrade: websocket2"], {426}, id="nearly a websocket"),
        pytest.param([*UPGRADE_LINES, f"X: {'x' * 20000}"], {400, 431}, id="a header of 20 KB"),
    ],
)
def test_an_ambiguous_request_is_refused(target: Target, lines: list[str], statuses: set[int]) -> None:
    with target.open_tls() as connection:
        request = [f"GET {target.path} HTTP/1.1", f"Host: {target.authority}", *lines]
        assert exchange(connection, request).status in statuses


@pytest.mark.parametrize(
    ("request_line", "statuses"),
    [
        pytest.param("GET {path} HTTP/1.0", {426}, id="HTTP/1.0"),
        pytest.param("TRACE {path} HTTP/1.1", {405}, id="TRACE"),
        pytest.param("POST {path} HTTP/1.1", {405}, id="POST"),
        pytest.param("GET {path}" + "x" * 20000 + " HTTP/1.1", {414, 431}, id="a path of 20 KB"),
        pytest.param("GET {path}/../wss HTTP/1.1 HTTP/1.1", {400}, id="two versions"),
        pytest.param("GET /%00{path} HTTP/1.1", {400, 404}, id="a zero byte"),
        pytest.param("GET /{path} HTTP/1.1", {404}, id="two slashes"),
        pytest.param("GET /%77ss HTTP/1.1", {404}, id="an escaped path"),
    ],
)
def test_an_unusual_request_line_is_refused(target: Target, request_line: str, statuses: set[int]) -> None:
    with target.open_tls() as connection:
        request = [request_line.format(path=target.path), f"Host: {target.authority}", *UPGRADE_LINES]
        assert exchange(connection, request).status in statuses
