"""deploy/logs sends every log line to a syslog server, which stores JSON with its types."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from client import TIMEOUT, target_of
from docker.models.containers import Container
from eventually import eventually
from fixtures import Connect, NewStack
from ports import free_port
from run import Run
from stack import REPOSITORY, read_in

EXAMPLE = REPOSITORY / "deploy" / "logs"


@dataclass
class Syslog:
    """The example's syslog server on a free port, and the Compose file that sends logs there."""

    container: Container
    port: int
    overlay: Path

    def start(self) -> None:
        """Start the server, and wait until it listens: Docker starts no container whose log it cannot send."""
        self.container.start()

        def listens() -> bool:
            with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT):
                return True

        eventually(listens, "the syslog server listens")

    def lines(self, file: str) -> list[str]:
        return read_in(self.container, "sh", "-c", f"cat /var/log/wss/{file} 2>/dev/null; echo").strip().splitlines()

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines("json.log")]


@pytest.fixture
def syslog(engine: docker.DockerClient, run: Run, tmp_path: Path) -> Iterator[Syslog]:
    image = f"{run.name}-syslog"
    subprocess.run(
        ["docker", "build", "--quiet", f"--tag={image}", str(REPOSITORY / "tests" / "harness" / "syslog")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    port = free_port()
    for name in ("rsyslog.conf", "syslog.yaml"):
        (tmp_path / name).write_text((EXAMPLE / name).read_text().replace("5514", str(port)))
    container = engine.containers.create(
        image,
        name=f"{run.name}-syslog",
        network_mode="host",
        volumes={str(tmp_path / "rsyslog.conf"): {"bind": "/rsyslog.conf", "mode": "ro"}},
    )
    yield Syslog(container, port, tmp_path / "syslog.yaml")
    container.remove(force=True, v=True)


def test_all_lines_reach_the_syslog_server(
    syslog: Syslog, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack("nginx", files=(REPOSITORY / "compose.yaml", syslog.overlay))
    # Without the server, no container starts: no line is lost without notice.
    outcome = stack.start("--wait")
    assert outcome.code != 0
    assert "failed to initialize logging driver" in outcome.output

    syslog.start()
    stack.up()

    def exchange() -> None:
        websocket = connect(target_of(stack, ca_file))
        websocket.send("tom")
        assert websocket.recv() == "ok"
        websocket.close()

    exchange()

    def of_connection() -> list[dict[str, Any]]:
        found = [entry for entry in syslog.entries() if entry.get("path") == "/wss"]
        assert {entry["container"] for entry in found} == {f"{stack.project}-{name}-1" for name in ("nginx", "backend")}
        return found

    proxy, backend = sorted(eventually(of_connection, "both lines arrive"), key=lambda entry: "event" in entry)
    assert proxy["id"] == backend["id"]
    assert (proxy["status"], backend["code"], backend["bytes_in"]) == (101, 1000, 3)
    assert isinstance(backend["seconds"], float)
    # Without LOG_FORMAT=json, certs logs text.
    assert any(
        f" {stack.project}-certs-1 " in line and "serving localhost" in line for line in syslog.lines("text.log")
    )
    # Docker keeps a copy.
    assert f'"id": "{backend["id"]}"' in stack.compose("logs", "backend").output

    # Clients are served while the server is away, and their lines arrive again after its return.
    syslog.container.stop(timeout=1)
    exchange()
    syslog.start()

    def arrives_again() -> bool:
        exchange()
        return {entry["id"] for entry in of_connection()} > {backend["id"]}

    eventually(arrives_again, "new lines arrive")


def test_the_example_has_every_service() -> None:
    text = (REPOSITORY / "compose.yaml").read_text().partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    services = re.findall(r"^  ([a-z]+):$", text, re.MULTILINE)
    example = yaml.safe_load((EXAMPLE / "syslog.yaml").read_text())["services"]
    assert set(example) == set(services) - {"doctor"}  # its output is for the terminal
