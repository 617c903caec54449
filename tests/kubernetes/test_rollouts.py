"""The stack on Kubernetes: an operator's commands and failures, and how they affect clients.

The tests depend on each other, and run in this order. OVERLAY=apache in the environment: with Apache.
"""

import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
import websocket
from client import TIMEOUT, Target, http_request
from client_load import ClientLoad
from cluster import NAMESPACE, PARTS, Cluster, cluster
from contract import assert_contract_holds
from cryptography import x509
from eventually import eventually
from manifests import Manifest, render
from pairs import write_pair

OVERLAY = os.environ.get("OVERLAY", "nginx")
COMPONENTS = ("hub",)
CLIENTS = 50


@dataclass
class Stack:
    """The stack in the cluster, with its CA and settings."""

    cluster: Cluster
    ca: trustme.CA
    directory: Path
    settings: dict[str, str]

    def manifests(self, **settings: str) -> list[Manifest]:
        """Return what an operator applies, with these settings added."""
        literals = [f"{name}={value}" for name, value in {**self.settings, **settings}.items()]
        more: dict[str, Any] = {
            "namespace": NAMESPACE,
            "configMapGenerator": [{"name": "settings", "behavior": "merge", "literals": literals}],
            "images": [
                {
                    "name": f"wss-{part}",
                    "newName": f"{self.cluster.images}-{part}",
                    "newTag": os.environ.get("TAG", "latest"),
                }
                for part in PARTS
            ],
        }
        manifests = render(OVERLAY, *COMPONENTS, **more)
        for manifest in manifests:
            # By default, the tag `latest` is always pulled, and a node of ours has no registry.
            if manifest["kind"] == "Deployment":
                pod = manifest["spec"]["template"]["spec"]
                for container in (*pod.get("initContainers", []), *pod["containers"]):
                    container["imagePullPolicy"] = "IfNotPresent"
        return manifests

    def issue(self) -> None:
        """Write a new pair into the Secret."""
        pair = self.directory / "pair"
        pair.mkdir(exist_ok=True)
        write_pair(self.ca.issue_cert(*self.settings["DOMAIN"].split(",")), pair)
        contents = {"tls_crt": pair / "server.pem", "tls_key": pair / "server.key"}
        self.cluster.apply_secret("wss-tls", **{key: file.read_bytes() for key, file in contents.items()})

    @property
    def target(self) -> Target:
        host, port = self.cluster.address("proxy")
        return Target(host, port, "/wss", self.directory / "ca.pem")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("kubernetes")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(directory / "ca.pem")
    with cluster() as started:
        # The address of a LoadBalancer is known when the Service exists.
        stack = Stack(started, ca, directory, {"DOMAIN": "localhost"})
        started.apply([each for each in stack.manifests() if each["kind"] == "Service"])
        host, _ = eventually(lambda: started.address("proxy"), "the load balancer has an address", 120)
        # Short ping intervals detect a dead connection soon.
        stack.settings |= {"DOMAIN": host, "PING_INTERVAL": "5", "PING_TIMEOUT": "5"}
        started.apply_secret("hub", password=os.urandom(24).hex().encode())
        stack.issue()
        started.apply(stack.manifests())
        started.wait("backend", "proxy", "hub")
        yield stack


@pytest.fixture
def load(stack: Stack) -> Iterator[ClientLoad]:
    """Clients that stay, and clients that come, while a test changes the stack."""
    with ClientLoad([stack.target], long_lived=CLIENTS) as load:
        yield load
    print(load)
    assert load.failed_connects == []


def _end(load: ClientLoad) -> set[int]:
    """End the clients when all are connected again, and return the codes with which they were closed."""
    eventually(lambda: load.opened == CLIENTS + load.close_codes.total(), "all clients are connected again")
    load.__exit__()
    return set(load.close_codes)


def _serial(target: Target) -> int:
    pem = ssl.get_server_certificate((target.host, target.port), ca_certs=str(target.ca))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_the_page_is_served(stack: Stack) -> None:
    assert http_request(stack.target, "/").status == 200


