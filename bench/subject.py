"""The servers that are measured: containers that echo, and the CPU seconds and bytes of memory that they use."""

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
# The port of the other servers in the image.
PORT = 9000
# Compose's label. The bench sets it on its other containers and networks too, to find and remove them.
LABEL = "com.docker.compose.project"


@dataclass(frozen=True)
class Subject:
    """A server to measure: a `profile` of the stack, the stack's backend alone, or a `command` in the bench's image.

    With both it is a bare proxy: the command runs in the profile's image, before the stack's backend.
    """

    name: str
    tls: bool
    workloads: frozenset[str]
    profile: str = ""
    command: tuple[str, ...] = ()
    is_websocket: bool = True
    workers: int = 1
    replicas: int = 1

    @property
    def is_bare(self) -> bool:
        return bool(self.profile and self.command)

    @property
    def port(self) -> int:
        if self.profile in ("nginx", "apache"):
            return 443
        return PORT if self.command else 8282

    @property
    def processes(self) -> int:
        """The number of the stack's worker processes."""
        return self.workers * self.replicas

    @property
    def project(self) -> str:
        """The name of its Compose project."""
        return f"{PROJECT}-{self.name.replace(' ', '-')}"


ALL = frozenset({"echo", "latency", "handshakes", "fan", "grow"})
OURS = ALL | {"rates"}
TLS = ("tls",)
UVICORN = ("uvicorn", "echo_uvicorn:app", "--host", "0.0.0.0", "--port", str(PORT), "--log-level", "warning")  # noqa: S104
UVICORN_TLS = ("--ssl-certfile", "/tls/server.pem", "--ssl-keyfile", "/tls/server.key")
RAW = ("python3", "echo_raw.py")
CORE = ("python", "echo_picows.py")
DROP_IN = ("python", "echo_picows_websockets.py")
WEBSOCKETS = ("python", "echo_websockets.py")
NODE = ("node", "echo_ws.mjs")
BARE_NGINX = ("nginx", "-c", "/bare/nginx.conf", "-g", "daemon off;")
BARE_APACHE = ("apache2", "-D", "FOREGROUND", "-f", "/bare/httpd.conf")

SUBJECTS = (
    Subject("floor ws", False, frozenset({"echo", "latency"}), command=RAW, is_websocket=False),
    Subject("picows core ws", False, frozenset({"core"}), command=CORE),
    Subject("picows.websockets ws", False, frozenset({"core"}), command=DROP_IN),
    Subject("backend ws", False, OURS | {"core"}),
    Subject("websockets ws", False, ALL, command=WEBSOCKETS),
    Subject("uvicorn ws", False, ALL, command=UVICORN),
    Subject("Node ws ws", False, ALL, command=NODE),
    Subject("floor wss", True, frozenset({"echo", "latency"}), command=(*RAW, *TLS), is_websocket=False),
    Subject("picows core wss", True, frozenset({"core"}), command=(*CORE, *TLS)),
    Subject("picows.websockets wss", True, frozenset({"core"}), command=(*DROP_IN, *TLS)),
    Subject("direct wss", True, OURS | {"core", "scale"}, profile="direct"),
    Subject("nginx wss", True, OURS | {"proxy", "scale"}, profile="nginx"),
    Subject("apache wss", True, OURS | {"proxy"}, profile="apache"),
    Subject("websockets wss", True, ALL, command=(*WEBSOCKETS, *TLS)),
    Subject("uvicorn wss", True, ALL, command=(*UVICORN, *UVICORN_TLS)),
    Subject("Node ws wss", True, ALL, command=(*NODE, *TLS)),
    Subject("bare nginx wss", True, frozenset({"proxy"}), profile="nginx", command=BARE_NGINX),
    Subject("bare apache wss", True, frozenset({"proxy"}), profile="apache", command=BARE_APACHE),
    Subject("direct with 2 workers wss", True, frozenset({"scale"}), profile="direct", workers=2),
    Subject("nginx with 2 replicas wss", True, frozenset({"scale"}), profile="nginx", replicas=2),
)


@dataclass
class Running:
    """A running subject: its containers; clients connect to the first."""

    engine: docker.DockerClient
    subject: Subject
    containers: list[str]
    front: str = field(init=False)
    """The id of the first container."""

    def __post_init__(self) -> None:
        self.front = self.containers[0]

    def cpu(self) -> list[float]:
        """Return the CPU seconds that each container has used, from its cgroup."""
        return [float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9 for stats in self._stats()]

    def memory(self) -> int:
        """Return the anonymous memory of all containers in bytes, from their cgroups."""
        figures = [stats["memory_stats"]["stats"] for stats in self._stats()]
        # The field is anon in cgroup v2, rss in v1. Neither includes the kernel's socket buffers.
        return sum(int(one.get("anon", one.get("rss", 0))) for one in figures)

    def allow(self, cores: float) -> None:
        """Limit each of the stack's worker processes to so many cores; 0: no limit."""
        backends = self.containers[-self.subject.replicas :]
        for name in backends:
            share = int(cores * self.subject.workers * 100_000) or -1
            self.engine.api.update_container(name, cpu_period=100_000, cpu_quota=share)

    def _stats(self) -> list[dict[str, Any]]:
        return [self.engine.api.stats(name, stream=False, one_shot=True) for name in self.containers]


