"""A load balancer in front of the proxy passes the client's address in the PROXY protocol, on a separate port."""

import json
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import websocket
from client import TIMEOUT, Target
from fixtures import NewStack
from stack import REPOSITORY, Stack

REFUSED = "refused"
BALANCER = "the balancer"  # its own address: the header has none, as that of a health check
CLIENT, CLIENT_6 = "192.0.2.7", "2001:db8::7"


def _v2(protocol: int, addresses: bytes, *, command: int = 0x21, size: int | None = None) -> bytes:
    """Return a header of version 2; 0x21 is its command PROXY, 0x20 is LOCAL."""
    start = struct.pack(">BBH", command, protocol, len(addresses) if size is None else size)
    return b"\r\n\r\n\x00\r\nQUIT\n" + start + addresses


def _tlv(size: int) -> bytes:
    return struct.pack(">BH", 0xEA, size) + bytes(size)


_TCP4 = bytes([192, 0, 2, 7]) + bytes(4) + struct.pack(">HH", 4711, 443)
_TCP6 = bytes.fromhex("20010db8000000000000000000000007") + bytes(16) + struct.pack(">HH", 4711, 443)

# mod_remoteip has no directives about any of these.
HTTPD_MINIMUM = "httpd reads 16 bytes before it parses, and this header has 15 (AH03513, AH10185)"
HTTPD_FAMILIES = "httpd knows TCP alone (AH10183)"
HTTPD_SIZE = "httpd has room for 216 bytes after the first 16 (AH10186)"
NGINX_ADDRESS = "nginx ignores an address that it cannot read"

# https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt. The address that the handler sees behind nginx, and
# behind Apache; the reason of a difference.
HEADERS: list[tuple[str, bytes, str, str, str]] = [
    ("v1, IPv4", b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", CLIENT, CLIENT, ""),
    ("v1, IPv6", b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", CLIENT_6, CLIENT_6, ""),
    ("v1, UNKNOWN", b"PROXY UNKNOWN\r\n", BALANCER, REFUSED, HTTPD_MINIMUM),
    ("v1, UNKNOWN and more", b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", BALANCER, BALANCER, ""),
    ("v1, no address", b"PROXY TCP4 192.0.2.777 198.51.100.1 4711 443\r\n", BALANCER, REFUSED, NGINX_ADDRESS),
    ("v1, no ports", b"PROXY TCP4 192.0.2.7 198.51.100.1\r\n", REFUSED, REFUSED, ""),
    ("v1, UDP", b"PROXY UDP4 192.0.2.7 198.51.100.1 4711 443\r\n", REFUSED, REFUSED, ""),
    ("v1, lower case", b"proxy TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", REFUSED, REFUSED, ""),
    ("v1, LF alone", b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n", REFUSED, REFUSED, ""),
    ("v1, over 107 bytes", b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443" + b" " * 100 + b"\r\n", REFUSED, REFUSED, ""),
    ("v2, IPv4", _v2(0x11, _TCP4), CLIENT, CLIENT, ""),
    ("v2, IPv6", _v2(0x21, _TCP6), CLIENT_6, CLIENT_6, ""),
    ("v2, LOCAL", _v2(0x00, b"", command=0x20), BALANCER, BALANCER, ""),
    ("v2, LOCAL with addresses", _v2(0x11, _TCP4, command=0x20), BALANCER, BALANCER, ""),
    ("v2, LOCAL with a TLV", _v2(0x00, _tlv(50), command=0x20), BALANCER, BALANCER, ""),
    ("v2, UNSPEC", _v2(0x00, b""), BALANCER, REFUSED, HTTPD_FAMILIES),
    ("v2, UDP", _v2(0x12, _TCP4), BALANCER, REFUSED, HTTPD_FAMILIES),
    ("v2, UNIX", _v2(0x31, bytes(216)), BALANCER, REFUSED, HTTPD_FAMILIES),
    # As AWS, Azure and Google send them for private endpoints.
    ("v2, a TLV of 23 bytes", _v2(0x11, _TCP4 + _tlv(23)), CLIENT, CLIENT, ""),
    ("v2, 216 bytes", _v2(0x11, _TCP4 + _tlv(201)), CLIENT, CLIENT, ""),
    ("v2, 217 bytes", _v2(0x11, _TCP4 + _tlv(202)), CLIENT, REFUSED, HTTPD_SIZE),
    ("v2, 4000 bytes", _v2(0x11, _TCP4 + _tlv(3985)), CLIENT, REFUSED, HTTPD_SIZE),
    ("v2, a TLV over the end", _v2(0x11, _TCP4 + struct.pack(">BH", 0xEA, 500)), CLIENT, CLIENT, ""),
    ("v2, half an address", _v2(0x11, _TCP4[:8]), REFUSED, REFUSED, ""),
    ("v2, an unknown command", _v2(0x11, _TCP4, command=0x22), BALANCER, REFUSED, "nginx ignores the command"),
    ("version 3", _v2(0x11, _TCP4, command=0x31), REFUSED, REFUSED, ""),
    # Whoever comes without a balancer.
    ("none", b"", REFUSED, REFUSED, ""),
    ("two", b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n" * 2, REFUSED, REFUSED, ""),
    ("text", b"HELLO\r\n", REFUSED, REFUSED, ""),
]


@pytest.mark.profiles("nginx", "apache")
def test_the_handler_sees_the_client_address_of_the_proxy_protocol(
    profile: str, new_stack: NewStack, ca_file: Path
) -> None:
    stack = new_stack(
        profile,
        APP="apps.whoami:handler",
        PROXY_PROTOCOL_PORT="127.0.0.1:0",
        files=(REPOSITORY / "compose.yaml", REPOSITORY / "balancer.yaml"),
    )
    stack.up()
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda case: _seen(stack, ca_file, case[1]), HEADERS)
    seen = {what: outcome for (what, *_), outcome in zip(HEADERS, found, strict=True)}
    expected = {what: nginx if profile == "nginx" else apache for what, _, nginx, apache, _ in HEADERS}
    assert seen == expected


def test_each_difference_of_the_proxies_has_its_reason() -> None:
    assert [what for what, _, nginx, apache, why in HEADERS if (nginx != apache) != bool(why)] == []


def _seen(stack: Stack, ca_file: Path, header: bytes) -> str:
    """Return the client address that the handler sees, or REFUSED."""
    (binding,) = stack.container().ports["8443/tcp"] or []
    target = Target("localhost", int(binding["HostPort"]), "/wss", ca_file)
    with closing(socket.create_connection(("127.0.0.1", target.port), TIMEOUT)) as tcp:
        tcp.sendall(header)
        try:
            tls = target.context().wrap_socket(tcp, server_hostname="localhost")
        except TimeoutError:
            raise  # no answer is not a refusal
        except OSError:
            return REFUSED
        with tls, closing(_websocket(target, tls)) as ws:
            ws.send("who am I?")
            client = str(json.loads(ws.recv())["client"])
    networks = stack.container().attrs["NetworkSettings"]["Networks"].values()
    return BALANCER if client in {network["Gateway"] for network in networks} else client


def _websocket(target: Target, tls: socket.socket) -> websocket.WebSocket:
    return websocket.create_connection(target.url, socket=tls, timeout=TIMEOUT, suppress_origin=True)
