"""STOP_DRAIN: a worker that stops takes no new clients, tells handlers, and lets its clients leave by themselves."""

import os
import re
import signal
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import websocket
from eventually import eventually
from raw import HANDSHAKE
from server import TIMEOUT, Connect, Server, Start, run_command
from server_fixtures import connect, start
from via import OTHER, PROXY, Via, opened, request
from wss.config.environment import SettingError
from wss.config.settings import read_settings

pytestmark = pytest.mark.long

__all__ = ("connect", "opened", "start")

LONG = "1h"
GOING_AWAY, SERVICE_RESTART = 1001, 1012
# Answers each message, and asks its client to move when the connection drains.
HANDLER = """
import asyncio

async def handler(connection):
    async def ask_to_move():
        await connection.draining.wait()
        await connection.send("move")

    asking = asyncio.create_task(ask_to_move())
    try:
        async for message in connection:
            await connection.send(message)
    finally:
        asking.cancel()
"""


@pytest.fixture
def start_draining(start: Start, tmp_path: Path) -> Start:
    (tmp_path / "moving.py").write_text(HANDLER)

    def start_draining(**settings: str) -> Server:
        path = os.pathsep.join((os.environ.get("PYTHONPATH", ""), str(tmp_path)))
        return start(APP="moving:handler", PYTHONPATH=path, RUN_DIR=str(tmp_path / "run"), **settings)

    return start_draining


def close_code(ws: websocket.WebSocket) -> int:
    opcode, frame = ws.recv_data_frame(control_frame=True)
    assert opcode == websocket.ABNF.OPCODE_CLOSE, (opcode, frame)
    return int.from_bytes(frame.data[:2], "big")


def echoes(ws: websocket.WebSocket) -> bool:
    ws.send("tom")
    return bool(ws.recv() == "tom")


def refused(connect: Connect, server: Server) -> int:
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        connect(server)
    return refusal.value.status_code


def health(server: Server) -> str:
    with urllib.request.urlopen(f"http://localhost:{server.port}/healthz", timeout=TIMEOUT) as response:
        return str(response.read().decode().strip())


def test_a_stop_waits_until_the_last_client_has_left(start_draining: Start, connect: Connect) -> None:
    server = start_draining(STOP_DRAIN=LONG, DRAIN_SPREAD="0", WORKERS="2")
    server.wait_for("(serving)")  # the second worker
    clients = [connect(server) for _ in range(8)]
    server.process.terminate()
    assert [client.recv() for client in clients] == ["move"] * 8
    assert all(map(echoes, clients))
    assert refused(connect, server) == 503
    assert health(server) == "draining"
    *leaving, last = clients
    for client in leaving:
        client.close()
    assert echoes(last)
    assert server.process.poll() is None
    last.close()
    assert server.process.wait(TIMEOUT) == 0


def test_clients_that_stay_are_closed_when_their_time_is_over(start_draining: Start, connect: Connect) -> None:
    server = start_draining(STOP_DRAIN="2s", DRAIN_SPREAD="0")
    client = connect(server)
    told = time.monotonic()
    server.process.terminate()
    assert client.recv() == "move"
    assert close_code(client) == GOING_AWAY
    assert time.monotonic() - told > 1.9
    assert server.process.wait(TIMEOUT) == 0


def test_a_stop_without_clients_does_not_wait(start_draining: Start) -> None:
    assert start_draining(STOP_DRAIN=LONG).stop() == 0


def test_clients_of_replaced_workers_stay_while_new_ones_are_served(start_draining: Start, connect: Connect) -> None:
    server = start_draining(STOP_DRAIN=LONG, DRAIN_SPREAD="0")
    old = connect(server)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("(replaces worker)")
    assert old.recv() == "move"
    new = connect(server)
    assert echoes(old)
    assert echoes(new)
    # A stop of all does not cut the drain of a replaced worker short.
    server.process.terminate()
    assert new.recv() == "move"
    assert echoes(old)
    old.close()
    new.close()
    assert server.process.wait(TIMEOUT) == 0


def test_clients_of_replaced_workers_are_closed_with_1012(start_draining: Start, connect: Connect) -> None:
    server = start_draining(STOP_DRAIN="1s", DRAIN_SPREAD="0")
    old = connect(server)
    server.process.send_signal(signal.SIGHUP)
    assert old.recv() == "move"
    assert close_code(old) == SERVICE_RESTART


@pytest.mark.parametrize(("settings", "shortest"), [({"DRAIN_SPREAD": "5s"}, 1.0), ({"STOP_DRAIN": "10s"}, 1.0)])
def test_clients_are_told_one_by_one_the_oldest_first(
    start_draining: Start, connect: Connect, settings: dict[str, str], shortest: float
) -> None:
    server = start_draining(**{"STOP_DRAIN": LONG, **settings})
    clients = [connect(server) for _ in range(5)]
    server.process.terminate()
    times = []
    for client in clients:
        assert client.recv() == "move"
        times.append(time.monotonic())
    assert times[-1] - times[0] > shortest  # this process may be late for the first one
    clients[0].close()


def test_a_second_signal_ends_the_drain_and_a_third_one_kills(start_draining: Start, connect: Connect) -> None:
    server = start_draining(STOP_DRAIN=LONG)
    client = connect(server)
    server.process.terminate()
    server.wait_for("(draining: 1 connections have 3600 s to leave)")
    assert client.recv() == "move"
    server.process.terminate()
    assert close_code(client) == GOING_AWAY
    assert server.process.wait(TIMEOUT) == 0