def build() -> None:
    """Build the image with the other servers and the load generator."""
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", IMAGE, REPOSITORY / "bench" / "image"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def remove_leftovers(engine: docker.DockerClient) -> None:
    """Remove containers, networks and volumes of an earlier run that was killed."""
    filters: dict[str, str | list[str] | bool] = {"label": LABEL}
    projects = {PROJECT, *(subject.project for subject in SUBJECTS)}
    for container in engine.containers.list(all=True, filters=filters):
        if container.labels[LABEL] in projects:
            container.remove(force=True)
    for kind in (engine.networks, engine.volumes):
        for one in kind.list(filters=filters):
            if one.attrs["Labels"][LABEL] in projects:
                one.remove()


@contextmanager
def network(engine: docker.DockerClient) -> Iterator[None]:
    """Create a network for the containers that Compose does not manage.

    On a user-defined network, such as those of Compose, Docker's DNS adds a cost to every packet.
    """
    made = engine.networks.create(PROJECT, labels={LABEL: PROJECT})
    try:
        yield
    finally:
        made.remove()


@contextmanager
def running(engine: docker.DockerClient, subject: Subject, certs: Path) -> Iterator[Running]:
    """Start the subject, and remove it at the end."""
    start = _image_server if subject.command else _compose_stack
    with (_bare_proxy if subject.is_bare else start)(engine, subject, certs) as up:
        yield up


@contextmanager
def _image_server(engine: docker.DockerClient, subject: Subject, certs: Path) -> Iterator[Running]:
    with _container(engine, subject, certs, IMAGE, network=PROJECT) as name:
        yield Running(engine, subject, [name])


@contextmanager
def _bare_proxy(engine: docker.DockerClient, subject: Subject, certs: Path) -> Iterator[Running]:
    stack = next(each for each in SUBJECTS if each.profile == subject.profile and not each.command)
    options: dict[str, Any] = {"network": f"{stack.project}_inner", "tmpfs": {"/run": "uid=10001,gid=10001"}}
    with _container(engine, subject, certs, f"{IMAGE}-{stack.profile}", **options) as name:
        yield Running(engine, subject, [name, *_containers(engine, stack, "backend")])


@contextmanager
def _container(engine: docker.DockerClient, subject: Subject, certs: Path, image: str, **options: Any) -> Iterator[str]:
    mounts = {certs: "/tls", REPOSITORY / "bench" / "bare": "/bare"}
    container = engine.containers.run(
        image,
        list(subject.command),
        detach=True,
        volumes={str(source): {"bind": target, "mode": "ro"} for source, target in mounts.items()},
        labels={LABEL: PROJECT},
        **options,
    )
    try:
        yield str(container.id)
    finally:
        container.remove(force=True)


@contextmanager
def _compose_stack(engine: docker.DockerClient, subject: Subject, certs: Path) -> Iterator[Running]:
    compose = ["docker", "compose", f"--project-name={subject.project}", f"--profile={subject.profile or 'nginx'}"]
    settings = {
        "COMPOSE_FILE": f"compose.yaml{os.pathsep}bench/compose.yaml",
        "IMAGES": IMAGE,
        "APP": "apps.bench:handler",
        "CERTS_DIR": str(certs),
        "DOMAIN": NAME,
        "HTTPS_PORT": "127.0.0.1:0",
        "DIRECT_PORT": "127.0.0.1:0",
        "MAX_MESSAGE": "2M",
        "WORKERS": str(subject.workers),
    }
    services = {"": ["backend"], "direct": ["direct"]}.get(subject.profile, [subject.profile, "backend"])
    scale = [f"--scale=backend={subject.replicas}"] if "backend" in services else []
    try:
        _run([*compose, "up", "--build", "--wait", *scale, *services], settings)
        yield Running(engine, subject, [name for service in services for name in _containers(engine, subject, service)])
    finally:
        _run([*compose, "down", "--volumes", "--timeout", "1"], settings)


def _containers(engine: docker.DockerClient, subject: Subject, service: str) -> list[str]:
    labels = [f"{LABEL}={subject.project}", f"com.docker.compose.service={service}"]
    return [str(container.id) for container in engine.containers.list(filters={"label": labels})]


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
