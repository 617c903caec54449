"""The metrics of a running server."""

import os
import signal
import socket
import time
import urllib.request
from pathlib import Path

import pytest
import websocket
from eventually import eventually
from server import TIMEOUT, Connect, Server, Start


def metrics(server: Server) -> dict[str, float]:
    with urllib.request.urlopen(f"http://localhost:{server.metrics_port}/metrics", timeout=TIMEOUT) as response:
        lines = response.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_connections_messages_and_bytes_are_counted(start: Start, connect: Connect) -> None:
    server = start(APP="apps.echo:handler")
    ws = connect(server)
    for message in ["tom"] * 127 + ["é"]:
        ws.send(message)
        ws.recv()
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(f"ws://localhost:{server.port}/nowhere", timeout=TIMEOUT)
    eventually(lambda: metrics(server)['wss_messages_total{direction="out"}'] == 128, "the count")
    seen = metrics(server)
    assert seen['wss_messages_total{direction="in"}'] == 128
    assert seen['wss_bytes_total{direction="in"}'] == seen['wss_bytes_total{direction="out"}'] == 127 * 3 + 2
    assert 1 <= seen["wss_message_seconds_count"] <= 2  # one of 64, and the last one is not finished
    assert seen["wss_handshake_seconds_count"] == seen["wss_connections_opened_total"] == 1
    assert seen["wss_connections_open"] == 1
    assert seen['wss_connections_refused_total{reason="path"}'] == 1
    assert seen["wss_event_loop_lag_seconds_count"] > 0
    assert "wss_certificate_expiry_timestamp_seconds" not in seen


@pytest.mark.parametrize(("code", "shown"), [(1000, "1000"), (4321, "4xxx")])
def test_close_codes_are_counted(share: Start, connect: Connect, code: int, shown: str) -> None:
    server = share()
    name = f'wss_connections_closed_total{{by="client",code="{shown}"}}'
    before = metrics(server).get(name, 0)
    connect(server).close(status=code)
    eventually(lambda: metrics(server).get(name) == before + 1, "the count")


def test_the_counters_of_a_dead_worker_stay_but_not_its_gauges(start: Start, connect: Connect) -> None:
    server = start()
    connect(server)
    eventually(lambda: metrics(server)["wss_connections_open"] == 1, "the count")
    os.kill(server.worker(), signal.SIGKILL)
    server.wait_for("(exited with -9)")
    server.wait_for("(serving)")
    connect(server)
    eventually(lambda: metrics(server)["wss_connections_opened_total"] == 2, "the count")
    seen = metrics(server)
    assert (seen["wss_connections_open"], seen["wss_workers"]) == (1, 1)


def test_workers_that_crash_are_counted_and_those_that_are_replaced_are_not(start: Start) -> None:
    server = start()
    name = "wss_worker_exits_total"
    assert metrics(server)[name] == 0
    os.kill(server.worker(), signal.SIGKILL)
    eventually(lambda: metrics(server)[name] == 1, "the count")
    server.wait_for("(serving)")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("(stopping: closing)")
    eventually(lambda: metrics(server)["wss_workers"] == 1, "the old worker has ended")
    assert metrics(server)[name] == 1


