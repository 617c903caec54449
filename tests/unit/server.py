"""A running `python -m wss`, for the tests that need the real thing but no Docker."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import websocket
from eventually import LIMIT, eventually

REPOSITORY = Path(__file__).parents[2]
BACKEND = REPOSITORY / "backend"
HARNESS = REPOSITORY / "tests" / "harness"
TIMEOUT = LIMIT  # seconds for any single step


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
        self.opened = 0  # websockets, by the fixture connect
        self._read = 0  # how many of them wait_for has seen
        self._ended = False
        self._changed = threading.Condition()
        # All the time, so that a log that nobody waits for does not fill the pipe and block the server.
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for(r"serving wss?://\*:(\d+)"))

    def _collect(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def metrics_port(self) -> int:
        return next(int(json.loads(line)["metrics_port"]) for line in self.lines if "serving" in line)

    def wait_for(self, pattern: str) -> str:
        """Wait for the next line of the log that matches; return its first group."""
        with self._changed:
            while True:
                while self._read < len(self.lines):
                    self._read += 1
                    if match := re.search(pattern, self.lines[self._read - 1]):
                        return match.group(1)
                log = "".join(self.lines[-50:])
                assert not self._ended, f"ended without {pattern!r} in its log:\n{log}"
                assert self._changed.wait(TIMEOUT), f"not within {TIMEOUT:.0f} s: {pattern!r} in the log:\n{log}"

    def forget_log(self) -> None:
        """Let `wait_for` look at nothing that is in the log already."""
        with self._changed:
            self._read = len(self.lines)

    def wait_until_all_closed(self) -> None:
        """Wait until every websocket of the fixture connect has ended, so that the next test finds nobody there."""
        closed = '"event": "closed"'
        eventually(lambda: sum(closed in line for line in list(self.lines)) >= self.opened, "all have ended")

    def worker(self) -> int:
        """Return the process of the last worker that logged that it serves."""
        return next(int(json.loads(line)["process"]) for line in reversed(self.lines) if "serving" in line)

    def worker_memory(self) -> int:
        """Return the bytes that this worker keeps in memory."""
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.worker()}/status").read_text())
        return int(kilobytes) * 1024

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        """Kill it if it still runs, and its workers, which end with it."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr
        self.process.stderr.close()


def failed_start(**environment: str) -> str:
    """Run `python -m wss` with settings that it cannot serve with; return its only line."""
    ended = subprocess.run(
        [sys.executable, "-m", "wss"],
        cwd=BACKEND,
        env={**os.environ, "PORT": "0", "METRICS_PORT": "0", **environment},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    return ended.stderr


Start = Callable[..., Server]
Connect = Callable[..., websocket.WebSocket]
