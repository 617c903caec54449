"""The containers of the subjects, and the CPU seconds and bytes of memory that they use."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from bench.subjects import DIRECTORIES, PROJECT, SUBJECTS, Subject, network_of, stack_of
from bench.usage import usage_of

REPOSITORY = Path(__file__).parents[1]
NAME = "wss.example"
# Compose's label. The bench sets it on its other containers and networks too, to find and remove them.
LABEL = "com.docker.compose.project"


@dataclass
class Running:
    """A running subject: its containers; clients connect to the first."""

    engine: docker.DockerClient
    subject: Subject
    containers: list[str]

    def __post_init__(self) -> None:
        self.front = self.containers[0]
        self._usages = [usage_of(self.engine, container) for container in self.containers]

    def cpu(self) -> list[float]:
        """Return the CPU seconds that each container has used."""
        return [usage.cpu() for usage in self._usages]

    def memory(self) -> list[int]:
        """Return the anonymous memory of each container in bytes."""
        return [usage.memory() for usage in self._usages]

    def allow(self, cores: float) -> None:
        """Limit each of the stack's worker processes to so many cores; 0: no limit."""
        backends = self.containers[-self.subject.replicas :]
        for name in backends:
            share = int(cores * self.subject.workers * 100_000) or -1
            self.engine.api.update_container(name, cpu_period=100_000, cpu_quota=share)


def build(image: str) -> None:
    """Build one of the images with other servers."""
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", image, REPOSITORY / "bench" / DIRECTORIES[image]],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def build_stack(*services: str) -> None:
    """Build the images of these services, once for all stacks: each `up --build` would make images of its own."""
    compose = ["docker", "compose", f"--project-name={PROJECT}", "--profile=nginx", "--profile=apache"]
    _run([*compose, "build", "--quiet", *services], {"COMPOSE_FILE": "compose.yaml", "IMAGES": PROJECT})


def remove_leftovers(engine: docker.DockerClient) -> None:
    """Remove containers, networks and volumes of an earlier run that was killed."""
    filters: dict[str, str | list[str] | bool] = {"label": LABEL}
    projects = {PROJECT, *(subject.project for subject in SUBJECTS)}
    for container in engine.containers.list(all=True, filters=filters):
        if container.labels[LABEL] in projects:
            with suppress(docker.errors.NotFound):  # it was being removed already
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
    start = _compose_stack if subject.is_stack else _other_proxy if subject.is_other_proxy else _image_server
    with start(engine, subject, certs) as up:
        yield up


@contextmanager
def _image_server(engine: docker.DockerClient, subject: Subject, certs: Path) -> Iterator[Running]:
    with _container(engine, subject, certs, subject.image, network=PROJECT) as name:
        yield Running(engine, subject, [name])


@contextmanager
def _other_proxy(engine: docker.DockerClient, subject: Subject, certs: Path) -> Iterator[Running]:
    stack = stack_of(subject)
    options: dict[str, Any] = {"network": f"{stack.project}_inner", "tmpfs": {"/run": "uid=10001,gid=10001"}}
    image = subject.image or f"{PROJECT}-{stack.profile}"
    with _container(engine, subject, certs, image, **options) as name:
        yield Running(engine, subject, [name, *_containers(engine, stack, "backend")])


@contextmanager
def _container(engine: docker.DockerClient, subject: Subject, certs: Path, image: str, **options: Any) -> Iterator[str]:
    mounts = {str(certs): "/tls", str(REPOSITORY / "bench" / "bare"): "/bare"}
    if subject.mounted:
        mounts[subject.mounted] = "/mounted"
    container = engine.containers.run(
        image,
        list(subject.command),
        detach=True,
        volumes={source: {"bind": target, "mode": "ro"} for source, target in mounts.items()},
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
        "IMAGES": PROJECT,
        "APP": "apps.bench:handler",
        "BENCH_NETWORK": network_of(subject),
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
        _run([*compose, "up", "--no-build", "--wait", *scale, *services], settings)
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
