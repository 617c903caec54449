"""A load balancer in front of the proxy passes the client's address in the PROXY protocol, on a separate port."""

import json
import socket
import struct
from contextlib import closing
from pathlib import Path

import pytest
import websocket
from client import TIMEOUT, Target
from fixtures import NewStack
from stack import REPOSITORY, Stack

# Headers (https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt) with the address of the client in each.
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
CLIENTS = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n": "192.0.2.7",
    b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n": "2001:db8::7",
    _V2 + struct.pack(">BBH4s4sHH", 0x21, 0x11, 12, bytes([192, 0, 2, 7]), bytes(4), 4711, 443): "192.0.2.7",
}


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
    seen = {header: _seen(stack, ca_file, header) for header in CLIENTS}
    assert seen == CLIENTS
    # On that port, a connection without a header fails.
    with pytest.raises((OSError, websocket.WebSocketException)):
        _seen(stack, ca_file, b"")


def _seen(stack: Stack, ca_file: Path, header: bytes) -> str:
    """Return the client address that the handler sees."""
    (binding,) = stack.container().ports["8443/tcp"] or []
    target = Target("localhost", int(binding["HostPort"]), "/wss", ca_file)
    tcp = socket.create_connection(("127.0.0.1", target.port), TIMEOUT)
    tcp.sendall(header)
    with target.context().wrap_socket(tcp, server_hostname="localhost") as tls:
        ws = websocket.create_connection(target.url, socket=tls, timeout=TIMEOUT, suppress_origin=True)
        with closing(ws):
            ws.send("who am I?")
            seen = json.loads(ws.recv())
    return str(seen["client"])
