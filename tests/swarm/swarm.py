"""A swarm of three hosts: each is a container with its own Docker engine, on a separate network."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import docker
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool
from eventually import eventually
from inner_engine import Host
from stack import REPOSITORY

NAME = "wss-swarm"
NODE_IMAGE = "wss-swarm-node"
SUBNET = "172.29.255.0/24"
ADDRESSES = [f"172.29.255.{number}" for number in (11, 12, 13)]
IMAGES = ("nginx", "apache", "backend", "hub", "certs")
STACK = "wss"


def build_images() -> None:
    """Build the images of the stack and of the hosts."""
    profiles = [f"--profile={profile}" for profile in ("nginx", "apache", "hub")]
    compose = ["docker", "compose", f"--project-name={STACK}", f"--file={REPOSITORY / 'compose.yaml'}", *profiles]
    _run([*compose, "build", *IMAGES])
    _run(["docker", "build", "--quiet", "--tag", NODE_IMAGE, str(REPOSITORY / "tests" / "swarm" / "node")])


class Swarm:
    """The hosts and the stack on them; the first host is the manager."""

    def __init__(self, nodes: list[Host]) -> None:
        self.nodes = nodes
        self.manager = nodes[0]

    def deploy(self, **settings: str) -> None:
        """Deploy the stack as in docs/swarm.md, without waiting."""
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
        """Start an update of the service, without waiting."""
        options = ("--no-resolve-image", "--detach=true", *options)
        self.manager.docker("service", "update", *options, f"{STACK}_{service}")

    def wait_for(self, service: str, replicas: int) -> None:
        """Wait until so many replicas of the service run."""
        form = "--format={{.CurrentState}}"

        def running() -> bool:
            options = ["--filter=desired-state=running", form]
            states = self.manager.docker("service", "ps", *options, f"{STACK}_{service}").splitlines()
            assert sum(state.startswith("Running") for state in states) >= replicas, self.tasks()
            return True

        eventually(running, f"{replicas} replicas of {service} run", 180)

    def wait(self, timeout: float = 180) -> None:
        """Wait until all replicas of every service run, and no update is in progress."""
        eventually(self._is_settled, "all replicas run, and no update is in progress", timeout)

    def _is_settled(self) -> bool:
        assert all(running == wanted for running, wanted in self.replicas().values()), self.tasks()
        states = {name: self.update_state(name) for name in self.replicas()}
        assert all(state in ("", "completed", "rollback_completed") for state in states.values()), states
        return True

    def replicas(self) -> dict[str, tuple[int, int]]:
        """Return the running and the desired number of tasks, by service."""
        services = _lines(self.manager.docker("service", "ls", "--format={{json .}}"))
        pairs = {service["Name"]: service["Replicas"].split()[0].split("/") for service in services}
        return {name: (int(running), int(wanted)) for name, (running, wanted) in pairs.items()}

    def update_state(self, service: str) -> str:
        form = "--format={{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"
        return self.manager.docker("service", "inspect", form, service)

    def tasks(self) -> str:
        """Return the state and error of all tasks, for failure messages."""
        form = "--format={{.Name}} {{.Node}} {{.CurrentState}} {{.Error}}"
        return self.manager.docker("stack", "ps", "--no-trunc", form, STACK)

    def logs(self, service: str) -> str:
        """Return the logs of the service; `docker service logs` hangs if a container no longer exists."""
        return self.manager.run("sh", "-c", f"timeout 10 docker service logs --raw {STACK}_{service} 2>&1 || true")


@contextmanager
def swarm(engine: docker.DockerClient) -> Iterator[Swarm]:
    """Start the hosts and form the swarm; remove them at the end."""
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
        nodes = [Host(container, address) for container, address in zip(containers, ADDRESSES, strict=True)]
        eventually(lambda: all(node.is_ready for node in nodes), "all engines are ready")
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
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}"
