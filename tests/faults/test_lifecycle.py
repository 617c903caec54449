"""Row 14 of the contract: how clients are closed by all that an operator does, and how the containers end."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from client import Target, target_of
from closing import GOING_AWAY, SERVICE_RESTART, close_code, server_and_process, talk_until_closed
from docker.models.containers import Container
from eventually import eventually
from exits import Exits
from fixtures import Connect, NewStack
from load import Steady
from stack import LONG_PING_TIMEOUT, PROBE, Outcome, Stack

CLIENTS = 5
MANY = 200


@pytest.fixture(scope="module")
def shared(profile: str, new_shared_stack: NewStack) -> Stack:
    return new_shared_stack(profile, files=PROBE, APP="apps.probe:handler", **LONG_PING_TIMEOUT)


@pytest.fixture
def stack(shared: Stack) -> Stack:
    """All of it up, whatever the test before did to it; two backends behind a proxy."""
    shared.up(*([] if shared.profile == "direct" else ["--scale=backend=2"]))
    return shared


@pytest.fixture
def target(stack: Stack, ca_file: Path) -> Target:
    return target_of(stack, ca_file)


@pytest.mark.parametrize("command", ["restart", "up --no-build --wait --force-recreate", "down"])
def test_every_client_is_closed_with_1001_and_every_container_ends_with_0(
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


def test_a_stop_under_load_closes_every_client_with_1001_and_ends_with_0(
    stack: Stack, target: Target, connect: Connect
) -> None:
    running = [container for container in stack.containers() if container.status == "running"]
    clients = [connect(target, "?app=echo") for _ in range(MANY)]
    with Exits(stack) as exits, Steady(target), ThreadPoolExecutor(MANY) as pool:  # new clients come, too
        codes = [pool.submit(talk_until_closed, client) for client in clients]
        outcome = stack.compose("stop")
        assert outcome.code == 0, outcome.output
        assert [code.result() for code in codes] == [GOING_AWAY] * MANY
        assert exits.failed(running) == {}


@pytest.mark.profiles("nginx", "apache")
def test_a_proxy_that_stops_alone_closes_its_clients_with_1012_and_ends_in_time(
    stack: Stack, target: Target, connect: Connect
) -> None:
    proxy = stack.container()
    connect(target)  # never reads
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
        # Every connect must succeed, on either replica.
        answers, process = server_and_process(connect(target, "?app=whoami"))
        return answers == host and process != first

    eventually(new_worker_serves, "a new worker serves")
    assert close_code(old) == SERVICE_RESTART
    server.reload()
    assert server.status == "running"


def _servers(stack: Stack) -> list[Container]:
    """Return the containers that serve clients."""
    services = (stack.profile, stack.server)
    return [each for each in stack.containers() if each.labels["com.docker.compose.service"] in services]


def test_the_health_check_fails_if_nobody_serves(stack: Stack) -> None:
    container = stack.container()
    check = ["timeout", "5", *container.attrs["Config"]["Healthcheck"]["Test"][1:]]
    assert container.exec_run(check).exit_code == 0
    # All but the first process, which only supervises: in the proxies and in the backend alike.
    container.exec_run(["bash", "-c", "kill -STOP -1"])
    assert container.exec_run(check).exit_code != 0
