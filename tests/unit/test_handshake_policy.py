"""The decision about a request: accept the handshake, or refuse it with a status."""

from typing import Any

import pytest
from multidict import CIMultiDict
from wss.config.settings import read_settings
from wss.handshake.policy import Handshake, sanitized
from wss.handshake.request import HttpRequest
from wss.handshake.responses import HttpResponse

GOOD = (
    ("Host", "localhost:8282"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
)


def request(path: str = "/wss", *, without: str = "", extra: tuple[tuple[str, str], ...] = ()) -> HttpRequest:
    """Return a valid request, with a header removed or others added."""
    return HttpRequest(path, CIMultiDict([*(field for field in GOOD if field[0] != without), *extra]))


def decide(request: HttpRequest, **environment: str) -> HttpResponse | None:
    return Handshake(read_settings(environment)).refuse(sanitized(request, behind_a_proxy=False))


@pytest.mark.parametrize("path", ["/wss", "/", "/wss?token=secret", "http://localhost/wss", "http://localhost:8282"])
def test_a_valid_request_is_accepted(path: str) -> None:
    assert decide(request(path)) is None


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        # RFC 9112 section 3.2: exactly one Host.
        (request(without="Host"), 400),
        (request(extra=(("Host", "localhost"),)), 400),
        (request(extra=(("Content-Length", "00"),)), 400),
        # RFC 9110 section 5.5.
        (request(extra=(("X-Odd", "a\x01b"),)), 400),
        # RFC 9110 section 7.4.
        (request(without="Host", extra=(("Host", "evil.example"),)), 421),
        (request(without="Host", extra=(("Host", "localhost.evil.example"),)), 421),
        (request(without="Host", extra=(("Host", "[::1]:8282"),)), 421),
        (request(without="Host", extra=(("Host", ""),)), 421),
        (request("http://evil.example/wss"), 421),
        (request("http://[/wss"), 400),
        (request("*"), 400),
        (request("http://localhost\\wss"), 400),
        (request("http://a@localhost/wss"), 400),
        (request("http://localhost/wss", without="Host"), 400),
        (request(without="Host", extra=(("Host", "localhost:a"),)), 421),
        (request("/nope"), 404),
        (request("/wss/"), 404),
        (request("/wss/../wss"), 404),
        # RFC 6455 section 4.2.1.
        (request(without="Upgrade"), 426),
        (request(without="Connection"), 426),
        (request(without="Upgrade", extra=(("Upgrade", "h2c"),)), 426),
        (request(without="Connection", extra=(("Connection", "close"),)), 426),
        (request(without="Sec-WebSocket-Version"), 426),
        (request(without="Sec-WebSocket-Version", extra=(("Sec-WebSocket-Version", "8"),)), 426),
        (request(extra=(("Sec-WebSocket-Version", "13"),)), 426),
        (request(without="Sec-WebSocket-Key"), 400),
        (request(without="Sec-WebSocket-Key", extra=(("Sec-WebSocket-Key", "dG9t"),)), 400),
        (request(without="Sec-WebSocket-Key", extra=(("Sec-WebSocket-Key", "é"),)), 400),
        (request(extra=(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),)), 400),
    ],
)
def test_an_invalid_request_is_refused_with_the_right_status(changed: HttpRequest, status: int) -> None:
    response = decide(changed)
    assert response is not None
    assert response.status == status
    assert response.body.endswith(b".\n")
    if status == 426:
        assert (response.headers["Upgrade"], response.headers["Sec-WebSocket-Version"]) == ("websocket", "13")


@pytest.mark.parametrize(
    ("host", "domain"),
    [("LOCALHOST", "localhost"), ("b.example:443", "a.example,b.example"), ("[2001:DB8:0::1]:443", "[2001:db8::1]")],
)
def test_every_name_in_domain_is_served(host: str, domain: str) -> None:
    assert decide(request(without="Host", extra=(("Host", host),)), DOMAIN=domain) is None


def test_the_connection_options_of_firefox_are_accepted() -> None:
    assert decide(request(without="Connection", extra=(("Connection", "keep-alive, Upgrade"),))) is None


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ("", "https://anybody.example", True),
        ("https://example.com", "https://example.com", True),
        ("https://example.com", "HTTPS://Example.com", True),
        ("https://example.com", None, True),
        ("https://example.com", "https://example.com:444", False),
        ("https://example.com", "http://example.com", False),
        ("https://example.com", "https://example.com.evil.example", False),
        ("https://example.com", "null", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://evil-example.com", False),
        ("https://*.example.com", "https://example.com.evil.example", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("https://*.example.com:8443", "https://a.example.com", False),
    ],
)
def test_origins_that_are_not_listed_are_forbidden(origins: str, origin: str | None, allowed: bool) -> None:
    response = decide(request(extra=(("Origin", origin),) if origin else ()), ORIGINS=origins)
    assert (response is None) == allowed
    assert allowed or (response is not None and response.status == 403)


