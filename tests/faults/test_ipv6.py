"""Clients that connect over IPv6, if the host supports it."""

import socket
from pathlib import Path

import pytest
import trustme
from client import Target
from fixtures import Connect, NewStack
from pairs import write_pair

PORT_SETTING = {"nginx": "HTTPS_PORT", "apache": "HTTPS_PORT", "direct": "DIRECT_PORT"}


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this host has no IPv6")
def test_a_client_connects_over_ipv6(
    profile: str, new_stack: NewStack, ca: trustme.CA, ca_file: Path, tmp_path: Path, connect: Connect
) -> None:
    write_pair(ca.issue_cert("localhost", "::1"), tmp_path)
    settings = {"CERTS_DIR": str(tmp_path), "DOMAIN": "localhost,[::1]", PORT_SETTING[profile]: "[::1]:0"}
    stack = new_stack(profile, **settings)
    stack.up()
    (binding,) = (binding for bindings in stack.container().ports.values() for binding in bindings or [])
    assert binding["HostIp"] == "::1"
    ws = connect(Target("[::1]", int(binding["HostPort"]), "/wss", ca_file))
    ws.send("tom")
    assert ws.recv() == "ok"
