"""A running `python -m wss`, for tests that need the real server but no Docker."""

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
DIRECTORY = BACKEND  # in which it runs
NOT_IN_THE_IMAGE = Path(__file__).parent / "not_in_the_image"
HARNESS = REPOSITORY / "tests" / "harness"
TIMEOUT = LIMIT  # seconds for each step of a test


class Server:
    """A running `python -m wss`, with its `port` and the log `lines` so far."""

    def __init__(self, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wss"],
            cwd=DIRECTORY,
            env=_environment(environment),
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.opened = 0  # websockets that the fixture connect has opened
        self._read = 0  # lines that wait_for has read
        self._ended = False
        self._changed = threading.Condition()
        # The thread always reads, so that the log cannot fill the pipe and block the server.
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
        """Wait for the next log line that matches; return the first group of the match."""
        with self._changed:
            while True:
                while self._read < len(self.lines):
                    self._read += 1
                    if match := re.search(pattern, self.lines[self._read - 1]):
                        return match.group(1)
                log = "".join(self.lines[-50:])
                assert not self._ended, f"the server exited without {pattern!r} in its log:\n{log}"
                assert self._changed.wait(TIMEOUT), f"no {pattern!r} in the log within {TIMEOUT:.0f} s:\n{log}"

    def forget_log(self) -> None:
        """Make `wait_for` ignore the lines that are in the log now."""
        with self._changed:
            self._read = len(self.lines)

    def wait_until_all_closed(self) -> None:
        """Wait until all websockets of the fixture connect are closed, so that the next test starts without clients."""
        closed = '"event": "closed"'
        eventually(lambda: sum(closed in line for line in list(self.lines)) >= self.opened, "all websockets are closed")

    def worker(self) -> int:
        """Return the PID of the last worker that logged that it serves."""
        return next(int(json.loads(line)["process"]) for line in reversed(self.lines) if "serving" in line)

    def worker_memory(self) -> int:
        """Return the resident memory of this worker in bytes."""
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.worker()}/status").read_text())
        return int(kilobytes) * 1024

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        """Kill the server if it still runs; its workers exit with it."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr
        self.process.stderr.close()


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """Return the environment of a server or a command with these settings: on free ports, with the image's packages."""
    path = os.pathsep.join((str(NOT_IN_THE_IMAGE), settings.get("PYTHONPATH", str(BACKEND))))
    return {**os.environ, "PORT": "0", "METRICS_PORT": "0", **settings, "PYTHONPATH": path}


def run_command(
    module: str, run_dir: Path, *arguments: str, text: str = "", **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command beside the server that has this RUN_DIR, with `text` as its standard input."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=BACKEND,
        env=_environment({"RUN_DIR": str(run_dir), **environment}),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def failed_start(**environment: str) -> str:
    """Run `python -m wss` with invalid settings; return its only line of output."""
    ended = subprocess.run(
        [sys.executable, "-m", "wss"],
        cwd=BACKEND,
        env=_environment(environment),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    return ended.stderr


Start = Callable[..., Server]
Connect = Callable[..., websocket.WebSocket]
