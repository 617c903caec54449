"""`python -m wss` as a process: requests, TLS, health check, and errors at start."""

import os
import re
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trustme
import websocket
from server import BACKEND, TIMEOUT, Connect, Start, failed_start


def response_to(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    with connection, connection.makefile("rb") as stream:
        return stream.read()


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_the_server_echoes_text_and_binary(
    share: Start, connect: Connect, tls_dir: Path, client_context: ssl.SSLContext, secure: bool
) -> None:
    server = share(APP="apps.echo:handler", **({"TLS_DIR": str(tls_dir)} if secure else {}))
    ws = connect(server, client_context if secure else None)
    ws.send("tom")
    assert ws.recv_data() == (websocket.ABNF.OPCODE_TEXT, b"tom")
    ws.send_binary(b"tom")
    assert ws.recv_data() == (websocket.ABNF.OPCODE_BINARY, b"tom")


def test_a_message_reaches_all_members_of_a_room(share: Start) -> None:
    server = share(APP="apps.rooms:handler")

    def enter(room: str) -> websocket.WebSocket:
        return websocket.create_connection(f"ws://localhost:{server.port}/wss?room={room}", timeout=TIMEOUT)

    with closing(enter("tea")) as one, closing(enter("tea")) as two, closing(enter("coffee")) as other:
        one.send("tom")
        other.send("jerry")
        assert (one.recv(), two.recv(), other.recv()) == ("tom", "tom", "jerry")


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_the_health_check_queries_the_server(start: Start, tls_dir: Path, secure: bool) -> None:
    environment = {"TLS_DIR": str(tls_dir)} if secure else {}
    server = start(**environment)
    check = [sys.executable, str(BACKEND / "healthy")]
    env = {**os.environ, "PORT": str(server.port), **environment}
    assert subprocess.run(check, env=env, check=True, capture_output=True).stdout == b"200 ok\n"
    server.stop()
    assert subprocess.run(check, env=env, check=False, capture_output=True).returncode == 1


def test_the_health_check_does_not_trust_another_certificate(share: Start, tls_dir: Path, tmp_path: Path) -> None:
    server = share(TLS_DIR=str(tls_dir))
    trustme.CA().issue_cert("localhost").cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    env = {**os.environ, "PORT": str(server.port), "TLS_DIR": str(tmp_path)}
    check = subprocess.run(
        [sys.executable, str(BACKEND / "healthy")], env=env, check=False, capture_output=True, text=True
    )
    assert check.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in check.stderr


def test_plain_http_on_the_tls_port_gets_400_and_one_line(share: Start, tls_dir: Path) -> None:
    server = share(TLS_DIR=str(tls_dir))
    plain = socket.create_connection(("localhost", server.port), TIMEOUT)
    response = response_to(plain, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"Use wss://" in response
    server.wait_for(r"(did not speak TLS)")


def test_an_unknown_server_name_gets_421(share: Start, tls_dir: Path, client_context: ssl.SSLContext) -> None:
    server = share(TLS_DIR=str(tls_dir))
    plain = socket.create_connection(("localhost", server.port), TIMEOUT)
    secured = client_context.wrap_socket(plain, server_hostname="elsewhere.example")
    assert response_to(secured, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 421 ")
    server.wait_for(r"(server name 'elsewhere.example')")


def test_a_client_hello_in_several_packets_is_accepted(
    share: Start, tls_dir: Path, client_context: ssl.SSLContext
) -> None:
    # A ClientHello with a post-quantum key share does not fit into one packet.
    server = share(TLS_DIR=str(tls_dir))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    with socket.create_connection(("localhost", server.port), TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in hello:
            connection.send(bytes([byte]))
        incoming.write(connection.recv(65536))
        tls.do_handshake()
        assert tls.version() == "TLSv1.3"


def test_a_refused_tls_handshake_ends_with_an_alert(share: Start, tls_dir: Path) -> None:
    server = share(TLS_DIR=str(tls_dir))
    hello_of_tls_1_1 = bytes.fromhex("160301002d010000290302" + "00" * 32 + "000002c0090100")
    connection = socket.create_connection(("localhost", server.port), TIMEOUT)
    assert response_to(connection, hello_of_tls_1_1).hex() == "15030200020246"  # fatal: protocol_version


@pytest.mark.parametrize("setting", ["PORT", "METRICS_PORT"])
def test_a_port_in_use_stops_the_start(setting: str) -> None:
    with socket.create_server(("localhost", 0)) as taken:
        line = failed_start(**{setting: str(taken.getsockname()[1])})
    assert re.fullmatch(rf"error: port \d+: .*Address already in use.* {setting}\n", line)


def test_a_certificate_for_another_name_stops_the_start(tls_dir: Path) -> None:
    line = failed_start(TLS_DIR=str(tls_dir), DOMAIN="another.example")
    assert "clients will refuse the certificate for another.example" in line


def test_a_handler_that_raises_closes_only_its_own_connection(start: Start, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(
        "async def handler(connection):\n"
        "    async for message in connection:\n"
        "        await connection.send(str(1 / int(message)))\n"
    )
    server = start(APP="faulty:handler", PYTHONPATH=str(tmp_path))
    other, failing = connect(server), connect(server)
    failing.send("0")
    opcode, frame = failing.recv_data_frame(control_frame=True)
    assert (opcode, frame.data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1011).to_bytes(2, "big"))
    server.wait_for(r"(ZeroDivisionError)")
    other.send("1")
    assert other.recv() == "1.0"


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"APP": "apps.nope:handler"}, "error: APP='apps.nope:handler': there is no module"),
        ({"WORKERS": "many"}, "error: WORKERS='many': not a number of processes"),
        ({"TLS_DIR": "/no/such"}, "error: TLS_DIR='/no/such': server.pem and server.key cannot be used"),
        ({"RUN_DIR": "/dev/null/wss"}, "error: RUN_DIR='/dev/null/wss': [Errno 20] Not a directory"),
    ],
    ids=["APP", "WORKERS", "TLS_DIR", "RUN_DIR"],
)
def test_an_invalid_setting_stops_the_start_with_one_line(environment: dict[str, str], error: str) -> None:
    assert failed_start(**{"WORKERS": "3", **environment}).startswith(error)
