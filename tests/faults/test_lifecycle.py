"""Row 14 of the contract: close codes and exit codes for every operator command."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from client import Target, target_of
from closing import GOING_AWAY, SERVICE_RESTART, close_code, send_until_closed, server_and_process
from docker.models.containers import Container
from eventually import eventually
from exits import Exits
from fixtures import Connect, NewStack
from images import Outcome
from load import ConnectionLoad
from stack import LONG_PING_TIMEOUT, PROBE, Stack

pytestmark = pytest.mark.long

CLIENTS = 5
MANY = 200


@pytest.fixture(scope="module")
def shared(profile: str, new_shared_stack: NewStack) -> Stack:
    return new_shared_stack(profile, files=PROBE, APP="apps.probe:handler", **LONG_PING_TIMEOUT)


@pytest.fixture
def stack(shared: Stack) -> Stack:
    """The running stack, also if the previous test stopped it; two backends behind a proxy."""
    shared.up(*([] if shared.profile == "direct" else ["--scale=backend=2"]))
    return shared


@pytest.fixture
def target(stack: Stack, ca_file: Path) -> Target:
    return target_of(stack, ca_file)


@pytest.mark.parametrize("command", ["restart", "up --no-build --wait --force-recreate", "down"])
def test_every_client_is_closed_with_1001_and_every_server_exits_with_0(
    stack: Stack, target: Target, connect: Connect, command: str
) -> None:
    servers = _servers(stack)
    clients = [connect(target) for _ in range(CLIENTS)]
    with Exits(stack) as exits, ThreadPoolExecutor(CLIENTS + 1) as pool:
        codes = [pool.submit(close_code, client) for client in clients]
        outcome: Outcome = pool.submit(stack.compose, *command.split()).result()
        assert outcome.code == 0, outcome.output
        assert [code.result() for code in codes] == [GOING_AWAY] * CLIENTS
        assert exits.failed(servers) == {}


def test_stop_under_load_closes_every_client_with_1001_and_containers_exit_with_0(
    stack: Stack, target: Target, connect: Connect
) -> None:
    running = [container for container in stack.containers() if container.status == "running"]
    clients = [connect(target, "?app=echo") for _ in range(MANY)]
    with Exits(stack) as exits, ConnectionLoad(target), ThreadPoolExecutor(MANY) as pool:  # while new clients connect
        codes = [pool.submit(send_until_closed, client) for client in clients]
        outcome = stack.compose("stop")
        assert outcome.code == 0, outcome.output
        assert [code.result() for code in codes] == [GOING_AWAY] * MANY
        assert exits.failed(running) == {}


@pytest.mark.profiles("nginx", "apache")
def test_a_stop_of_only_the_proxy_closes_its_clients_with_1012_and_it_exits_with_0(
    stack: Stack, target: Target, connect: Connect
) -> None:
    proxy = stack.container()
    connect(target)  # a client that never reads
    clients = [connect(target) for _ in range(MANY)]
    with Exits(stack) as exits, ThreadPoolExecutor(MANY) as pool:
        codes = [pool.submit(close_code, client) for client in clients]
        assert stack.compose("stop", stack.profile).code == 0
        assert [code.result() for code in codes] == [SERVICE_RESTART] * MANY
        assert exits.failed([proxy]) == {}


@pytest.mark.profiles("nginx", "direct")
def test_new_workers_take_over_without_a_failed_connect(stack: Stack, target: Target, connect: Connect) -> None:
    old = connect(target, "?app=whoami")
    host, first = server_and_process(old)
    server = next(each for each in stack.containers(stack.server) if each.attrs["Config"]["Hostname"] == host)

    server.kill("SIGHUP")

    def new_worker_serves() -> bool:
        # Every connect must succeed, on both replicas.
        new_host, process = server_and_process(connect(target, "?app=whoami"))
        return new_host == host and process != first

    eventually(new_worker_serves, "a new worker serves")
    assert close_code(old) == SERVICE_RESTART
    server.reload()
    assert server.status == "running"


def _servers(stack: Stack) -> list[Container]:
    """Return the containers that serve clients."""
    services = (stack.profile, stack.server)
    return [each for each in stack.containers() if each.labels["com.docker.compose.service"] in services]


def test_the_health_check_fails_if_no_worker_serves(stack: Stack) -> None:
    container = stack.container()
    check = container.attrs["Config"]["Healthcheck"]["Test"][1:]
    assert container.exec_run(check).exit_code == 0
    # Stops all processes but PID 1, which is the supervisor in the proxies and in the backend.
    container.exec_run(["bash", "-c", "kill -STOP -1"])
    assert container.exec_run(["timeout", "5", *check]).exit_code != 0
