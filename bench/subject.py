"""What is measured: containers that echo, and how many seconds of CPU and bytes of memory they have used."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

REPOSITORY = Path(__file__).parents[1]
IMAGE = "wss-bench"
PROJECT = "wss-bench"
NAME = "wss.example"
# Others in the image listen here.
PORT = 9000


@dataclass(frozen=True)
class Subject:
    """A server that can be measured. Exactly one of `profile` and `command` is given, or neither: the backend alone."""

    name: str
    tls: bool
    profile: str = ""
    command: tuple[str, ...] = ()
    speaks_websocket: bool = True
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        if self.command:
            return PORT
        return 443 if self.profile in ("nginx", "apache") else 8282


WITH_TLS = ("tls",)
UVICORN = ("uvicorn", "echo_uvicorn:app", "--host", "0.0.0.0", "--port", str(PORT), "--log-level", "warning")  # noqa: S104
UVICORN_TLS = ("--ssl-certfile", "/tls/server.pem", "--ssl-keyfile", "/tls/server.key")

SUBJECTS = (
    Subject("floor ws", False, command=("python3", "echo_raw.py"), speaks_websocket=False),
    Subject("backend ws", False),
    Subject("websockets ws", False, command=("python", "echo_websockets.py")),
    Subject("uvicorn ws", False, command=UVICORN),
    Subject("Node ws ws", False, command=("node", "echo_ws.mjs")),
    Subject("floor wss", True, command=("python3", "echo_raw.py", *WITH_TLS), speaks_websocket=False),
    Subject("direct wss", True, profile="direct"),
    Subject("nginx wss", True, profile="nginx"),
    Subject("apache wss", True, profile="apache"),
    Subject("websockets wss", True, command=("python", "echo_websockets.py", *WITH_TLS)),
    Subject("uvicorn wss", True, command=(*UVICORN, *UVICORN_TLS)),
    Subject("Node ws wss", True, command=("node", "echo_ws.mjs", *WITH_TLS)),
)


class Running:
    """A subject that is up: its containers, the first of which is what clients connect to."""

    def __init__(self, engine: docker.DockerClient, subject: Subject, containers: list[str]) -> None:
        self.subject = subject
        self._engine = engine
        self._containers = containers

    @property
    def front(self) -> str:
        """The container's id."""
        return self._containers[0]

    def cpu(self) -> float:
        """Return the seconds of CPU that all containers have used, by their cgroups."""
        return sum(float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) for stats in self._stats()) / 1e9

    def memory(self) -> int:
        """Return the bytes that the processes of all containers have for themselves, by their cgroups."""
        figures = [stats["memory_stats"]["stats"] for stats in self._stats()]
        # cgroup v2 says anon, v1 says rss; what the kernel has for sockets is in neither.
        return sum(int(one.get("anon", one.get("rss", 0))) for one in figures)

    def _stats(self) -> list[dict[str, Any]]:
        return [self._engine.api.stats(name, stream=False, one_shot=True) for name in self._containers]


def build() -> None:
    """Build the image of the others and of the load generator."""
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", IMAGE, REPOSITORY / "bench" / "image"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


@contextmanager
def running(engine: docker.DockerClient, subject: Subject, certs: Path) -> Iterator[Running]:
    """Start it, and remove it at the end."""
    with _of_the_stack(engine, subject, certs) if not subject.command else _of_the_image(engine, subject, certs) as up:
        yield up


@contextmanager
def _of_the_image(engine: docker.DockerClient, subject: Subject, certs: Path) -> Iterator[Running]:
    container = engine.containers.run(
        IMAGE,
        list(subject.command),
        detach=True,
        volumes={str(certs): {"bind": "/tls", "mode": "ro"}},
        labels={"com.docker.compose.project": PROJECT},
    )
    try:
        yield Running(engine, subject, [str(container.id)])
    finally:
        container.remove(force=True)


@contextmanager
def _of_the_stack(engine: docker.DockerClient, subject: Subject, certs: Path) -> Iterator[Running]:
    profile = subject.profile or "nginx"
    compose = ["docker", "compose", f"--project-name={PROJECT}-{profile}", f"--profile={profile}"]
    settings = {
        "APP": "apps.echo:handler",
        "CERTS_DIR": str(certs),
        "DOMAIN": NAME,
        "HTTPS_PORT": "127.0.0.1:0",
        "DIRECT_PORT": "127.0.0.1:0",
        "MAX_MESSAGE": "2M",
        **subject.settings,
    }
    services = [] if subject.profile else ["backend"]
    try:
        _run([*compose, "up", "--build", "--wait", *services], settings)
        names = (
            [subject.profile, "backend"] if subject.profile in ("nginx", "apache") else [subject.profile or "backend"]
        )
        found = [
            str(container.id)
            for name in names
            for container in engine.containers.list(
                filters={
                    "label": [f"com.docker.compose.project={PROJECT}-{profile}", f"com.docker.compose.service={name}"]
                }
            )
        ]
        yield Running(engine, subject, found)
    finally:
        _run([*compose, "down", "--volumes", "--timeout", "1"], settings)


def _run(command: list[str], settings: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}")


def place_of(subject: Subject) -> dict[str, Any]:
    """Return what the load generator has to know."""
    path = "/wss" if subject.speaks_websocket else ""
    return {"port": subject.port, "name": NAME, "ca": "/tls/ca.pem" if subject.tls else "", "path": path}
