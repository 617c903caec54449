"""Rows 4a, 5, 7 and 8 of the contract: requests that must not become a websocket, each with a helpful response."""

import pytest
import websocket
from client import TIMEOUT, UPGRADE, Response, Target, exchange, http_request
from eventually import eventually
from fixtures import Connect
from stack import ALLOWED_ORIGIN, COVERED_BUT_FOREIGN, WITHOUT_SERVER_NAME, Stack


def test_a_get_without_upgrade_gets_426(target: Target) -> None:
    _assert_upgrade_required(http_request(target))


@pytest.mark.parametrize(
    "headers",
    [
        # A proxy without WebSocket settings changes a valid request to this.
        pytest.param({**UPGRADE, "Connection": "close"}, id="Connection without upgrade"),
        # If the proxy forwarded it, a client could smuggle requests past the proxy.
        pytest.param({**UPGRADE, "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}, id="Upgrade to h2c"),
        # RFC 6455 section 4.4. Node's ws accepts version 8; other servers answer 400.
        pytest.param({**UPGRADE, "Sec-WebSocket-Version": "8"}, id="version 8", marks=pytest.mark.own_backend),
        pytest.param({**UPGRADE, "Sec-WebSocket-Version": "13, 8"}, id="two versions", marks=pytest.mark.own_backend),
    ],
)
def test_an_upgrade_to_another_protocol_or_version_gets_426(target: Target, headers: dict[str, str]) -> None:
    _assert_upgrade_required(http_request(target, headers=headers))


@pytest.mark.parametrize("key", ["", "dG9t", "not base64 at all!!"], ids=["empty", "too short", "not base64"])
def test_a_bad_key_is_a_bad_request(target: Target, key: str) -> None:
    assert http_request(target, headers={**UPGRADE, "Sec-WebSocket-Key": key}).status == 400


def test_a_missing_key_is_a_bad_request(target: Target) -> None:
    headers = {name: value for name, value in UPGRADE.items() if name != "Sec-WebSocket-Key"}
    assert http_request(target, headers=headers).status == 400


@pytest.mark.own_backend
def test_a_header_of_the_documented_length_is_accepted(target: Target) -> None:
    assert http_request(target, headers={**UPGRADE, "Cookie": "a" * 15000}).status == 101
    assert http_request(target, path=f"{target.path}?{'a' * 15000}", headers=UPGRADE).status == 101


@pytest.mark.usefixtures("stack")
def test_a_longer_header_is_refused_with_a_remedy(target: Target) -> None:
    refused = http_request(target, headers={**UPGRADE, "Cookie": "a" * 17000})
    assert refused.status in (400, 431)  # httpd has only one response for all bad requests
    assert "end fewer" in refused.text or "shorter cookies" in refused.text


def test_an_unknown_path_is_not_found(target: Target) -> None:
    assert http_request(target, path="/no/such/path", headers=UPGRADE).status == 404


@pytest.mark.usefixtures("stack")
def test_a_foreign_origin_is_forbidden(target: Target) -> None:
    assert http_request(target, headers={**UPGRADE, "Origin": "https://evil.example"}).status == 403


@pytest.mark.parametrize("origin", [ALLOWED_ORIGIN, None], ids=["allowed", "no Origin, so not a browser"])
@pytest.mark.usefixtures("stack")
def test_an_allowed_origin_connects(target: Target, connect: Connect, origin: str | None) -> None:
    ws = connect(target, origin=origin, suppress_origin=origin is None)
    assert ws.status == 101


def test_firefox_connects(target: Target) -> None:
    # Firefox sends two options in one Connection header.
    assert http_request(target, headers={**UPGRADE, "Connection": "keep-alive, Upgrade"}).status == 101


@pytest.mark.parametrize("headers", [{}, UPGRADE], ids=["page", "websocket"])
@pytest.mark.parametrize("path", ["/", "/wss"])
def test_a_foreign_host_is_misdirected(target: Target, path: str, headers: dict[str, str]) -> None:
    response = http_request(target, path=path, headers={**headers, "Host": "evil.example"})
    assert response.status == 421
    assert "DOMAIN" in response.text


@pytest.mark.usefixtures("stack")
def test_a_foreign_server_name_is_misdirected(target: Target) -> None:
    # The certificate covers the name, so it is the server that refuses, and not the client.
    with target.open_tls(COVERED_BUT_FOREIGN) as connection:
        response = exchange(connection, [f"GET {target.path} HTTP/1.1", f"Host: {target.authority}"])
    assert response.status == 421


@pytest.mark.parametrize(
    ("server_name", "host", "status"),
    [
        *((None, "a.wild.example", 426), (None, "A.Wild.EXAMPLE", 426), (None, "xn--a-b_c.wild.example", 426)),
        *((None, "wild.example", 421), (None, "a.b.wild.example", 421), (None, "awild.example", 421)),
        *(("a.wild.example", "a.wild.example", 426), ("a.wild.example", "A.wild.example", 426)),
        ("a.wild.example", "a.b.wild.example", 421),
    ],
)
@pytest.mark.usefixtures("stack")
def test_a_wildcard_in_domain_serves_one_label(target: Target, server_name: str | None, host: str, status: int) -> None:
    with target.open_tls(server_name or WITHOUT_SERVER_NAME) as connection:
        assert exchange(connection, ["GET /wss HTTP/1.1", f"Host: {host}"]).status == status


@pytest.mark.parametrize("path", ["/", "/wss"])
def test_plain_http_on_the_tls_port_gets_a_400_that_names_wss(
    stack: Stack, target: Target, connect: Connect, path: str
) -> None:
    other = connect(target)
    before = stack.logs(stack.profile)
    with target.open_tcp() as connection:
        response = exchange(connection, [f"GET {path} HTTP/1.1", f"Host: {target.authority}"])
    assert response.status == 400
    assert response.headers["content-type"].startswith("text/plain")
    assert "wss://" in response.text
    other.send("tom")
    assert other.recv() == "ok"

    def new_lines() -> list[str]:
        lines = stack.logs(stack.profile).removeprefix(before).splitlines()
        # Not of health checks, nor of a WebSocket that an earlier test has closed.
        return [line for line in lines if '"client":"127.0.0.1"' not in line and '"event": "closed"' not in line]

    (line,) = eventually(new_lines, "the request is logged")
    assert "400" in line


def test_a_ws_url_on_the_tls_port_gets_a_400_that_names_wss(target: Target) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        websocket.create_connection(target.url.replace("wss://", "ws://"), timeout=TIMEOUT)
    assert refusal.value.status_code == 400
    assert b"wss://" in (refusal.value.resp_body or b"")


def _assert_upgrade_required(response: Response) -> None:
    # RFC 9110 section 15.5.22 and RFC 6455 section 4.4.
    assert response.status == 426
    assert response.headers["upgrade"] == "websocket"
    assert response.headers["sec-websocket-version"] == "13"