@pytest.mark.parametrize(
    ("path", "state", "status"),
    [
        ("/healthz", {}, 200),
        # A full server is healthy: its open websockets work.
        ("/healthz", {"full": True}, 200),
        ("/healthz", {"draining": True}, 200),
        ("/readyz", {}, 200),
        ("/readyz", {"full": True}, 503),
        ("/readyz", {"draining": True}, 503),
        ("/wss", {"full": True}, 503),
        ("/wss", {"draining": True}, 503),
        # An invalid request gets its usual status: another replica would refuse it, too.
        ("/nope", {"full": True}, 404),
    ],
)
def test_a_full_or_draining_server_answers_503(path: str, state: dict[str, Any], status: int) -> None:
    refused = Handshake(read_settings({})).refuse(request(path), **state)
    assert refused is not None
    assert refused.status == status


def test_ws_paths_sets_the_paths() -> None:
    assert decide(request("/chat"), WS_PATHS="/chat,/rooms") is None
    response = decide(request("/wss"), WS_PATHS="/chat,/rooms")
    assert response is not None
    assert b"at /chat." in response.body


@pytest.mark.parametrize(
    "path", ["/ws/", "/ws/a%2Fb?c", "/ws/...", "/ws/.a/b.", "/ws/a//b", "/ws/%E4%B8%AD", "/ws/a?/../%zz#"]
)
def test_a_prefix_covers_all_paths_that_start_with_it(path: str) -> None:
    assert decide(request(path), WS_PATHS="/ws/*") is None


@pytest.mark.parametrize(
    "path",
    [
        *("/ws", "/wsa/b", "/%77s/a", "//ws/a"),
        # RFC 3986 section 5.2.4.
        *("/ws/.", "/ws/..", "/ws/./a", "/ws/../a", "/ws/a/..?b", "/ws/a/../b"),
        *("/ws/%2e/a", "/ws/%2E%2e/a", "/ws/.%2e", "/ws/%2E./a"),
        *("/ws/%00", "/ws/%", "/ws/%2", "/ws/%zz", "/ws/a#b"),
    ],
)
def test_a_path_that_is_ambiguous_or_leaves_the_prefix_is_not_found(path: str) -> None:
    response = decide(request(path), WS_PATHS="/ws/*")
    assert response is not None
    assert response.status == 404


@pytest.mark.parametrize(
    ("supported", "offered", "chosen"),
    [
        ("", "chat", None),
        ("chat", None, None),
        ("chat", "mqtt", None),
        ("chat,mqtt", "mqtt, chat", "chat"),
        ("Chat", "chat", None),
    ],
)
def test_the_subprotocol_is_one_that_both_support(supported: str, offered: str | None, chosen: str | None) -> None:
    extra = (("Sec-WebSocket-Protocol", offered),) if offered else ()
    agreed = Handshake(read_settings({"SUBPROTOCOLS": supported})).negotiate(request(extra=extra))
    assert agreed.get("Sec-WebSocket-Protocol") == chosen


@pytest.mark.parametrize(
    ("setting", "offered", "negotiated"),
    [
        ("off", "permessage-deflate", None),
        ("on", "permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("on", "x-other, permessage-deflate", "permessage-deflate"),
        ("on", "x-permessage-deflate", None),
        # RFC 7692 section 5: an offer is accepted with all parameters for the server, or declined for the next one.
        ("on", "permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10"),
        (
            "on",
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover",
        ),
        ("on", "permessage-deflate; server_max_window_bits=8", None),
        ("on", "permessage-deflate; server_max_window_bits=10; server_max_window_bits=11", None),
        ("on", "permessage-deflate; bogus=1, permessage-deflate", "permessage-deflate"),
    ],
)
def test_compression_is_negotiated_if_it_is_on(setting: str, offered: str, negotiated: str | None) -> None:
    headers = Handshake(read_settings({"COMPRESSION": setting})).negotiate(
        request(extra=(("Sec-WebSocket-Extensions", offered),))
    )
    assert headers.get("Sec-WebSocket-Extensions") == negotiated


@pytest.mark.parametrize("behind_a_proxy", [True, False])
def test_only_a_proxy_may_set_the_client_address(behind_a_proxy: bool) -> None:
    claims = ("X-Real-IP", "x-real-ip", "X-Forwarded-For", "X-Forwarded-User", "Forwarded", "Proxy")
    similar = ("X_Real_IP", "X.Real-IP", "x_forwarded_for", "X-Client_Subject", "X~Forwarded~User")
    received = request(extra=tuple((name, "192.0.2.7") for name in claims + similar))
    before = received.headers.copy()
    headers = sanitized(received, behind_a_proxy=behind_a_proxy).headers
    assert received.headers == before
    assert ("X-Real-IP" in headers) == behind_a_proxy
    assert ("X-Forwarded-For" in headers) == behind_a_proxy
    # Our proxies set neither of these.
    assert "X-Forwarded-User" not in headers
    assert not {"Forwarded", "Proxy"} & set(headers)
    # CGI, WSGI and PHP cannot tell these from the headers above.
    assert not [name for name in headers if set("_.~") & set(name)]


@pytest.mark.parametrize(
    ("server_name", "status"), [(None, None), ("localhost", None), ("other.example", 421), ("evil.example", 421)]
)
def test_the_host_has_to_be_the_server_name_of_the_tls_handshake(server_name: str | None, status: int | None) -> None:
    handshake = Handshake(read_settings({"DOMAIN": "localhost,other.example"}))
    response = handshake.refuse(request(), server_name=server_name)
    assert (response and response.status) == status
