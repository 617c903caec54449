"""STOP_DRAIN: a long session survives an update of everything around it, and new clients are served meanwhile."""

import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import websocket
from client import Target, target_of
from closing import GOING_AWAY, SERVICE_RESTART, close_code, server_and_process
from exits import Exits
from fixtures import Connect, NewStack
from images import Outcome
from load import ConnectionLoad
from stack import LONG_PING_TIMEOUT, PROBE, UPDATE_PAUSE, Stack

pytestmark = pytest.mark.long

SETTINGS = {"APP": "apps.probe:handler", "STOP_DRAIN": "10m", "DRAIN_SPREAD": "0", **LONG_PING_TIMEOUT}


def _echoes(ws: websocket.WebSocket) -> bool:
    ws.send("tom")
    return bool(ws.recv() == "tom")


@pytest.fixture(scope="module")
def shared(profile: str, new_shared_stack: NewStack) -> Stack:
    return new_shared_stack(profile, files=PROBE, **SETTINGS)


@pytest.fixture
def stack(shared: Stack) -> Stack:
    """The running stack, also if the previous test stopped it."""
    shared.up()
    return shared


@pytest.fixture
def target(stack: Stack, ca_file: Path) -> Target:
    return target_of(stack, ca_file)


def test_a_stop_of_the_whole_stack_waits_and_a_second_signal_ends_the_wait(
    stack: Stack, target: Target, connect: Connect
) -> None:
    running = [container for container in stack.containers() if container.status == "running"]
    clients = [connect(target, "?app=moving") for _ in range(3)]
    with Exits(stack) as exits, ThreadPoolExecutor(1) as pool:
        stopped: Future[Outcome] = pool.submit(stack.compose, "stop")
        assert [client.recv() for client in clients] == ["move"] * 3
        assert "draining, " in stack.read_in(stack.server, "status")
        assert all(map(_echoes, clients))
        clients.pop().close()
        assert not stopped.done()
        assert stack.compose("kill", "--signal=SIGTERM", stack.server).code == 0
        assert [close_code(client) for client in clients] == [GOING_AWAY] * 2
        assert stopped.result().code == 0
        assert exits.failed(running) == {}


@pytest.mark.profiles("nginx", "apache")
def test_clients_of_a_proxy_that_stops_have_time_until_a_second_signal(
    stack: Stack, target: Target, connect: Connect
) -> None:
    client = connect(target, "?app=moving")
    with ThreadPoolExecutor(1) as pool:
        stopped: Future[Outcome] = pool.submit(stack.compose, "stop", stack.profile)
        assert client.recv() == "move"
        assert _echoes(client)
        assert not stopped.done()
        assert stack.compose("kill", "--signal=SIGTERM", stack.profile).code == 0
        assert close_code(client) == SERVICE_RESTART
        assert stopped.result().code == 0


# The last test: it leaves a stack with two backends.
@pytest.mark.profiles("nginx", "apache")
def test_a_session_survives_an_update_of_everything_around_it(stack: Stack, target: Target, connect: Connect) -> None:
    (old,) = stack.containers("backend")
    session = connect(target, "?app=moving")

    with ConnectionLoad(target) as load, ThreadPoolExecutor(1) as pool:
        # docs/operations.md: a new backend serves before the old one stops.
        stack.up("--no-recreate", "--scale=backend=2")
        new = next(container for container in stack.containers("backend") if container.id != old.id)
        time.sleep(UPDATE_PAUSE)  # part of the documented commands, which are tested here
        stopped = pool.submit(subprocess.run, ["docker", "stop", str(old.id)], check=True, stdout=subprocess.DEVNULL)
        assert session.recv() == "move"
        for _ in range(5):
            stack.run_in(stack.profile, "reload")
            load.wait_for_attempts(load.attempts + 20)
        new.kill("SIGHUP")
        load.wait_for_attempts(load.attempts + 30)
        assert _echoes(session)
        assert server_and_process(connect(target, "?app=whoami"))[0] == new.attrs["Config"]["Hostname"]
        assert not stopped.done()
        session.close()
        stopped.result()
    assert load.failures == []
    old.reload()
    assert old.attrs["State"]["ExitCode"] == 0
