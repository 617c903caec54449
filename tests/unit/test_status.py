"""`status`: the version, and the tables of workers and connections, for a running server."""

import os
import re
import signal
import subprocess
from pathlib import Path

from server import BACKEND, Connect, Start, run_command


def status(directory: Path) -> "subprocess.CompletedProcess[str]":
    return run_command("wss.observability.status", directory)


def test_status_shows_workers_and_connections(start: Start, connect: Connect, tmp_path: Path) -> None:
    server = start(RUN_DIR=str(tmp_path), WORKERS="2")
    server.wait_for("(serving)")
    clients = [connect(server) for _ in range(3)]
    for ws in clients:
        ws.send("tom")
        ws.recv()
    shown = status(tmp_path)
    assert shown.returncode == 0, shown.stderr
    _, workers, connections = (part.splitlines() for part in shown.stdout.split("\n\n"))
    assert [line.split()[0] for line in workers] == ["worker", "1", "2", "total"]
    assert workers[-1].split()[1:] == ["3", "0", "3", "0", "3", "9", "3", "6"]
    assert len(connections) == 1 + 3
    assert all(re.search(r"(127\.0\.0\.1|::1) +/wss +\d+ +1 +3 +1 +2 +0$", line) for line in connections[1:])


def test_status_shows_a_worker_that_hangs(start: Start, tmp_path: Path) -> None:
    server = start(RUN_DIR=str(tmp_path))
    os.kill(server.worker(), signal.SIGSTOP)
    assert "no response in 2 s" in status(tmp_path).stdout
    os.kill(server.worker(), signal.SIGCONT)


def test_status_fails_if_no_worker_runs(tmp_path: Path) -> None:
    shown = status(tmp_path)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == f"error: no worker responds in RUN_DIR='{tmp_path}'. Is the server running?\n"


def test_a_handler_without_a_connection_takes_no_place_and_is_shown(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "stays.py").write_text("import asyncio\n\n\nasync def handler(_):\n    await asyncio.sleep(600)\n")
    path = f"{BACKEND}{os.pathsep}{tmp_path}"
    server = start(APP="stays:handler", PYTHONPATH=path, RUN_DIR=str(tmp_path / "run"), MAX_CONNECTIONS="1")
    connect(server).close()
    server.wait_for('("event": "closed")')
    connect(server)
    (total,) = [line.split() for line in status(tmp_path / "run").stdout.splitlines() if line.startswith("total")]
    assert total[1:5] == ["1", "0", "2", "1"]
