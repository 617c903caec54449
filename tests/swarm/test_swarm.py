"""The stack on three hosts: what an operator does to it, what happens to it, and what clients see of that.

The tests are one story, in this order.
"""

import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator

import docker
import pytest
import swarm as hosts
import trustme
from client import Target, ask
from crowd import Crowd
from cryptography import x509
from docker.errors import DockerException
from eventually import eventually
from pairs import write_pair
from stack import REPOSITORY
from swarm import ADDRESSES, STACK, Swarm

# Pings that tell a dead line soon; PROXY=apache for the other one.
SETTINGS = {
    "DOMAIN": ",".join(ADDRESSES),
    "CERTS_DIR": "/certs",
    "PING_INTERVAL": "5",
    "PING_TIMEOUT": "5",
    "PROXY": os.environ.get("PROXY", "nginx"),
}


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def targets(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(file)
    return [Target(address, 443, "/wss", file) for address in ADDRESSES]


@pytest.fixture(scope="module")
def issue(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, bytes]]:
    def issue() -> dict[str, bytes]:
        """Return the files of a new pair for all hosts."""
        directory = tmp_path_factory.mktemp("pair")
        write_pair(ca.issue_cert(*ADDRESSES), directory)
        return {name: (directory / name).read_bytes() for name in ("server.pem", "server.key")}

    return issue


@pytest.fixture(scope="module")
def swarm(issue: Callable[[], dict[str, bytes]]) -> Iterator[Swarm]:
    try:
        engine = docker.from_env()
    except DockerException as error:
        pytest.exit(f"no Docker engine answers ({error}). Run tools/engine, or start Docker.", returncode=2)
    hosts.build_images()
    with hosts.swarm(engine) as started:
        started.manager.put("/certs", issue())
        started.manager.run("sh", "-c", "head -c 24 /dev/urandom | base64 | docker secret create hub-password -")
        started.deploy(**SETTINGS)
        started.wait()
        yield started
    engine.close()


def _holds_the_contract(target: Target) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses=0", "--no-header", "tests/e2e"]
    done = subprocess.run(
        [*command, f"--url={target.url}", f"--ca={target.ca}"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def _serial(target: Target) -> int:
    pem = ssl.get_server_certificate((target.host, target.port), ca_certs=str(target.ca))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_every_host_serves(swarm: Swarm, targets: list[Target]) -> None:
    assert swarm.replicas() == {f"{STACK}_{name}": (n, n) for name, n in SERVICES.items()}
    for target in targets:
        _holds_the_contract(target)


SERVICES = {"proxy": 3, "backend": 3, "hub": 1, "certs": 3}


def test_a_renewed_certificate_closes_no_websocket(
    swarm: Swarm, targets: list[Target], issue: Callable[[], dict[str, bytes]]
) -> None:
    before = {_serial(target) for target in targets}
    with Crowd(targets) as crowd:
        swarm.manager.put("/certs", issue())
        swarm.deploy(**SETTINGS, CERT_VERSION="2")
        eventually(lambda: not before & {_serial(target) for target in targets}, "all hosts serve the new one")
        swarm.wait()
    print(crowd)
    assert len({_serial(target) for target in targets}) == 1
    assert (crowd.codes, crowd.refused) == ({}, [])


def test_new_backends_take_over(swarm: Swarm, targets: list[Target]) -> None:
    for node in swarm.nodes:
        node.docker("tag", f"{STACK}-backend:latest", f"{STACK}-backend:next")
    with Crowd(targets) as crowd:
        swarm.update("backend", "--image=wss-backend:next")
        _holds_the_contract(targets[0])
        swarm.wait()
    print(crowd)
    assert set(crowd.codes) == {1001}
    assert crowd.refused == []
    _holds_the_contract(targets[0])


def test_proxies_with_another_configuration_take_over(swarm: Swarm, targets: list[Target]) -> None:
    with Crowd(targets) as crowd:
        swarm.update("proxy", "--env-add=HSTS=1")
        swarm.wait()
    print(crowd)
    assert set(crowd.codes) == {1012}
    assert crowd.refused == []
    for target in targets:
        assert "strict-transport-security" in ask(target, "/").headers
    swarm.update("proxy", "--env-rm=HSTS")  # which the contract does not have
    swarm.wait()
    for target in targets:
        _holds_the_contract(target)


def test_an_update_that_does_not_start_is_rolled_back(swarm: Swarm, targets: list[Target]) -> None:
    with Crowd(targets) as crowd:
        swarm.update("backend", "--env-add=MAX_MESSAGE=a lot")
        eventually(lambda: swarm.update_state(f"{STACK}_backend") == "rollback_completed", "it is rolled back", 180)
        swarm.wait()
    print(crowd)
    assert set(crowd.codes) <= {1001}
    assert crowd.refused == []
    assert "error: MAX_MESSAGE='a lot'" in swarm.logs("backend")


def test_a_lost_host_takes_only_its_own_along(swarm: Swarm, targets: list[Target]) -> None:
    lost = swarm.nodes[-1]
    with Crowd(targets) as crowd:
        lost.container.kill()
        eventually(lambda: "Down" in swarm.manager.docker("node", "ls"), "the manager knows")
        _holds_the_contract(targets[0])
        swarm.wait_for("backend", 3)
    print(crowd)
    assert set(crowd.codes) <= {1006}
    assert crowd.refused == []
    for target in targets[:-1]:
        _holds_the_contract(target)
