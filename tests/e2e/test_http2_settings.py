"""Extended CONNECT (WebSocket over HTTP/2, RFC 8441) is not offered: a browser that sees the offer would use it."""

import struct
from typing import BinaryIO

import pytest
from client import Target
from stack import Stack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# RFC 9113 section 6: types of frames, and RFC 8441 section 3.
SETTINGS, ACK = 0x4, 0x1
MAX_CONCURRENT_STREAMS, ENABLE_CONNECT_PROTOCOL = 0x3, 0x8


@pytest.mark.profiles("nginx", "apache")
def test_the_proxy_does_not_offer_websockets_over_http2(stack: Stack, target: Target) -> None:
    assert stack  # not with --url, whose profile is unknown
    context = target.context()
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(target.open_tcp(), server_hostname=target.host) as tls:
        assert tls.selected_alpn_protocol() == "h2"
        tls.sendall(PREFACE + bytes(3) + bytes([SETTINGS, 0]) + bytes(4))
        with tls.makefile("rb") as stream:
            settings = _settings(stream)
    # If a new version of the proxy offers it: switch it off (httpd: H2WebSockets, see httpd.conf), or test messages,
    # refusals and limits over HTTP/2 first.
    assert MAX_CONCURRENT_STREAMS in settings
    assert settings.get(ENABLE_CONNECT_PROTOCOL, 0) == 0


def _settings(stream: BinaryIO) -> dict[int, int]:
    """Return the settings of the server: its first frame (RFC 9113 section 3.4)."""
    head = stream.read(9)
    length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
    assert (kind, flags & ACK) == (SETTINGS, 0)
    return dict(struct.iter_unpack(">HI", stream.read(length)))


@pytest.mark.profiles("direct")
def test_direct_does_not_negotiate_http2(stack: Stack, target: Target) -> None:
    assert stack
    context = target.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(target.open_tcp(), server_hostname=target.host) as tls:
        assert tls.selected_alpn_protocol() == "http/1.1"
