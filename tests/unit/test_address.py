"""Who is at the other end: the proxy's word counts, and only the proxy's."""

import json
from typing import Any

import pytest
import websocket
from server import TIMEOUT, Start
from wss.handshake.forwarded import readable
from wss.handshake.rate_limits import AddressLimits


@pytest.mark.parametrize(
    ("address", "shown"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("::1", "::1")],
)
def test_ipv4_stays_ipv4(address: str, shown: str) -> None:
    assert readable(address) == shown


@pytest.mark.parametrize(
    ("trusted", "headers", "client"),
    [
        ("127.0.0.0/8", ["X-Real-IP: 192.0.2.7"], "192.0.2.7"),
        ("127.0.0.0/8", ["X-Real-IP: 2001:db8::7"], "2001:db8::7"),
        ("127.0.0.0/8", [], "127.0.0.1"),
        # Not from a proxy of ours.
        ("", ["X-Real-IP: 192.0.2.7"], "127.0.0.1"),
        ("10.0.0.0/8", ["X-Real-IP: 192.0.2.7"], "127.0.0.1"),
        # Not what a proxy of ours would send.
        ("127.0.0.0/8", ["X-Real-IP: 192.0.2.7", "X-Real-IP: 192.0.2.8"], "127.0.0.1"),
        ("127.0.0.0/8", ["X-Real-IP: 192.0.2.7, 192.0.2.8"], "127.0.0.1"),
        ("127.0.0.0/8", ["X-Real-IP: 192.0.2.7:4711"], "127.0.0.1"),
        ("127.0.0.0/8", ["X-Real-IP: localhost"], "127.0.0.1"),
        ("127.0.0.0/8", ["X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7"], "127.0.0.1"),
    ],
)
def test_the_clients_address_is_what_a_trusted_proxy_says(
    share: Start, trusted: str, headers: list[str], client: str
) -> None:
    server = share(APP="apps.whoami:handler", TRUSTED_PROXIES=trusted, DOMAIN="127.0.0.1")
    ws = websocket.create_connection(f"ws://127.0.0.1:{server.port}/wss", header=headers, timeout=TIMEOUT)
    try:
        ws.send("who am I?")
        assert json.loads(ws.recv())["client"] == client
    finally:
        ws.close()


def test_open_connections_are_counted() -> None:
    limits = AddressLimits(2, None)
    for _ in range(2):
        assert not limits.is_full("192.0.2.7")
        limits.enter("192.0.2.7")
    assert limits.is_full("192.0.2.7")
    assert not limits.is_full("192.0.2.8")
    limits.leave("192.0.2.7")
    assert not limits.is_full("192.0.2.7")


def test_the_addresses_of_one_ipv6_network_are_one_client() -> None:
    limits = AddressLimits(1, None)
    limits.enter("2001:db8::1")
    assert limits.is_full("2001:db8::ffff:1")
    assert not limits.is_full("2001:db8:0:1::1")


def test_handshakes_are_counted_by_the_minute() -> None:
    limits = AddressLimits(None, 2)
    assert [limits.is_too_fast("192.0.2.7", now) for now in (0, 30, 59, 60, 61, 62)] == [False, False, True] * 2
    assert not limits.is_too_fast("192.0.2.8", 62)


def test_a_client_that_comes_too_often_is_told_to_wait(start: Start) -> None:
    server = start(MAX_HANDSHAKES_PER_ADDRESS="1")

    def connect() -> Any:
        return websocket.create_connection(f"ws://localhost:{server.port}/wss", timeout=TIMEOUT)

    # Three, because a minute may end in between.
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:  # noqa: PT012
        for _ in range(3):
            connect().shutdown()
    assert refusal.value.status_code == 429
    assert (refusal.value.resp_headers or {})["retry-after"] == "60"


@pytest.mark.parametrize("trusted", ["127.0.0.0/8,::1", ""], ids=["behind a proxy", "alone"])
def test_a_client_gets_so_many_connections_and_no_more(start: Start, trusted: str) -> None:
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
