"""Row 16 of the contract: replicas start and stop under a steady rate of new connections."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import websocket
from client import TIMEOUT, UPGRADE, Target, http_request, target_of
from docker.models.containers import Container
from eventually import eventually
from fixtures import Connect, NewStack
from load import THREADS, ConnectionLoad
from stack import LONG_PING_TIMEOUT, Stack, pause
from time_limit import slowness, time_limit

pytestmark = [pytest.mark.profiles("nginx", "apache"), pytest.mark.long]

READ_TIMEOUT = {"nginx": 30, "apache": 5}  # seconds: proxy_read_timeout; timeout= of ProxyPassMatch


def _server(ws: websocket.WebSocket) -> str:
    ws.send("who are you?")
    opcode, data = ws.recv_data()
    assert opcode == websocket.ABNF.OPCODE_TEXT, f"closed with {int.from_bytes(data[:2], 'big')}"
    return str(json.loads(data)["server"])


@pytest.fixture(scope="module")
def replicas(profile: str, new_shared_stack: NewStack) -> Stack:
    stack = new_shared_stack(profile, APP="apps.whoami:handler", WS_PATHS="/ws/*", **LONG_PING_TIMEOUT)
    stack.build()
    return stack


@pytest.fixture
def stack(replicas: Stack) -> Stack:
    """Two running replicas; one that the previous test paused or killed is replaced."""
    for container in replicas.containers("backend"):
        if container.status != "running":
            container.remove(force=True)
    replicas.up("--scale=backend=2")
    return replicas


@pytest.fixture
def target(stack: Stack, ca_file: Path) -> Target:
    # Another replica gets path and query as the client sent them, too.
    return replace(target_of(stack, ca_file), path="/ws/a%2Fb")


def _scale(stack: Stack, count: int) -> None:
    outcome = stack.start("--wait", "--no-recreate", f"--scale=backend={count}")
    assert outcome.code == 0, outcome.output


def test_connections_are_distributed_evenly(stack: Stack, target: Target) -> None:
    _scale(stack, 3)

    def server(_: int) -> str:
        options: dict[str, Any] = {"sslopt": {"context": context}, "timeout": TIMEOUT, "suppress_origin": True}
        with closing(websocket.create_connection(target.url, **options)) as ws:
            return _server(ws)

    context = target.context()
    eventually(lambda: len({server(0) for _ in range(10)}) == 3, "all three replicas serve")
    with ThreadPoolExecutor(4) as pool:
        servers = Counter(pool.map(server, range(900)))
    assert min(servers.values()) > 240, servers
    assert max(servers.values()) < 360, servers


def test_no_connect_fails_during_scaling_or_after_a_kill(stack: Stack, target: Target, connect: Connect) -> None:
    opened = {ws: _server(ws) for ws in (connect(target) for _ in range(10))}
    with ConnectionLoad(target, use=_server) as load:
        for count in (4, 2):
            _scale(stack, count)
            load.wait_for_attempts(load.attempts + 50)
        victim = stack.containers("backend")[0]
        victim.kill()
        load.wait_for_attempts(load.attempts + 50)
    assert load.failed_connects == []
    # At most the connections that were in use on a stopped replica and on the killed one.
    assert len(load.dropped) <= 2 * THREADS, load.dropped
    # Connections to a replica that runs all the time stay open.
    running = {container.short_id for container in stack.containers("backend") if container.status == "running"}
    kept = [ws for ws, server in opened.items() if server in running]
    assert kept
    assert all(_server(ws) == opened[ws] for ws in kept)


def test_a_hung_replica_delays_connects_but_none_fails(stack: Stack, target: Target, connect: Connect) -> None:
    pause(stack.containers("backend")[0])

    def seconds(number: int) -> float:
        started = time.monotonic()
        ws = connect(target, f"?number={number}&")
        ws.send("who are you?")
        assert json.loads(ws.recv())["path"] == f"/ws/a%2Fb?number={number}&"
        return time.monotonic() - started

    read_timeout = READ_TIMEOUT[stack.profile]
    with time_limit(read_timeout + 5, "failover from the hung replica"), ThreadPoolExecutor(24) as pool:
        delays = sorted(pool.map(seconds, range(24)))
    assert delays[0] < read_timeout * slowness()  # the other replica serves at once
    assert delays[-1] >= read_timeout


def test_without_replicas_clients_get_503_at_once_and_service_recovers_in_two_seconds(
    stack: Stack, target: Target
) -> None:
    replicas = stack.containers("backend")
    for replica in replicas:
        replica.kill()
    for _ in range(20):
        with time_limit(2, "503"):
            response = http_request(target, headers=UPGRADE)
        assert (response.status, response.headers["retry-after"]) == (503, "1")
    replicas[0].start()
    eventually(lambda: _is_healthy(replicas[0]), "the replica is healthy")
    with time_limit(2, "recovery"):
        eventually(lambda: http_request(target, headers=UPGRADE).status == 101, "a client gets 101 again")


def test_during_a_redeploy_of_all_replicas_connects_fail_only_with_503(stack: Stack, target: Target) -> None:
    with ConnectionLoad(target, use=_server) as load:
        outcome = stack.compose(
            "up", "--no-build", "--wait", "--force-recreate", "--no-deps", "--scale=backend=2", "backend"
        )
        assert outcome.code == 0, outcome.output
        with time_limit(2, "recovery"):
            eventually(lambda: http_request(target, headers=UPGRADE).status == 101, "a client gets 101 again")
        before = len(load.failures)
        load.wait_for_attempts(load.attempts + 50)
        assert len(load.failures) - before <= THREADS, load.failures  # connects that were in progress
    # While no replica is ready, new clients get 503; connected clients got 1001.
    assert all("503" in failure for failure in load.failed_connects), load.failed_connects
    assert all("1001" in failure for failure in load.dropped), load.dropped


def _is_healthy(container: Container) -> bool:
    container.reload()
    return bool(container.attrs["State"]["Health"]["Status"] == "healthy")
