"""The package as a process: what it serves, how it ends, what it says when it cannot start."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
import websocket
from server import BACKEND, TIMEOUT, Server, Start

Connect = Callable[..., websocket.WebSocket]


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def tls_dir(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    leaf = ca.issue_cert("localhost", "elsewhere.example")
    leaf.private_key_pem.write_to_path(directory / "server.key")
    leaf.cert_chain_pems[0].write_to_path(directory / "server.pem")
    return directory


@pytest.fixture
def context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    return context


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as opened:

        def connect(server: Server, context: ssl.SSLContext | None = None) -> websocket.WebSocket:
            url = f"{'wss' if context else 'ws'}://localhost:{server.port}/wss"
            ws = websocket.create_connection(url, sslopt={"context": context}, timeout=TIMEOUT)
            opened.callback(ws.shutdown)
            return ws

        yield connect


def answer(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    with connection, connection.makefile("rb") as stream:
        return stream.read()


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_it_echoes(start: Start, connect: Connect, tls_dir: Path, context: ssl.SSLContext, secure: bool) -> None:
    server = start(APP="apps.echo:handler", **({"TLS_DIR": str(tls_dir)} if secure else {}))
    ws = connect(server, context if secure else None)
    ws.send("tom")
    assert ws.recv_data() == (websocket.ABNF.OPCODE_TEXT, b"tom")
    ws.send_binary(b"tom")
    assert ws.recv_data() == (websocket.ABNF.OPCODE_BINARY, b"tom")


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_the_health_check_asks_the_server(start: Start, tls_dir: Path, secure: bool) -> None:
    environment = {"TLS_DIR": str(tls_dir)} if secure else {}
    server = start(**environment)
    check = [sys.executable, "-m", "wss.health"]
    env = {**os.environ, "PORT": str(server.port), **environment}
    assert subprocess.run(check, cwd=BACKEND, env=env, check=True, capture_output=True).stdout == b"HTTP/1.1 200 OK\n"
    server.stop()
    assert subprocess.run(check, cwd=BACKEND, env=env, check=False, capture_output=True).returncode == 1


def test_the_health_check_does_not_trust_another_certificate(start: Start, tls_dir: Path, tmp_path: Path) -> None:
    server = start(TLS_DIR=str(tls_dir))
    trustme.CA().issue_cert("localhost").cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    env = {**os.environ, "PORT": str(server.port), "TLS_DIR": str(tmp_path)}
    check = subprocess.run(
        [sys.executable, "-m", "wss.health"], cwd=BACKEND, env=env, check=False, capture_output=True, text=True
    )
    assert check.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in check.stderr


def test_plain_http_on_the_tls_port_gets_400_and_one_line(start: Start, tls_dir: Path) -> None:
    server = start(TLS_DIR=str(tls_dir))
    plain = socket.create_connection(("localhost", server.port), TIMEOUT)
    response = answer(plain, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"Use wss://" in response
    server.wait_for(r"(did not speak TLS)")


def test_a_foreign_server_name_gets_421(start: Start, tls_dir: Path, context: ssl.SSLContext) -> None:
    server = start(TLS_DIR=str(tls_dir))
    plain = socket.create_connection(("localhost", server.port), TIMEOUT)
    secured = context.wrap_socket(plain, server_hostname="elsewhere.example")
    assert answer(secured, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 421 ")
    server.wait_for(r"(server name 'elsewhere.example')")


def test_a_hello_in_pieces_is_waited_for(start: Start, tls_dir: Path, context: ssl.SSLContext) -> None:
    # A post-quantum ClientHello does not fit into one packet.
    server = start(TLS_DIR=str(tls_dir))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
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


def test_a_refused_handshake_ends_with_the_alert_that_says_why(start: Start, tls_dir: Path) -> None:
    server = start(TLS_DIR=str(tls_dir))
    hello_of_tls_1_1 = bytes.fromhex("160301002d010000290302" + "00" * 32 + "000002c0090100")
    connection = socket.create_connection(("localhost", server.port), TIMEOUT)
    assert answer(connection, hello_of_tls_1_1).hex() == "15030200020246"  # fatal: protocol_version


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_closes_with_1001_and_ends_with_0(start: Start, connect: Connect, number: signal.Signals) -> None:
    server = start(WORKERS="2", APP="apps.whoami:handler")
    server.wait_for("(serving)")  # the second worker
    clients = [connect(server) for _ in range(20)]
    for ws in clients:
        ws.send("who are you?")
    assert len({json.loads(ws.recv())["process"] for ws in clients}) == 2
    server.process.send_signal(number)
    for ws in clients:
        opcode, frame = ws.recv_data_frame(control_frame=True)
        assert (opcode, frame.data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1001).to_bytes(2, "big"))
    assert server.process.wait(TIMEOUT) == 0


def test_a_stop_while_workers_start_ends_with_0(start: Start) -> None:
    server = start(WORKERS="4")
    assert server.stop() == 0


def test_a_second_signal_stops_at_once(start: Start, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(
        "import asyncio\n"
        "async def handler(connection):\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.Event().wait()\n"
        "        except asyncio.CancelledError:\n"
        "            pass\n"
    )
    server = start(APP="stubborn:handler", PYTHONPATH=str(tmp_path))
    connect(server)
    server.process.terminate()
    server.wait_for("(stopping: closing 1 connections with 1001)")
    assert server.process.poll() is None
    server.process.terminate()
    server.wait_for("(is killed: it had not ended yet)")
    assert server.process.wait(TIMEOUT) == 1


def test_the_closes_of_a_stop_are_spread(start: Start, connect: Connect) -> None:
    server = start(STOP_SPREAD="0.5")
    clients = [connect(server) for _ in range(11)]
    server.process.terminate()
    times = []
    for ws in clients:
        ws.recv_data_frame(control_frame=True)
        times.append(time.monotonic())
    assert times[-1] - times[0] > 0.4


def test_a_full_worker_refuses_and_goes_on(start: Start, connect: Connect) -> None:
    server = start(MAX_CONNECTIONS="1")
    first = connect(server)
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        connect(server)
    assert refusal.value.status_code == 503
    first.send("tom")
    assert first.recv() == "ok"
    first.close()
    # There is room again as soon as the server has seen the end.
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            connect(server)
            break
        except websocket.WebSocketBadStatusException:
            assert time.monotonic() < deadline


def test_a_killed_worker_is_replaced_on_the_same_port(start: Start, connect: Connect) -> None:
    server = start(APP="apps.whoami:handler")
    worker = int(re.findall(r"pid=(\d+) wss.worker", server.lines[-1])[0])
    os.kill(worker, signal.SIGKILL)
    server.wait_for(rf"(worker {worker} ended with -9)")
    # Nobody is refused in the meantime: the queue of the listening socket is the parent's.
    ws = connect(server)
    ws.send("who are you?")
    assert json.loads(ws.recv())["process"] != worker
    assert server.stop() == 0


def test_a_replacement_loses_no_connect_and_closes_with_1012(start: Start, connect: Connect) -> None:
    server = start(APP="apps.whoami:handler", WORKERS="2")
    server.wait_for("(serving)")  # the second worker
    old = [connect(server) for _ in range(10)]
    server.process.send_signal(signal.SIGHUP)
    connects = 0
    replaced = threading.Event()

    def watch() -> None:
        for _ in range(2):
            server.wait_for("(replaces worker)")
        replaced.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    while not replaced.is_set() or connects < 100:
        ws = connect(server)
        ws.send("who are you?")
        assert ws.recv()
        ws.close()
        connects += 1
    watcher.join()
    for ws in old:
        opcode, frame = ws.recv_data_frame(control_frame=True)
        assert (opcode, frame.data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1012).to_bytes(2, "big"))
    assert server.stop() == 0


def test_a_port_that_is_taken_ends_the_start() -> None:
    with socket.create_server(("localhost", 0)) as taken:
        ended = subprocess.run(
            [sys.executable, "-m", "wss"],
            cwd=BACKEND,
            env={**os.environ, "PORT": str(taken.getsockname()[1])},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=30,
        )
    assert ended.returncode == 1
    assert re.fullmatch(r"error: port \d+: .*Address already in use.*\n", ended.stderr), ended.stderr


def test_a_handler_that_raises_closes_its_own_connection_only(start: Start, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(
        "async def handler(connection):\n"
        "    async for message in connection:\n"
        "        await connection.send(str(1 / int(message)))\n"
    )
    server = start(APP="faulty:handler", PYTHONPATH=str(tmp_path))
    bystander, victim = connect(server), connect(server)
    victim.send("0")
    opcode, frame = victim.recv_data_frame(control_frame=True)
    assert (opcode, frame.data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1011).to_bytes(2, "big"))
    server.wait_for(r"(ZeroDivisionError)")
    bystander.send("1")
    assert bystander.recv() == "1.0"


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"APP": "apps.nope:handler"}, "error: APP='apps.nope:handler': there is no module"),
        ({"WORKERS": "many"}, "error: WORKERS='many': not a number of processes"),
        ({"TLS_DIR": "/no/such"}, "error: TLS_DIR='/no/such': server.pem and server.key cannot be used"),
    ],
    ids=["APP", "WORKERS", "TLS_DIR"],
)
def test_what_cannot_be_served_ends_at_once_with_one_line(environment: dict[str, str], complaint: str) -> None:
    env = {**os.environ, "PORT": "0", "WORKERS": "3", **environment}
    ended = subprocess.run(
        [sys.executable, "-m", "wss"], cwd=BACKEND, env=env, stderr=subprocess.PIPE, text=True, check=False, timeout=30
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(complaint)
    assert ended.stderr.count("\n") == 1


def test_workers_do_not_outlive_their_parent(start: Start) -> None:
    server = start()
    server.process.kill()
    # The log ends when the last process that can write to it is gone.
    with pytest.raises(AssertionError, match="ended without"):
        server.wait_for("(no such line)")
    assert "stopping" in server.lines[-1]
