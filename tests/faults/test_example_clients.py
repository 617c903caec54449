"""The clients in examples/clients: the one in Python against a real server, and the codes after which each retries."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket
from eventually import eventually
from ports import free_port
from server import REPOSITORY, Connect, Server, Start, run_command
from server_fixtures import connect, start

__all__ = ("connect", "start")

CLIENTS = REPOSITORY / "examples" / "clients"
# Seconds after which it retries a connection that fails: https://websockets.readthedocs.io/en/stable/reference/variables.html
BACKOFF = {"WEBSOCKETS_BACKOFF_INITIAL_DELAY": "0.1", "WEBSOCKETS_BACKOFF_MIN_DELAY": "0.1"}


class Program:
    """examples/clients/reconnecting.py in the room tea, with the lines that it has printed."""

    def __init__(self, url: str, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, CLIENTS / "reconnecting.py", url, "tea", name],
            env={**os.environ, **BACKOFF},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        assert self.process.stdout
        self.lines.extend(map(str.strip, iter(self.process.stdout.readline, "")))

    def said(self) -> list[str]:
        messages: list[dict[str, Any]] = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [message["text"] for message in messages if message["type"] == "said"]

    def wait_for(self, line: str) -> None:
        eventually(lambda: any(line in each for each in self.lines), f"the client prints {line!r}: {self.lines}")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._reader.join()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def server(start: Start, run_dir: Path) -> Server:
    return start(APP="apps.chat:handler", RUN_DIR=str(run_dir), PORT=str(free_port()))


@pytest.fixture
def ann(server: Server) -> Iterator[Program]:
    program = Program(f"ws://localhost:{server.port}/wss", "Ann")
    program.wait_for('"members"')
    yield program
    program.close()


def _enter(ws: websocket.WebSocket) -> None:
    ws.send(json.dumps({"type": "enter", "room": "tea", "name": "Bob"}))


def _say(ws: websocket.WebSocket, *texts: str) -> None:
    for text in texts:
        ws.send(json.dumps({"type": "say", "room": "tea", "text": text}))


def test_the_client_in_python_comes_back_and_misses_nothing_or_prints_a_gap(
    server: Server, connect: Connect, start: Start, ann: Program, run_dir: Path
) -> None:
    bob = connect(server)
    _enter(bob)
    _say(bob, "one", "two")
    ann.wait_for('"two"')
    for number in range(3):
        assert run_command("wss.close", run_dir, "--user", "Ann", "--code", "1012").returncode == 0
        _say(bob, f"missed {number}")
        ann.wait_for(f'"missed {number}"')
    assert ann.said() == ["one", "two", "missed 0", "missed 1", "missed 2"]
    assert not any("missing" in line for line in ann.lines)

    assert server.stop() == 0
    restarted = start(APP="apps.chat:handler", RUN_DIR=str(run_dir), PORT=str(server.port))
    ann.wait_for("messages are missing: epoch")
    again = connect(restarted)
    _enter(again)
    _say(again, "after")
    ann.wait_for('"after"')
    assert ann.said()[-1] == "after"

    assert run_command("wss.close", run_dir, "--user", "Ann", "--reason", "no longer a member").returncode == 0
    assert ann.process.wait() == 1
    assert ann.process.stderr
    assert "received 4403 (private use) no longer a member" in ann.process.stderr.read()


def test_all_clients_retry_after_the_same_codes() -> None:
    files = (REPOSITORY / "site" / "client.js", CLIENTS / "wechat.js", CLIENTS / "reconnecting.py")
    codes = {}
    for file in files:
        (table,) = re.findall(r"^(?:const )?RETRIED = (.*)$", file.read_text(), re.MULTILINE)
        codes[file.name] = re.findall(r"(\d{4}): (\d)|\[(\d{4}), (\d)\]", table)
    found = {name: sorted(tuple(filter(None, pair)) for pair in pairs) for name, pairs in codes.items()}
    assert len(found["client.js"]) > 4
    assert found["client.js"] == found["wechat.js"] == found["reconnecting.py"]
