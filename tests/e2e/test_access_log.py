"""The proxies log each request as one line of JSON: no client input breaks it, and it contains no tokens."""

import http.client
import json
import secrets
import time
from contextlib import suppress
from typing import Any

import pytest
from client import UPGRADE, Target, http_request
from eventually import eventually
from fixtures import Connect
from stack import Stack

pytestmark = pytest.mark.profiles("nginx", "apache")


def _logged(stack: Stack, path: str) -> dict[str, Any]:
    """Return the line of the only request with this path."""

    def lines() -> list[dict[str, Any]]:
        access = [line for line in stack.logs(stack.profile).splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, access) if line["path"] == path]

    (line,) = eventually(lines, f"{path} is logged")
    return line


@pytest.mark.parametrize("value", ['a"b', "back\\slash", "tab\there", "caf\xe9", "\x01\x02"])
def test_a_client_cannot_break_a_log_line(stack: Stack, target: Target, value: str) -> None:
    path = f"/{secrets.token_hex(8)}"
    response = http_request(target, path=path, headers={"User-Agent": value})
    # Refused as malformed, or logged like any other request.
    assert response.status in (400, 404)
    if response.status == 404:
        assert _logged(stack, path)["status"] == 404


def test_no_byte_in_any_header_breaks_a_log_line(stack: Stack, target: Target) -> None:
    mark = secrets.token_hex(8)
    values = ["".join(map(chr, range(start, start + 16))) for start in range(0, 256, 16)]
    fields = ["User-Agent", "Referer", "Cookie", "Upgrade", "Connection", "Origin", "X-Request-ID", "Sec-WebSocket-Key"]
    for value in values:
        for field in fields:
            # If the field is not valid, the server may close the connection without a response.
            with suppress(OSError, http.client.HTTPException, UnicodeDecodeError):
                http_request(target, path=f"/{mark}", headers={field: f"{mark}{value}"})
        with suppress(OSError, http.client.HTTPException, UnicodeDecodeError):
            http_request(target, path=f"/{mark}{value}")
    lines = stack.container().logs(stderr=False).splitlines()
    marked = [line for line in lines if mark.encode() in line]
    assert len(marked) > len(fields)
    # Every line is valid UTF-8 and valid JSON.
    assert all(isinstance(json.loads(line.decode()), dict) for line in lines)


def test_both_proxies_log_the_same_keys(stack: Stack, target: Target) -> None:
    path = f"/{secrets.token_hex(8)}"
    http_request(target, path=path)
    assert list(_logged(stack, path)) == [
        *("time", "id", "client", "host", "method", "path", "protocol", "status", "seconds", "bytes_out"),
        *("bytes_in", "tls", "cipher", "group", "upstream", "upstream_status", "agent"),
    ]


def test_a_token_in_the_query_is_not_logged(stack: Stack, target: Target) -> None:
    path, token = f"/{secrets.token_hex(8)}", secrets.token_hex(8)
    http_request(target, path=f"{path}?token={token}", headers=UPGRADE)
    assert _logged(stack, path)["status"] == 404
    assert token not in stack.logs()


def test_a_websocket_is_logged_when_it_closes(stack: Stack, target: Target, connect: Connect) -> None:
    agent, started = secrets.token_hex(8), time.monotonic()
    ws = connect(target, header={"User-Agent": agent})
    ws.send("tom")
    assert ws.recv() == "ok"
    assert agent not in stack.logs(stack.profile)
    ws.close()

    def line() -> dict[str, Any] | None:
        lines = [line for line in stack.logs(stack.profile).splitlines() if agent in line]
        return json.loads(lines[0]) if lines else None

    logged = eventually(line, "the websocket is logged")
    assert (logged["path"], logged["status"]) == ("/wss", 101)
    assert logged["client"] == stack.gateway
    assert (logged["tls"], logged["upstream_status"]) == ("TLSv1.3", "101")
    assert logged["cipher"].startswith("TLS_")
    networks = stack.container("backend").attrs["NetworkSettings"]["Networks"]
    assert logged["upstream"] == f"{networks[f'{stack.project}_inner']['IPAddress']}:8282"
    assert logged["bytes_in"] > 0
    assert logged["bytes_out"] > 0

    # The backend logs the same connection with the same id.
    closed = json.loads(stack.wait_for_log("backend", f'"{logged["id"]}"'))
    assert (closed["event"], closed["client"], closed["messages_in"]) == ("closed", logged["client"], 1)
    # What both log has one type and one unit.
    for key in closed.keys() & logged.keys():
        assert isinstance(closed[key], str) == isinstance(logged[key], str), key
    # Not longer than this test: both are in seconds, rounded to milliseconds.
    elapsed = time.monotonic() - started + 0.001
    assert 0 <= closed["seconds"] <= elapsed
    assert 0 <= logged["seconds"] <= elapsed