def test_the_address_of_the_client_arrives(stack: Stack) -> None:
    options: dict[str, Any] = {"sslopt": {"context": stack.target.context()}, "suppress_origin": True}
    ws = websocket.create_connection(stack.target.url, timeout=TIMEOUT, **options)
    assert ws.sock
    address, _ = ws.sock.getsockname()
    ws.send("tom")
    assert ws.recv() == "ok"
    ws.close()
    logs = ("logs", "--selector=app.kubernetes.io/component=backend", "--container=backend", "--tail=-1")
    eventually(lambda: f'"client":"{address}"' in stack.cluster.kubectl(*logs).replace(" ", ""), "the log has it")


def test_the_contract_holds(stack: Stack) -> None:
    assert_contract_holds(stack.target)


def test_a_renewed_certificate_closes_no_websocket(stack: Stack, load: ClientLoad) -> None:
    before = _serial(stack.target)
    stack.issue()
    # The kubelet looks for changes of a Secret about once a minute, and each pod has its own copy.
    eventually(lambda: {_serial(stack.target) for _ in range(10)}.isdisjoint({before}), "all serve the new one", 180)
    assert _end(load) == set()


def test_a_rollout_of_the_backends_fails_no_connect(stack: Stack, load: ClientLoad) -> None:
    stack.cluster.kubectl("rollout", "restart", "deployment/backend")
    stack.cluster.wait("backend")
    assert _end(load) == {1001}


def test_a_rollout_of_the_proxies_fails_no_connect(stack: Stack, load: ClientLoad) -> None:
    stack.cluster.kubectl("rollout", "restart", "deployment/proxy")
    stack.cluster.wait("proxy")
    assert _end(load) == {1012}


def test_a_killed_worker_disconnects_only_its_own_clients(stack: Stack, load: ClientLoad) -> None:
    pod, *_ = stack.cluster.pods("backend")
    # All processes but the supervisor, as if memory had run out.
    stack.cluster.kubectl("exec", pod, "--container=backend", "--", "bash", "-c", "kill -KILL -1")
    eventually(lambda: load.close_codes, "clients are disconnected")
    stack.cluster.wait("backend")
    assert _end(load) == {1006}
    assert load.close_codes[1006] < CLIENTS


def test_a_pod_that_is_deleted_by_force_closes_its_clients(stack: Stack, load: ClientLoad) -> None:
    pod, *_ = stack.cluster.pods("backend")
    stack.cluster.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    stack.cluster.wait("backend")
    assert _end(load) == {1001}
    assert load.close_codes[1001] < CLIENTS


@pytest.mark.parametrize(("component", "code"), [("backend", 1001), ("proxy", 1012)])
def test_a_drained_node_takes_one_pod_at_a_time(stack: Stack, load: ClientLoad, component: str, code: int) -> None:
    first, second = stack.cluster.pods(component)
    # As soon as the budget knows that both are ready.
    eventually(lambda: stack.cluster.evict(first), "the first eviction is accepted")
    assert "disruption budget" in stack.cluster.evict(second, refused=True)
    stack.cluster.wait(component)
    assert _end(load) == {code}
    assert second in stack.cluster.pods(component)


def test_an_invalid_setting_is_not_rolled_out(stack: Stack, load: ClientLoad) -> None:
    before = {component: set(stack.cluster.pods(component)) for component in ("backend", "proxy")}
    stack.cluster.apply(stack.manifests(MAX_MESSAGE="a lot"))

    def logged(component: str) -> Callable[[], bool]:
        def is_logged() -> bool:
            new = set(stack.cluster.pods(component)) - before[component]
            logs = [stack.cluster.kubectl("logs", pod, "--container=check") for pod in new]
            return any("error: MAX_MESSAGE='a lot'" in log for log in logs)

        return is_logged

    for component, pods in before.items():
        eventually(logged(component), "the check reports the setting", 120)
        assert pods < set(stack.cluster.pods(component))
    assert_contract_holds(stack.target)
    assert _end(load) == set()
    stack.cluster.apply(stack.manifests())
    stack.cluster.wait("backend", "proxy")