def test_workers_that_drain_end_with_their_supervisor(start_draining: Start, connect: Connect) -> None:
    server = start_draining(STOP_DRAIN=LONG)
    client = connect(server)
    server.process.terminate()
    assert client.recv() == "move"
    server.process.kill()
    assert close_code(client) == GOING_AWAY


def test_status_and_metrics_count_the_clients_that_remain(
    start_draining: Start, connect: Connect, tmp_path: Path
) -> None:
    server = start_draining(STOP_DRAIN=LONG)
    clients = [connect(server) for _ in range(3)]

    def remaining() -> float:
        with urllib.request.urlopen(f"http://localhost:{server.metrics_port}/metrics", timeout=TIMEOUT) as response:
            return float(re.findall(r"^wss_connections_draining (\S+)", response.read().decode(), re.MULTILINE)[0])

    def table() -> str:
        return run_command("wss.observability.status", tmp_path / "run").stdout

    assert remaining() == 0
    assert re.search(r"serving .* 3 +0 +3 +0", table())
    server.process.terminate()
    eventually(lambda: remaining() == 3, "3 connections drain")
    clients.pop().close()
    eventually(lambda: remaining() == 2, "2 connections drain")
    assert re.search(r"draining, [01]:\d\d:\d\d left .* 2 +2 +3 +0", table())


SLOW_HANDSHAKE = """
import logging
from pathlib import Path

async def process_request(connection, request):
    if "Slow" in request.headers:
        logging.getLogger("slow").info("handshake begins")
        while not Path("{file}").exists():
            await asyncio.sleep(0.05)  # the condition above decides
"""


def test_a_client_whose_handshake_was_under_way_is_told_too(
    start: Start, connect: Connect, opened: ExitStack, tmp_path: Path
) -> None:
    go_on = tmp_path / "go on"
    (tmp_path / "slow.py").write_text(HANDLER + SLOW_HANDSHAKE.format(file=go_on))
    server = start(APP="slow:handler", PYTHONPATH=str(tmp_path), STOP_DRAIN=LONG)
    first = connect(server)
    late = Via(server, PROXY, HANDSHAKE.removesuffix(b"\r\n") + b"Slow: 1\r\n\r\n", opened, wait=False)
    server.wait_for("(handshake begins)")
    server.process.terminate()
    server.wait_for("(draining: 1 connections)")
    go_on.touch()
    assert late.status == 101
    assert late.receives(b"\x81\x04move", b"")
    assert first.recv() == "move"


# A proxy that stops.


def test_the_clients_of_a_proxy_that_stops_have_time_to_leave(start_draining: Start, opened: ExitStack) -> None:
    server = start_draining(STOP_DRAIN=LONG, DRAIN_SPREAD="0", WORKERS="2", TRUSTED_PROXIES="127.0.0.0/8")
    server.wait_for("(serving)")
    clients, others = ([Via(server, address, HANDSHAKE, opened) for _ in range(8)] for address in (PROXY, OTHER))
    assert Via(server, PROXY, request("/internal/proxy-draining"), opened).status == 200
    assert all(client.receives(b"\x81\x04move", b"") for client in clients)
    assert all(each.receives(b"\x81\x00") for each in (*clients, *others))
    # When it asks again, its time is over.
    assert Via(server, PROXY, request("/internal/proxy-draining"), opened).status == 200
    assert [client.close_code() for client in clients] == [SERVICE_RESTART] * 8
    assert all(other.receives(b"\x81\x00") for other in others)


def test_the_clients_of_a_proxy_that_stay_are_closed_with_1012(start_draining: Start, opened: ExitStack) -> None:
    server = start_draining(STOP_DRAIN="1s", DRAIN_SPREAD="0", TRUSTED_PROXIES="127.0.0.0/8")
    client = Via(server, PROXY, HANDSHAKE, opened)
    assert Via(server, PROXY, request("/internal/proxy-draining"), opened).status == 200
    assert client.receives(b"\x81\x04move", b"")
    assert client.close_code() == SERVICE_RESTART


# Settings.


@pytest.mark.parametrize("value", ["0", "1s", "90s", "30m", "12h", " 30m "])
def test_a_time_has_a_unit(value: str) -> None:
    number, unit = re.fullmatch(r" *(\d+)([smh]?) *", value).groups()  # type: ignore[union-attr]
    seconds = int(number) * {"": 0, "s": 1, "m": 60, "h": 3600}[unit]
    assert read_settings({"STOP_DRAIN": value}).stop_drain == seconds


@pytest.mark.parametrize("name", ["STOP_DRAIN", "DRAIN_SPREAD"])
@pytest.mark.parametrize(
    "value", ["30", "off", "-1s", "0s", "1.5h", "1h30m", "13h", "721m", "30 m", "30M", "1d", "30min"]
)
def test_other_times_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}='{value}': not a time. Give 1s to 12h"):
        read_settings({"STOP_DRAIN": "12h", name: value})


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"DRAIN_SPREAD": "1m"}, "DRAIN_SPREAD=60s: without STOP_DRAIN, .* Set STOP_DRAIN, or unset"),
        ({"DRAIN_SPREAD": "31m"}, "DRAIN_SPREAD=1860s: .*STOP_DRAIN=1800s. Give at most 1800s"),
        ({"RELOAD": "on"}, "RELOAD=on: .*STOP_DRAIN=1800s. Unset one"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], error: str) -> None:
    stop_drain = {} if "without" in error else {"STOP_DRAIN": "30m"}
    with pytest.raises(SettingError, match=f"^{error}"):
        read_settings({**stop_drain, **settings})
