"""One measurement: a task for the load generator, and what the subject used up meanwhile."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.subject import IMAGE, Running, place_of


class Load:
    """A load generator in the network namespace of one subject; it takes one task after another."""

    def __init__(self, running: Running, process: "subprocess.Popen[str]") -> None:
        self._running = running
        self._process = process
        self._place = place_of(running.subject)

    def measure(self, **task: Any) -> dict[str, float]:
        """Return what the generator counted, and `cpu`: seconds of the subject between its start and its end."""
        self._begin(task)
        before = self._running.cpu()
        self._expect("end")
        used = self._running.cpu() - before
        return {**self._result(), "cpu": used}

    def hold(self, connections: int) -> float:
        """Return the bytes of memory of the subject for each of so many idle connections."""
        before = self._running.memory()
        self._begin({"workload": "idle", "connections": connections})
        grown = self._running.memory() - before
        self._say("")
        self._expect("end")
        self._result()
        return grown / connections

    def _begin(self, task: dict[str, Any]) -> None:
        self._say(json.dumps({**task, "place": self._place}))
        self._expect("start")

    def _say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator of {self._running.subject.name} ended with {self._process.wait()}")
        return line.strip()

    def _expect(self, word: str) -> None:
        line = self._read()
        assert line == word, line

    def _result(self) -> dict[str, float]:
        result: dict[str, float] = json.loads(self._read())
        return result


@contextmanager
def loading(running: Running, certs: Path) -> Iterator[Load]:
    command = ["docker", "run", "--rm", "--interactive", f"--network=container:{running.front}"]
    command += [f"--volume={certs}:/tls:ro", "--ulimit=nofile=20000:20000", IMAGE, "python3", "load.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Load(running, process)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(timeout=60)
