"""One measurement: a task of the load generator, and the CPU that the subject uses during it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.running import LABEL, NAME, Running
from bench.subjects import IMAGE, PROJECT

Measurement = dict[str, float]
# Beside other work, a container may get no CPU in a short time, and Docker may return its previous statistics again.
# Each try takes twice as long as the one before.
TRIES = 6


class LoadGenerator:
    """A load generator in the network namespace of one subject; it runs one task at a time."""

    def __init__(self, running: Running, process: "subprocess.Popen[str]") -> None:
        self.running = running
        self.lost = 0
        """Number of messages without a reply so far."""
        self._process = process
        subject = running.subject
        self._endpoint = f"port={subject.port} name={NAME}{' ca=/tls/ca.pem' if subject.tls else ''}"
        self._path = " path=/wss" if subject.is_websocket else ""

    def measure(self, workload: str, *, query: str = "", **numbers: float) -> Measurement:
        """Return the generator's counts, and the CPU seconds of all containers (`cpu`) and the first one (`front`)."""
        return self._repeated(
            lambda longer: self._begin(workload, query, **{**numbers, "seconds": numbers["seconds"] * longer})
        )

    def storm(self, **numbers: float) -> Measurement:
        """Drop connections that reconnect at once; return the same as `measure`."""
        return self._repeated(lambda _: self._begin("storm", "", **numbers), waits=True)

    def _repeated(self, begin: Callable[[int], None], *, waits: bool = False) -> Measurement:
        for longer in range(TRIES):
            begin(2**longer)
            if (result := self._collect(waits=waits))["min_cpu"] > 0:
                return result
        raise RuntimeError(f"Docker reports that {self.running.subject.name} used no CPU")

    def idle(self, connections: int) -> None:
        """Keep so many connections open without sending messages."""
        self._begin("idle", "", connections=connections)
        self._expect(str(connections))

    def _begin(self, workload: str, query: str, **fields: Any) -> None:
        named = " ".join(f"{name}={value}" for name, value in fields.items())
        self._write_line(f"{workload} {self._endpoint}{self._path}{query} {named}")

    def _collect(self, *, waits: bool = False) -> Measurement:
        self._expect("start")
        before = self.running.cpu()
        if waits:
            self._write_line("go")
        self._expect("end")
        used = [after - was for was, after in zip(before, self.running.cpu(), strict=True)]
        result: Measurement = json.loads(self._read_line())
        self.lost += int(result.get("lost", 0))
        return {**result, "cpu": sum(used), "front": used[0], "min_cpu": min(used)}

    def _write_line(self, line: str) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._exited() from error

    def _read_line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise self._exited()
        return line.strip()

    def _exited(self) -> RuntimeError:
        name = self.running.subject.name
        return RuntimeError(f"the load generator of {name} exited with {self._process.wait()}, and logged the reason")

    def _expect(self, word: str) -> None:
        line = self._read_line()
        assert line == word, line


@contextmanager
def load_generator(running: Running, certs: Path) -> Iterator[LoadGenerator]:
    command = ["docker", "run", "--rm", "--interactive", f"--network=container:{running.front}"]
    command += [f"--label={LABEL}={PROJECT}", f"--volume={certs}:/tls:ro", "--ulimit=nofile=20000:20000", IMAGE, "load"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield LoadGenerator(running, process)
        finally:
            assert process.stdin
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait(timeout=60)
