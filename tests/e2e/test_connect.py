"""Rows 1, 2 and 4 of the contract: clients connect, and verify the server's certificate."""

import ssl
from dataclasses import replace

import pytest
import trustme
import websocket
from client import Target
from fixtures import Connect


@pytest.mark.own_backend
def test_tom_gets_ok(target: Target, connect: Connect) -> None:
    ws = connect(target)
    ws.send("tom")
    assert ws.recv() == "ok"


@pytest.mark.profiles("direct")
@pytest.mark.usefixtures("stack")
def test_the_root_path_serves_the_websocket_too(target: Target, connect: Connect) -> None:
    # As in the manual: wss://DOMAIN:8282, a port that serves no site.
    ws = connect(replace(target, path="/"))
    ws.send("tom")
    assert ws.recv() == "ok"


@pytest.mark.parametrize(
    ("version", "suite"),
    [
        (ssl.TLSVersion.TLSv1_3, "TLS_"),
        # WeChat mini programs and Android 5. TLS 1.2 also has suites without forward secrecy.
        (ssl.TLSVersion.TLSv1_2, "ECDHE-"),
    ],
)
def test_tls_1_3_and_1_2_are_served(target: Target, connect: Connect, version: ssl.TLSVersion, suite: str) -> None:
    context = target.context()
    context.minimum_version = context.maximum_version = version
    ws = connect(target, sslopt={"context": context})
    ws.ping()
    assert ws.recv_data_frame(control_frame=True)[0] == websocket.ABNF.OPCODE_PONG
    assert isinstance(ws.sock, ssl.SSLSocket)
    assert str(ws.sock.cipher()).startswith(f"('{suite}")


def test_a_client_refuses_a_name_that_the_certificate_does_not_cover(target: Target) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        target.open_tls("unknown.example")


def test_a_client_refuses_an_address_that_the_certificate_does_not_cover(target: Target) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        target.open_tls("192.0.2.1")  # RFC 5737: for documentation


def test_a_client_that_does_not_trust_the_ca_refuses_the_certificate(target: Target) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts no CA yet
    trustme.CA().configure_trust(context)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get"):
        context.wrap_socket(target.open_tcp(), server_hostname=target.host)
