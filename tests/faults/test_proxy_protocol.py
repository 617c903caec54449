"""A balancer in front: who the client is, it says in the PROXY protocol, on a port of its own."""

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

# https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt: the client is 192.0.2.7 (or 2001:db8::7).
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
CLIENTS = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n": "192.0.2.7",
    b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n": "2001:db8::7",
    _V2 + struct.pack(">BBH4s4sHH", 0x21, 0x11, 12, bytes([192, 0, 2, 7]), bytes(4), 4711, 443): "192.0.2.7",
}


@pytest.mark.profiles("nginx", "apache")
def test_the_client_is_whom_the_balancer_names(profile: str, new_stack: NewStack, ca_file: Path) -> None:
    stack = new_stack(
        profile,
        APP="apps.whoami:handler",
        PROXY_PROTOCOL_PORT="127.0.0.1:0",
        files=(REPOSITORY / "compose.yaml", REPOSITORY / "balancer.yaml"),
    )
    stack.up()
    seen = {said: _seen(stack, ca_file, said) for said in CLIENTS}
    assert seen == CLIENTS
    # What does not say it gets nowhere on that port.
    with pytest.raises((OSError, websocket.WebSocketException)):
        _seen(stack, ca_file, b"")


def _seen(stack: Stack, ca_file: Path, said: bytes) -> str:
    (binding,) = stack.container().ports["8443/tcp"] or []
    target = Target("localhost", int(binding["HostPort"]), "/wss", ca_file)
    tcp = socket.create_connection(("127.0.0.1", target.port), TIMEOUT)
    tcp.sendall(said)
    with target.context().wrap_socket(tcp, server_hostname="localhost") as tls:
        ws = websocket.create_connection(target.url, socket=tls, timeout=TIMEOUT, suppress_origin=True)
        with closing(ws):
            ws.send("who am I?")
            seen = json.loads(ws.recv())
    return str(seen["client"])
