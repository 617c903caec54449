"""The stack on three hosts: an operator's commands and failures, and how they affect clients.

The tests depend on each other, and run in this order.
"""

import os
import ssl
from collections.abc import Callable, Iterator

import docker
import pytest
import swarm as hosts
import trustme
from client import Target, http_request
from client_load import ClientLoad
from contract import assert_contract_holds
from cryptography import x509
from docker.errors import DockerException
from eventually import eventually
from pairs import write_pair
from swarm import ADDRESSES, STACK, Swarm

# Short ping intervals detect a dead connection soon. With PROXY=apache in the environment, the proxy is Apache.
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
        pytest.exit(f"cannot reach a Docker engine ({error}). Run tools/engine, or start Docker.", returncode=2)
    hosts.build_images()
    with hosts.swarm(engine) as started:
        started.manager.put("/certs", issue())
        started.manager.run("sh", "-c", "head -c 24 /dev/urandom | base64 | docker secret create hub-password -")
        started.deploy(**SETTINGS)
        started.wait()
        yield started
    engine.close()


def _serial(target: Target) -> int:
    pem = ssl.get_server_certificate((target.host, target.port), ca_certs=str(target.ca))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_every_host_serves(swarm: Swarm, targets: list[Target]) -> None:
    assert swarm.replicas() == {f"{STACK}_{name}": (n, n) for name, n in SERVICES.items()}
    for target in targets:
        assert_contract_holds(target)


SERVICES = {"proxy": 3, "backend": 3, "hub": 1, "certs": 3}


def test_a_renewed_certificate_closes_no_websocket(
    swarm: Swarm, targets: list[Target], issue: Callable[[], dict[str, bytes]]
) -> None:
    before = {_serial(target) for target in targets}
    with ClientLoad(targets) as load:
        swarm.manager.put("/certs", issue())
        swarm.deploy(**SETTINGS, CERT_VERSION="2")
        eventually(lambda: not before & {_serial(target) for target in targets}, "all hosts serve the new certificate")
        swarm.wait()
    print(load)
    assert len({_serial(target) for target in targets}) == 1
    assert (load.close_codes, load.failed_connects) == ({}, [])


def test_an_update_of_the_backends_fails_no_connect(swarm: Swarm, targets: list[Target]) -> None:
    for node in swarm.nodes:
        node.docker("tag", f"{STACK}-backend:latest", f"{STACK}-backend:next")
    with ClientLoad(targets) as load:
        swarm.update("backend", "--image=wss-backend:next")
        assert_contract_holds(targets[0])
        swarm.wait()
    print(load)
    assert set(load.close_codes) == {1001}
    assert load.failed_connects == []
    assert_contract_holds(targets[0])


def test_an_update_of_the_proxies_fails_no_connect(swarm: Swarm, targets: list[Target]) -> None:
    with ClientLoad(targets) as load:
        swarm.update("proxy", "--env-add=HSTS=1")
        swarm.wait()
    print(load)
    assert set(load.close_codes) == {1012}
    assert load.failed_connects == []
    for target in targets:
        assert "strict-transport-security" in http_request(target, "/").headers
    swarm.update("proxy", "--env-rm=HSTS")  # the contract's tests expect no HSTS
    swarm.wait()
    for target in targets:
        assert_contract_holds(target)


def test_an_update_that_does_not_start_is_rolled_back(swarm: Swarm, targets: list[Target]) -> None:
    with ClientLoad(targets) as load:
        swarm.update("backend", "--env-add=MAX_MESSAGE=a lot")
        eventually(
            lambda: swarm.update_state(f"{STACK}_backend") == "rollback_completed", "the update is rolled back", 180
        )
        swarm.wait()
    print(load)
    assert set(load.close_codes) <= {1001}
    assert load.failed_connects == []
    assert "error: MAX_MESSAGE='a lot'" in swarm.logs("backend")


def test_a_lost_host_disconnects_only_its_own_clients(swarm: Swarm, targets: list[Target]) -> None:
    lost = swarm.nodes[-1]
    with ClientLoad(targets) as load:
        lost.container.kill()
        eventually(lambda: "Down" in swarm.manager.docker("node", "ls"), "the manager marks the host as down")
        assert_contract_holds(targets[0])
        swarm.wait_for("backend", 3)
    print(load)
    assert set(load.close_codes) <= {1006}
    assert load.failed_connects == []
    for target in targets[:-1]:
        assert_contract_holds(target)
