"""A running `python -m wss`, for the tests that need the real thing but no Docker."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import websocket

BACKEND = Path(__file__).parents[2] / "backend"
TIMEOUT = 10.0  # seconds for any single step


class Server:
    """A running `python -m wss`; `port` is known when it serves, `lines` are what it has logged so far."""

    def __init__(self, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wss"],
            cwd=BACKEND,
            env={**os.environ, "PORT": "0", "METRICS_PORT": "0", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.port = int(self.wait_for(r"serving wss?://\*:(\d+)"))

    @property
    def metrics_port(self) -> int:
        return next(int(json.loads(line)["metrics_port"]) for line in self.lines if "serving" in line)

    def wait_for(self, pattern: str) -> str:
        """Read the log until a line matches; return its first group."""
        assert self.process.stderr
        watchdog = threading.Timer(TIMEOUT, self.process.kill)
        watchdog.start()
        try:
            return self._read_until(pattern, self.process.stderr)
        finally:
            watchdog.cancel()

    def _read_until(self, pattern: str, log: IO[str]) -> str:
        for line in log:
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match.group(1)
        raise AssertionError(f"ended without {pattern!r} in its log:\n{''.join(self.lines)}")

    def worker(self) -> int:
        """Return the process of the last worker which said that it serves."""
        return next(int(json.loads(line)["process"]) for line in reversed(self.lines) if "serving" in line)

    def worker_memory(self) -> int:
        """Return the bytes that this worker keeps in memory."""
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.worker()}/status").read_text())
        return int(kilobytes) * 1024

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(TIMEOUT)


def failed_start(**environment: str) -> str:
    """Run `python -m wss` with settings that it cannot serve with; return its only line."""
    ended = subprocess.run(
        [sys.executable, "-m", "wss"],
        cwd=BACKEND,
        env={**os.environ, "PORT": "0", "METRICS_PORT": "0", **environment},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=30,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    return ended.stderr


Start = Callable[..., Server]
Connect = Callable[..., websocket.WebSocket]
