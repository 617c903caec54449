"""One measurement: a task for the load generator, and what the subject used up meanwhile."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.subject import IMAGE, LABEL, NAME, PROJECT, Running

Seen = dict[str, float]
# Once in a thousand times, Docker says of a busy container what it said before.
TRIES = 3


class Load:
    """A load generator in the network namespace of one subject; it takes one task after another."""

    def __init__(self, running: Running, process: "subprocess.Popen[str]") -> None:
        self.running = running
        self.lost = 0
        """Messages so far that had no reply."""
        self._process = process
        subject = running.subject
        self._place = f"port={subject.port} name={NAME}{' ca=/tls/ca.pem' if subject.tls else ''}"
        self._path = " path=/wss" if subject.speaks_websocket else ""

    def measure(self, workload: str, *, query: str = "", **numbers: float) -> Seen:
        """Return what the generator counted, and the subject's seconds of CPU meanwhile: `cpu`, `front`."""
        for _ in range(TRIES):
            self._begin(workload, query, **numbers)
            if (seen := self._watch())["least"] > 0:
                return seen
        raise RuntimeError(f"Docker says that {self.running.subject.name} uses no CPU")

    def idle(self, connections: int) -> None:
        """Have so many connections open, and nothing said over them."""
        self._begin("idle", "", connections=connections)
        self._expect(str(connections))

    def _begin(self, workload: str, query: str, **fields: Any) -> None:
        named = " ".join(f"{name}={value}" for name, value in fields.items())
        self._say(f"{workload} {self._place}{self._path}{query} {named}")

    def _watch(self) -> Seen:
        self._expect("start")
        before = self.running.cpu()
        self._expect("end")
        used = [after - was for was, after in zip(before, self.running.cpu(), strict=True)]
        seen: Seen = json.loads(self._read())
        self.lost += int(seen.get("lost", 0))
        return {**seen, "cpu": sum(used), "front": used[0], "least": min(used)}

    def _say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator of {self.running.subject.name} ended with {self._process.wait()}")
        return line.strip()

    def _expect(self, word: str) -> None:
        line = self._read()
        assert line == word, line


@contextmanager
def loading(running: Running, certs: Path) -> Iterator[Load]:
    command = ["docker", "run", "--rm", "--interactive", f"--network=container:{running.front}"]
    command += [f"--label={LABEL}={PROJECT}", f"--volume={certs}:/tls:ro", "--ulimit=nofile=20000:20000", IMAGE, "load"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Load(running, process)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(timeout=60)
