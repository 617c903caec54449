"""Row 16 of the contract: replicas come and go under a steady rate of new connections."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import websocket
from client import TIMEOUT, UPGRADE, Target, ask, target_of
from docker.models.containers import Container
from eventually import eventually
from fixtures import Connect, NewStack
from load import THREADS, Steady
from promise import promise
from stack import LONG_PING_TIMEOUT, Stack

pytestmark = pytest.mark.profiles("nginx", "apache")

HUNG_AFTER = {"nginx": 30, "apache": 5}  # seconds: proxy_read_timeout; timeout= of ProxyPassMatch


def _server(ws: websocket.WebSocket) -> str:
    ws.send("who are you?")
    opcode, data = ws.recv_data()
    assert opcode == websocket.ABNF.OPCODE_TEXT, f"closed with {int.from_bytes(data[:2], 'big')}"
    return str(json.loads(data)["server"])


@pytest.fixture(scope="module")
def replicas(profile: str, new_shared_stack: NewStack) -> Stack:
    stack = new_shared_stack(profile, APP="apps.whoami:handler", **LONG_PING_TIMEOUT)
    stack.build()
    return stack


@pytest.fixture
def stack(replicas: Stack) -> Stack:
    """Two replicas that run; the one that the test before paused or killed is replaced."""
    for container in replicas.containers("backend"):
        if container.status != "running":
            container.remove(force=True)
    replicas.up("--scale=backend=2")
    return replicas


@pytest.fixture
def target(stack: Stack, ca_file: Path) -> Target:
    return target_of(stack, ca_file)


def _scale(stack: Stack, count: int) -> None:
    outcome = stack.start("--wait", "--no-recreate", f"--scale=backend={count}")
    assert outcome.code == 0, outcome.output


def test_replicas_share_evenly(stack: Stack, target: Target) -> None:
    _scale(stack, 3)

    def server(_: int) -> str:
        options: dict[str, Any] = {"sslopt": {"context": context}, "timeout": TIMEOUT, "suppress_origin": True}
        with closing(websocket.create_connection(target.url, **options)) as ws:
            return _server(ws)

    context = target.context()
    eventually(lambda: len({server(0) for _ in range(10)}) == 3, "all three are found")
    with ThreadPoolExecutor(4) as pool:
        servers = Counter(pool.map(server, range(900)))
    assert min(servers.values()) > 240, servers
    assert max(servers.values()) < 360, servers


def test_scaling_up_and_down_and_a_kill_fail_no_connect(stack: Stack, target: Target, connect: Connect) -> None:
    opened = {ws: _server(ws) for ws in (connect(target) for _ in range(10))}
    with Steady(target, use=_server) as steady:
        for count in (4, 2):
            _scale(stack, count)
            steady.wait_for(steady.count + 50)
        victim = stack.containers("backend")[0]
        victim.kill()
        steady.wait_for(steady.count + 50)
    assert steady.refused == []
    # No more than were just being used on the one that was stopped, and on the one that was killed.
    assert len(steady.cut) <= 2 * THREADS, steady.cut
    # The connections of the two that stayed all the time live on, but for those of the one that was killed.
    left = {container.short_id for container in stack.containers("backend") if container.status == "running"}
    kept = [ws for ws, server in opened.items() if server in left]
    assert kept
    assert all(_server(ws) == opened[ws] for ws in kept)


def test_a_hung_replica_delays_but_fails_nobody(stack: Stack, target: Target, connect: Connect) -> None:
    stack.containers("backend")[0].pause()

    def seconds(number: int) -> float:
        started = time.monotonic()
        ws = connect(target, f"?number={number}")
        ws.send("who are you?")
        assert json.loads(ws.recv())["path"] == f"/wss?number={number}"
        return time.monotonic() - started

    hung_after = HUNG_AFTER[stack.profile]
    with promise(hung_after + 5, "the hung replica is left"), ThreadPoolExecutor(24) as pool:
        delays = sorted(pool.map(seconds, range(24)))
    assert delays[0] < hung_after  # the other replica serves at once
    assert delays[-1] >= hung_after


def test_no_replica_is_a_503_at_once_and_service_is_back_in_two_seconds(stack: Stack, target: Target) -> None:
    replicas = stack.containers("backend")
    for replica in replicas:
        replica.kill()
    for _ in range(20):
        with promise(2, "503"):
            answer = ask(target, headers=UPGRADE)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    replicas[0].start()
    eventually(lambda: _is_healthy(replicas[0]), "the replica is ready")
    with promise(2, "service is back"):
        eventually(lambda: ask(target, headers=UPGRADE).status == 101, "it is served again")


def test_a_redeploy_of_all_replicas_fails_nobody_but_with_503(stack: Stack, target: Target) -> None:
    with Steady(target, use=_server) as steady:
        outcome = stack.compose(
            "up", "--no-build", "--wait", "--force-recreate", "--no-deps", "--scale=backend=2", "backend"
        )
        assert outcome.code == 0, outcome.output
        with promise(2, "service is back"):
            eventually(lambda: ask(target, headers=UPGRADE).status == 101, "it is served again")
        before = len(steady.failures)
        steady.wait_for(steady.count + 50)
        assert len(steady.failures) - before <= THREADS, steady.failures  # those that were on their way
    # While none is ready: 503 to those that connect, 1001 to those that are connected.
    assert all("503" in failure for failure in steady.refused), steady.refused
    assert all("1001" in failure for failure in steady.cut), steady.cut


def _is_healthy(container: Container) -> bool:
    container.reload()
    return bool(container.attrs["State"]["Health"]["Status"] == "healthy")
