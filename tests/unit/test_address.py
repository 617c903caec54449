"""The address of a client, which only a trusted proxy may forward, and the limits per address."""

import json
from typing import Any

import pytest
import websocket
from server import TIMEOUT, Start
from wss.handshake.forwarded import normalize_address
from wss.handshake.rate_limits import AddressLimits


@pytest.mark.parametrize(
    ("address", "normalized"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("::1", "::1")],
)
def test_mapped_ipv4_is_normalized_to_ipv4(address: str, normalized: str) -> None:
    assert normalize_address(address) == normalized


@pytest.mark.parametrize(
    ("trusted", "headers", "client"),
    [
        ("127.0.0.0/8", ["X-Real-IP: 192.0.2.7"], "192.0.2.7"),
        ("127.0.0.0/8", ["X-Real-IP: 2001:db8::7"], "2001:db8::7"),
        ("127.0.0.0/8", [], "127.0.0.1"),
        # Not from a trusted proxy.
        ("", ["X-Real-IP: 192.0.2.7"], "127.0.0.1"),
        ("10.0.0.0/8", ["X-Real-IP: 192.0.2.7"], "127.0.0.1"),
        # Our proxies never send these.
        ("127.0.0.0/8", ["X-Real-IP: 192.0.2.7", "X-Real-IP: 192.0.2.8"], "127.0.0.1"),
        ("127.0.0.0/8", ["X-Real-IP: 192.0.2.7, 192.0.2.8"], "127.0.0.1"),
        ("127.0.0.0/8", ["X-Real-IP: 192.0.2.7:4711"], "127.0.0.1"),
        ("127.0.0.0/8", ["X-Real-IP: localhost"], "127.0.0.1"),
        ("127.0.0.0/8", ["X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7"], "127.0.0.1"),
    ],
)
def test_the_address_of_a_client_is_the_one_that_a_trusted_proxy_forwards(
    share: Start, trusted: str, headers: list[str], client: str
) -> None:
    server = share(APP="apps.whoami:handler", TRUSTED_PROXIES=trusted, DOMAIN="127.0.0.1")
    ws = websocket.create_connection(f"ws://127.0.0.1:{server.port}/wss", header=headers, timeout=TIMEOUT)
    try:
        ws.send("who am I?")
        assert json.loads(ws.recv())["client"] == client
    finally:
        ws.close()


def test_a_proxy_that_is_not_trusted_is_reported_once(start: Start) -> None:
    server = start(TRUSTED_PROXIES="10.0.0.0/8", DOMAIN="127.0.0.1")
    for _ in range(2):
        headers = ["X-Real-IP: 192.0.2.7"]
        websocket.create_connection(f"ws://127.0.0.1:{server.port}/wss", header=headers, timeout=TIMEOUT).close()
    assert server.stop() == 0
    (line,) = [line for line in server.lines if "not in TRUSTED_PROXIES" in line]
    assert "127.0.0.1 sends X-Real-IP" in line


def test_open_connections_are_limited_per_address() -> None:
    limits = AddressLimits(2, None)
    for _ in range(2):
        assert not limits.is_full("192.0.2.7")
        limits.enter("192.0.2.7")
    assert limits.is_full("192.0.2.7")
    assert not limits.is_full("192.0.2.8")
    limits.leave("192.0.2.7")
    assert not limits.is_full("192.0.2.7")


def test_all_addresses_of_an_ipv6_64_are_one_client() -> None:
    limits = AddressLimits(1, None)
    limits.enter("2001:db8::1")
    assert limits.is_full("2001:db8::ffff:1")
    assert not limits.is_full("2001:db8:0:1::1")


def test_handshakes_are_limited_per_minute() -> None:
    limits = AddressLimits(None, 2)
    assert [limits.is_too_fast("192.0.2.7", now) for now in (0, 30, 59, 60, 61, 62)] == [False, False, True] * 2
    assert not limits.is_too_fast("192.0.2.8", 62)


def test_a_client_over_the_handshake_limit_gets_429_with_retry_after(start: Start) -> None:
    server = start(MAX_HANDSHAKES_PER_ADDRESS="1")

    def connect() -> Any:
        return websocket.create_connection(f"ws://localhost:{server.port}/wss", timeout=TIMEOUT)

    # Three, because a new minute may begin in between.
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:  # noqa: PT012
        for _ in range(3):
            connect().shutdown()
    assert refusal.value.status_code == 429
    assert (refusal.value.resp_headers or {})["retry-after"] == "60"


@pytest.mark.parametrize("trusted", ["127.0.0.0/8,::1", ""], ids=["behind a proxy", "no proxy"])
def test_a_client_over_the_connection_limit_gets_429(start: Start, trusted: str) -> None:
    server = start(MAX_CONNECTIONS_PER_ADDRESS="1", TRUSTED_PROXIES=trusted)

    def connect(address: str) -> Any:
        url = f"ws://localhost:{server.port}/wss"
        return websocket.create_connection(url, timeout=TIMEOUT, header=[f"X-Real-IP: {address}"])

    first = connect("192.0.2.7")
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        connect("192.0.2.7")
    assert refusal.value.status_code == 429
    if trusted:
        connect("192.0.2.8").shutdown()
    first.close()
    server.wait_for("(closed)")
    connect("192.0.2.7").shutdown()