def test_a_worker_that_exits_before_it_serves_is_counted(start: Start, tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text("from apps.echo import handler\n")
    server = start(APP="fragile:handler", PYTHONPATH=str(tmp_path))
    (tmp_path / "fragile.py").write_text("import os\nos._exit(3)\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("(keeping the old workers)")
    eventually(lambda: metrics(server)["wss_worker_exits_total"] == 1, "the count")


def test_the_metrics_of_all_workers_are_added_up(start: Start, connect: Connect) -> None:
    server = start(WORKERS="4")
    for _ in range(3):
        server.wait_for("(serving)")
    for _ in range(20):
        connect(server)
    eventually(lambda: metrics(server)["wss_connections_open"] == 20, "the count")
    assert metrics(server)["wss_workers"] == 4


def test_a_rolling_replacement_does_not_change_the_number_of_workers(start: Start, connect: Connect) -> None:
    server = start()
    connect(server)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("(stopping: closing)")
    eventually(lambda: metrics(server)["wss_workers"] == 1, "the count")
    seen = metrics(server)
    assert (seen["wss_connections_opened_total"], seen["wss_connections_open"]) == (1, 0)


def test_the_expiry_of_the_certificate_is_exported(share: Start, tls_dir: Path) -> None:
    server = share(METRICS_PORT="0", TLS_DIR=str(tls_dir))  # that of the test of refusals
    assert metrics(server)["wss_certificate_expiry_timestamp_seconds"] > time.time()


@pytest.mark.parametrize(
    ("secure", "request_", "reason"),
    [
        (False, b"GET /wss HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n", "malformed"),
        (False, b"POST /wss HTTP/1.1\r\n\r\n", "method"),
        (True, b"GET / HTTP/1.1\r\n\r\n", "no_tls"),
        (True, bytes.fromhex("160301002d010000290302" + "00" * 32 + "000002c0090100"), "tls"),
    ],
)
def test_a_refused_connection_is_counted_with_one_reason(
    share: Start, tls_dir: Path, secure: bool, request_: bytes, reason: str
) -> None:
    server = share(METRICS_PORT="0", **({"TLS_DIR": str(tls_dir)} if secure else {}))  # not shared with other tests

    def refused() -> dict[str, float]:
        return {name: count for name, count in metrics(server).items() if "_refused_total" in name}

    before = refused()
    connection = socket.create_connection(("localhost", server.port), TIMEOUT)
    with connection, connection.makefile("rb") as response:
        connection.sendall(request_)
        assert response.read()
    name = f'wss_connections_refused_total{{reason="{reason}"}}'
    wanted = {**before, name: before.get(name, 0) + 1}
    eventually(lambda: refused() == wanted, f"{reason} is counted, and nothing else")


def test_a_handler_that_blocks_the_event_loop_is_logged(start: Start, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "blocking.py").write_text("import time\nasync def handler(connection):\n    time.sleep(2.5)\n")
    server = start(APP="blocking:handler", PYTHONPATH=str(tmp_path))
    connect(server)
    server.wait_for(r"(the event loop was blocked for at least [1-9].* s: a handler blocks it)")


def test_connections_are_counted_by_route_and_not_by_path(start: Start, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "routed.py").write_text(
        "from wss import Router\n"
        "handler = Router()\n"
        "@handler.route('/ws/rooms/{room}')\n"
        "async def room(connection, room):\n"
        "    await connection.recv()\n"
    )
    server = start(APP="routed:handler", WS_PATHS="/ws/*", PYTHONPATH=str(tmp_path))
    for room in range(3):
        connect(server, path=f"/ws/rooms/{room}")
    name = "wss_path_connections_opened_total"
    eventually(lambda: metrics(server).get(f'{name}{{path="/ws/rooms/{{room}}"}}') == 3, "the count")
    assert sum(each.startswith(name) for each in metrics(server)) == 1


def test_connections_of_a_prefix_are_counted_together(start: Start, connect: Connect) -> None:
    server = start(WS_PATHS="/wss,/ws/*")
    for path in ("/wss", "/ws/a", "/ws/b"):
        connect(server, path=path)
    name = "wss_path_connections_opened_total"
    eventually(lambda: metrics(server).get(f'{name}{{path="/ws/*"}}') == 2, "the count")
    assert metrics(server)[f'{name}{{path="/wss"}}'] == 1


def test_each_worker_reports_its_memory_and_open_files(start: Start, connect: Connect) -> None:
    server = start(WORKERS="2", MAX_CONNECTIONS="50")
    server.wait_for("(serving)")
    eventually(lambda: metrics(server).get("wss_workers") == 2, "both workers")
    before = metrics(server)
    workers = [f'{{pid="{number}"}}' for number in (1, 2)]
    assert before["wss_connections_limit"] == 100
    assert all(before[f"wss_memory_bytes{worker}"] > 10e6 for worker in workers)
    assert time.time() - before["wss_start_time_seconds"] < TIMEOUT
    for _ in range(20):
        connect(server)

    def open_files(seen: dict[str, float]) -> float:
        return sum(seen[f"wss_open_files{worker}"] for worker in workers)

    eventually(lambda: open_files(metrics(server)) >= open_files(before) + 20, "the count")
    assert all(before[f"wss_open_files{worker}"] < before[f"wss_open_files_limit{worker}"] for worker in workers)


def test_log_lines_are_counted_by_level(share: Start) -> None:
    server = share()
    eventually(lambda: metrics(server).get('wss_log_messages_total{level="info"}', 0) >= 1, "the count")


def test_a_failing_renewal_is_reported(start: Start, tmp_path: Path) -> None:
    (tmp_path / "failing").write_text("0\n")
    server = start(EXPIRY_FILE=str(tmp_path / "expiry"))
    name = "wss_certificate_renewal_failing"
    eventually(lambda: metrics(server).get(name) == 0, "no failure")
    (tmp_path / "failing").write_text("1\n")
    eventually(lambda: metrics(server)[name] == 1, "the failure")
