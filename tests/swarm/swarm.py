"""Three hosts of a swarm, each an engine of its own in a container, on a network of their own."""

import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import docker
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool
from eventually import eventually
from stack import REPOSITORY

NAME = "wss-swarm"
NODE_IMAGE = "wss-swarm-node"
SUBNET = "172.29.255.0/24"
ADDRESSES = [f"172.29.255.{number}" for number in (11, 12, 13)]
IMAGES = ("nginx", "apache", "backend", "hub", "certs")
STACK = "wss"


def build_images() -> None:
    """Build the stack's images as `docker compose build` does, and the hosts'."""
    profiles = [f"--profile={profile}" for profile in ("nginx", "apache", "hub")]
    compose = ["docker", "compose", f"--project-name={STACK}", f"--file={REPOSITORY / 'compose.yaml'}", *profiles]
    _run([*compose, "build", *IMAGES])
    _run(["docker", "build", "--quiet", "--tag", NODE_IMAGE, str(REPOSITORY / "tests" / "swarm" / "node")])


class Node:
    """A host."""

    def __init__(self, container: Container, address: str) -> None:
        self.container, self.address = container, address

    def run(self, *command: str, **environment: str) -> str:
        """Run a command on the host; return what it prints."""
        done = self.container.exec_run(list(command), environment=environment)
        assert isinstance(done.output, bytes)
        said = done.output.decode().strip()
        assert done.exit_code == 0, f"{' '.join(command)}:\n{said}"
        return said

    @property
    def answers(self) -> bool:
        return self.container.exec_run(["docker", "info"]).exit_code == 0

    def docker(self, *arguments: str, **environment: str) -> str:
        return self.run("docker", *arguments, **environment)

    def put(self, directory: str, files: Mapping[str, bytes]) -> None:
        """Write files there."""
        self.run("mkdir", "-p", directory)
        archive = BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, contents in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(contents)
                info.mode = 0o600
                tar.addfile(info, BytesIO(contents))
        assert self.container.put_archive(directory, archive.getvalue())

    def load(self, images: Sequence[str]) -> None:
        """Take over images of the engine that the host runs in, as there is no registry."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving:
            command = ["docker", "exec", "--interactive", str(self.container.id), "docker", "load", "--quiet"]
            subprocess.run(command, stdin=saving.stdout, stdout=subprocess.DEVNULL, check=True)
        assert saving.returncode == 0


class Swarm:
    """The hosts, the first of which is the manager, and the stack on them."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.manager = nodes[0]

    def deploy(self, **settings: str) -> None:
        """Deploy the stack, as the README says, and return when all of it serves."""
        files = {path.name: path.read_bytes() for path in (REPOSITORY / "deploy").glob("*.yaml")}
        self.manager.put("/deploy", files)
        command = [
            "stack",
            "deploy",
            "--resolve-image=never",
            "--detach=true",
            "--compose-file=/deploy/swarm.yaml",
            STACK,
        ]
        self.manager.docker(*command, **settings)

    def update(self, service: str, *options: str) -> None:
        """Let an update begin."""
        options = ("--no-resolve-image", "--detach=true", *options)
        self.manager.docker("service", "update", *options, f"{STACK}_{service}")

    def wait_for(self, service: str, replicas: int) -> None:
        """Return when so many run."""
        form = "--format={{.CurrentState}}"

        def running() -> bool:
            options = ["--filter=desired-state=running", form]
            states = self.manager.docker("service", "ps", *options, f"{STACK}_{service}").splitlines()
            assert sum(state.startswith("Running") for state in states) >= replicas, self.tasks()
            return True

        eventually(running, f"{replicas} of {service} run", 180)

    def wait(self, timeout: float = 180) -> None:
        """Return when every service has what it should have, and no update is under way."""
        eventually(self._is_settled, "all services run, and no update is under way", timeout)

    def _is_settled(self) -> bool:
        assert all(running == wanted for running, wanted in self.replicas().values()), self.tasks()
        states = {name: self.update_state(name) for name in self.replicas()}
        assert all(state in ("", "completed", "rollback_completed") for state in states.values()), states
        return True

    def replicas(self) -> dict[str, tuple[int, int]]:
        """Return how many tasks run, and how many should, by service."""
        services = _lines(self.manager.docker("service", "ls", "--format={{json .}}"))
        pairs = {service["Name"]: service["Replicas"].split()[0].split("/") for service in services}
        return {name: (int(running), int(wanted)) for name, (running, wanted) in pairs.items()}

    def update_state(self, service: str) -> str:
        form = "--format={{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"
        return self.manager.docker("service", "inspect", form, service)

    def tasks(self) -> str:
        """Return what Swarm says of all tasks, for people."""
        form = "--format={{.Name}} {{.Node}} {{.CurrentState}} {{.Error}}"
        return self.manager.docker("stack", "ps", "--no-trunc", form, STACK)

    def logs(self, service: str) -> str:
        """Return what its containers wrote; the command does not end by itself where some are gone."""
        return self.manager.run("sh", "-c", f"timeout 10 docker service logs --raw {STACK}_{service} 2>&1 || true")


@contextmanager
def swarm(engine: docker.DockerClient) -> Iterator[Swarm]:
    """Start the hosts, let them join, and remove them at the end."""
    ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=SUBNET)])
    network = engine.networks.create(NAME, ipam=ipam)
    containers: list[Container] = []
    try:
        for number, address in enumerate(ADDRESSES, 1):
            container = engine.containers.create(
                NODE_IMAGE, name=f"{NAME}-{number}", hostname=f"node-{number}", privileged=True, network=None
            )
            containers.append(container)
            engine.networks.get("bridge").disconnect(container)
            network.connect(container, ipv4_address=address)
            container.start()
        nodes = [Node(container, address) for container, address in zip(containers, ADDRESSES, strict=True)]
        eventually(lambda: all(node.answers for node in nodes), "the engines answer")
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(lambda node: node.load([f"{STACK}-{image}" for image in IMAGES]), nodes))
        manager, *others = nodes
        manager.docker("swarm", "init", f"--advertise-addr={manager.address}")
        token = manager.docker("swarm", "join-token", "--quiet", "worker")
        for node in others:
            node.docker(
                "swarm", "join", f"--token={token}", f"--advertise-addr={node.address}", f"{manager.address}:2377"
            )
        yield Swarm(nodes)
    finally:
        for container in containers:
            container.remove(force=True, v=True)
        network.remove()


def _lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
