"""The numbers for Prometheus and for `status`, from a running server."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import websocket
from eventually import eventually
from server import BACKEND, TIMEOUT, Connect, Server, Start


def metrics(server: Server) -> dict[str, float]:
    with urllib.request.urlopen(f"http://localhost:{server.metrics_port}/metrics", timeout=TIMEOUT) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_they_count_what_happens(start: Start, connect: Connect) -> None:
    server = start(APP="apps.echo:handler")
    ws = connect(server)
    for message in ["tom"] * 31 + ["é"]:
        ws.send(message)
        ws.recv()
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(f"ws://localhost:{server.port}/nowhere", timeout=TIMEOUT)
    eventually(lambda: metrics(server)['wss_messages_total{direction="out"}'] == 32, TIMEOUT, "the count")
    seen = metrics(server)
    assert seen['wss_messages_total{direction="in"}'] == 32
    assert seen['wss_bytes_total{direction="in"}'] == seen['wss_bytes_total{direction="out"}'] == 31 * 3 + 2
    assert 1 <= seen["wss_message_seconds_count"] <= 2  # one of 16, and of the last one the end is not seen
    assert seen["wss_handshake_seconds_count"] == seen["wss_connections_opened_total"] == 1
    assert seen["wss_connections_open"] == 1
    assert seen['wss_connections_refused_total{reason="path"}'] == 1
    assert seen["wss_event_loop_lag_seconds_count"] > 0
    assert "wss_certificate_expiry_timestamp_seconds" not in seen


@pytest.mark.parametrize(("code", "shown"), [(1000, "1000"), (4321, "4xxx")])
def test_they_count_close_codes(start: Start, connect: Connect, code: int, shown: str) -> None:
    server = start()
    connect(server).close(status=code)
    eventually(
        lambda: metrics(server).get(f'wss_connections_closed_total{{by="client",code="{shown}"}}') == 1,
        TIMEOUT,
        "the count",
    )
    assert metrics(server)["wss_connections_open"] == 0


def test_what_a_worker_counted_outlives_it_but_not_what_it_held(start: Start, connect: Connect) -> None:
    server = start()
    connect(server)
    eventually(lambda: metrics(server)["wss_connections_open"] == 1, TIMEOUT, "the count")
    os.kill(server.worker(), signal.SIGKILL)
    server.wait_for("(ended with -9)")
    server.wait_for("(serving)")
    connect(server)
    eventually(lambda: metrics(server)["wss_connections_opened_total"] == 2, TIMEOUT, "the count")
    seen = metrics(server)
    assert (seen["wss_connections_open"], seen["wss_workers"]) == (1, 1)


def test_the_workers_are_added_up(start: Start, connect: Connect) -> None:
    server = start(WORKERS="4")
    for _ in range(3):
        server.wait_for("(serving)")
    for _ in range(20):
        connect(server)
    eventually(lambda: metrics(server)["wss_connections_open"] == 20, TIMEOUT, "the count")
    assert metrics(server)["wss_workers"] == 4


def test_a_rolling_replacement_ends_with_as_many_workers(start: Start, connect: Connect) -> None:
    server = start()
    connect(server)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("(stopping: closing)")
    eventually(lambda: metrics(server)["wss_workers"] == 1, TIMEOUT, "the count")
    seen = metrics(server)
    assert (seen["wss_connections_opened_total"], seen["wss_connections_open"]) == (1, 0)


def test_the_end_of_the_certificate_is_told(start: Start, tls_dir: Path) -> None:
    server = start(TLS_DIR=str(tls_dir))
    assert metrics(server)["wss_certificate_expiry_timestamp_seconds"] > time.time()


def status(directory: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "wss.status"],
        cwd=BACKEND,
        env={**os.environ, "RUN_DIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def test_status_shows_workers_and_connections(start: Start, connect: Connect, tmp_path: Path) -> None:
    server = start(RUN_DIR=str(tmp_path), WORKERS="2")
    server.wait_for("(serving)")
    clients = [connect(server) for _ in range(3)]
    for ws in clients:
        ws.send("tom")
        ws.recv()
    shown = status(tmp_path)
    assert shown.returncode == 0, shown.stderr
    workers, connections = (table.splitlines() for table in shown.stdout.split("\n\n"))
    assert [line.split()[0] for line in workers] == ["worker", "1", "2", "total"]
    assert workers[-1].split()[1:] == ["3", "3", "3", "9", "3", "6"]
    assert len(connections) == 1 + 3
    assert all(re.search(r"(127\.0\.0\.1|::1) +/wss +0 +1 +3 +1 +2 +0$", line) for line in connections[1:])


def test_status_shows_a_worker_that_hangs(start: Start, tmp_path: Path) -> None:
    server = start(RUN_DIR=str(tmp_path))
    os.kill(server.worker(), signal.SIGSTOP)
    assert "silent for 2 s" in status(tmp_path).stdout
    os.kill(server.worker(), signal.SIGCONT)


def test_status_says_when_nobody_is_there(tmp_path: Path) -> None:
    shown = status(tmp_path)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == f"error: no worker answers in RUN_DIR='{tmp_path}'. Is the server running?\n"


@pytest.mark.parametrize(
    ("secure", "said", "reason"),
    [
        (False, b"GET /wss HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n", "malformed"),
        (False, b"POST /wss HTTP/1.1\r\n\r\n", "method"),
        (True, b"GET / HTTP/1.1\r\n\r\n", "no_tls"),
        (True, bytes.fromhex("160301002d010000290302" + "00" * 32 + "000002c0090100"), "tls"),
    ],
)
def test_a_connection_is_refused_for_one_reason(
    start: Start, tls_dir: Path, secure: bool, said: bytes, reason: str
) -> None:
    server = start(HANDSHAKE_TIMEOUT="1", **({"TLS_DIR": str(tls_dir)} if secure else {}))
    with (
        socket.create_connection(("localhost", server.port), TIMEOUT) as connection,
        connection.makefile("rb") as answer,
    ):
        connection.sendall(said)
        assert answer.read()  # to the end, which is the server's: nothing else can happen after it
    refused = {
        name: count for name, count in metrics(server).items() if name.startswith("wss_connections_refused_total")
    }
    assert refused == {f'wss_connections_refused_total{{reason="{reason}"}}': 1}
