"""Who is at the other end: the proxy's word counts, and only the proxy's."""

import json

import pytest
import websocket
from server import TIMEOUT, Start
from wss.address import readable


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
    start: Start, trusted: str, headers: list[str], client: str
) -> None:
    server = start(APP="apps.whoami:handler", TRUSTED_PROXIES=trusted, DOMAIN="127.0.0.1")
    ws = websocket.create_connection(f"ws://127.0.0.1:{server.port}/wss", header=headers, timeout=TIMEOUT)
    try:
        ws.send("who am I?")
        assert json.loads(ws.recv())["client"] == client
    finally:
        ws.close()
