"""The nginx profile on Docker without root: an ordinary user's engine, in a container that stands for the machine."""

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
import trustme
from client import Target
from closing import GOING_AWAY, close_code
from eventually import eventually
from fixtures import Connect
from inner_engine import Host
from pairs import write_pair
from run import Run
from stack import REPOSITORY

HOST_IMAGE = "wss-rootless-host"
SERVICES = ("nginx", "backend", "certs")
# The default of Linux: on a machine, only root listens on port 443. In a container, Docker's default is 0.
PORT_START = "net.ipv4.ip_unprivileged_port_start"


@pytest.fixture(scope="module")
def images(engine: docker.DockerClient, run: Run) -> list[str]:
    """Build the images of the stack and of the machine; return those of the stack."""
    assert engine.ping()
    compose = ["docker", "compose", "--env-file=/dev/null", f"--file={REPOSITORY / 'compose.yaml'}"]
    host = ["docker", "build", "--quiet", f"--tag={HOST_IMAGE}", str(REPOSITORY / "tests" / "rootless" / "host")]
    for command in ([*compose, "build", "--quiet", *SERVICES], host):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "IMAGES": run.name})
    return [f"{run.name}-{service}:latest" for service in SERVICES]


class Machine(Host):
    """A machine whose user has the stack, its images, and a certificate for the machine's address."""

    def compose(self, *arguments: str) -> str:
        prefix = str(self.container.name).removesuffix("-rootless")
        settings = {"IMAGES": prefix, "DOMAIN": self.address, "HTTPS_PORT": "443"}
        return self.docker("compose", "--project-directory=/stack", "--profile=nginx", *arguments, **settings)

    def last_client(self) -> str:
        """Return the address of the client that disconnected last, as the backend logged it."""
        lines = self.docker("logs", "stack-backend-1").splitlines()
        entries = [json.loads(line) for line in lines if '"event": "closed"' in line]
        assert entries, lines
        return str(entries[-1]["client"])


@contextmanager
def machine(
    engine: docker.DockerClient, run: Run, images: list[str], ca: trustme.CA, directory: Path, **environment: str
) -> Iterator[Machine]:
    container = engine.containers.run(
        HOST_IMAGE,
        name=f"{run.name}-rootless",
        detach=True,
        privileged=True,
        sysctls={PORT_START: "1024"},
        environment=environment,
    )
    try:
        container.reload()
        host = Machine(container, container.attrs["NetworkSettings"]["IPAddress"])
        eventually(lambda: host.is_ready, "the engine is ready")
        host.load(images)
        write_pair(ca.issue_cert(host.address), directory)
        host.put("/stack", {"compose.yaml": (REPOSITORY / "compose.yaml").read_bytes()})
        host.put("/stack/certs/live", {path.name: path.read_bytes() for path in directory.iterdir()})
        host.run("chown", "-R", "user:user", "/stack")
        yield host
    except BaseException:
        print(container.logs().decode()[-3000:])
        raise
    finally:
        container.remove(force=True, v=True)


@pytest.mark.parametrize(
    ("port_driver", "refusal", "keeps_addresses"),
    [
        ("builtin", f"cannot expose privileged port 443.*{PORT_START}", False),
        ("slirp4netns", "slirp_add_hostfwd failed", True),
    ],
    ids=["default", "slirp4netns"],
)
def test_the_stack_runs_without_root(
    engine: docker.DockerClient,
    run: Run,
    images: list[str],
    ca: trustme.CA,
    ca_file: Path,
    connect: Connect,
    tmp_path: Path,
    port_driver: str,
    refusal: str,
    keeps_addresses: bool,
) -> None:
    settings = {"DOCKERD_ROOTLESS_ROOTLESSKIT_PORT_DRIVER": port_driver}
    with machine(engine, run, images, ca, tmp_path, **settings) as host:
        assert "name=rootless" in host.docker("info", "--format={{.SecurityOptions}}")
        with pytest.raises(AssertionError, match=refusal):
            host.compose("up", "--no-build", "--wait")
        host.run("sysctl", "--write", f"{PORT_START}=443")
        host.compose("up", "--no-build", "--wait")
        websocket = connect(Target(host.address, 443, "/wss", ca_file))
        websocket.send("tom")
        assert websocket.recv() == "ok"
        assert websocket.sock
        own_address = websocket.sock.getsockname()[0]
        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(host.compose, "stop")
            assert close_code(websocket) == GOING_AWAY
            stopping.result()
        client = host.last_client()
        assert (client == own_address) == keeps_addresses, f"{own_address} is logged as {client}"
