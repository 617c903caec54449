"""The workers: stop, restart after a crash, rolling replacement."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import websocket
from server import TIMEOUT, Connect, Start
from server_fixtures import connect, start
from wss.config.settings import read_settings
from wss.process.worker_environment import WorkerEnvironment

__all__ = ("connect", "start")

pytestmark = pytest.mark.long


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_closes_with_1001_and_exits_with_0(start: Start, connect: Connect, number: signal.Signals) -> None:
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


def test_a_stop_while_workers_start_exits_with_0(start: Start) -> None:
    server = start(WORKERS="4")
    assert server.stop() == 0


def test_a_second_signal_kills_the_workers(start: Start, connect: Connect, tmp_path: Path) -> None:
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
    server.wait_for(r"(killing worker \d+: it has not exited yet)")
    assert server.process.wait(TIMEOUT) == 1


def test_the_close_frames_of_a_stop_are_spread(start: Start, connect: Connect) -> None:
    server = start(STOP_SPREAD="5")
    clients = [connect(server) for _ in range(11)]
    server.process.terminate()
    times = []
    for ws in clients:
        ws.recv_data_frame(control_frame=True)
        times.append(time.monotonic())
    assert times[-1] - times[0] > 1  # this process may be late for the first one


def test_a_full_worker_refuses_clients_and_continues(start: Start, connect: Connect) -> None:
    server = start(MAX_CONNECTIONS="1")
    first = connect(server)
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        connect(server)
    assert refusal.value.status_code == 503
    first.send("tom")
    assert first.recv() == "ok"
    first.close()
    # It accepts clients again when it has processed the close.
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            connect(server)
            break
        except websocket.WebSocketBadStatusException:
            assert time.monotonic() < deadline


def test_a_killed_worker_is_replaced_on_the_same_port(start: Start, connect: Connect) -> None:
    server = start(APP="apps.whoami:handler")
    worker = server.worker()
    os.kill(worker, signal.SIGKILL)
    server.wait_for(rf"(worker {worker} exited with -9)")
    # No client is refused meanwhile: the supervisor keeps the listening socket and its accept queue.
    ws = connect(server)
    ws.send("who are you?")
    assert json.loads(ws.recv())["process"] != worker
    assert server.stop() == 0


def test_a_replacement_refuses_no_client_and_closes_with_1012(start: Start, connect: Connect) -> None:
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


def test_a_new_worker_is_monitored_while_the_old_one_hangs(start: Start, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(
        "import threading\n"
        "async def handler(connection):\n"
        "    if await connection.recv() == 'hang':\n"
        "        threading.Event().wait()\n"
    )
    server = start(APP="hanging:handler", PYTHONPATH=str(tmp_path))
    hanging = server.worker()
    try:
        connect(server).send("hang")
        server.process.send_signal(signal.SIGHUP)
        successor = int(server.wait_for(r"worker (\d+) replaces worker"))
        os.kill(successor, signal.SIGKILL)
        server.wait_for(f"(worker {successor} exited with -9: starting another)")
        connect(server).send("tom")
    finally:
        os.kill(hanging, signal.SIGKILL)


def test_workers_exit_with_their_supervisor(start: Start) -> None:
    server = start()
    server.process.kill()
    # The log ends when the last process that holds it has exited.
    with pytest.raises(AssertionError, match="exited without"):
        server.wait_for("(no such line)")
    assert "stopping" in server.lines[-1]


def test_a_worker_reads_what_the_supervisor_passes(tmp_path: Path) -> None:
    passed = WorkerEnvironment(number=2, ready_fd=5, socket_fd=6, run_dir=tmp_path, metrics_port=8283)
    environment = passed.to_environment()
    assert WorkerEnvironment.from_environment(environment) == passed
    settings = read_settings(environment)
    assert (settings.run_dir, settings.metrics_port) == (tmp_path, 8283)
