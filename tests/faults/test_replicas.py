"""Row 16 of the contract: several replicas behind a proxy, and several workers in a container."""

import json
import re
from pathlib import Path

import pytest
import websocket
from client import Target, target_of
from eventually import eventually
from fixtures import Connect, NewStack
from stack import Stack

CONNECTS = 30


def _open(connect: Connect, target: Target) -> tuple[websocket.WebSocket, str]:
    """Open a websocket; return it and the worker that serves it."""
    ws = connect(target)
    return ws, _worker(ws)


def _worker(ws: websocket.WebSocket) -> str:
    """Return the container's host name and the PID of the worker that serves this websocket."""
    ws.send("who are you?")
    seen = json.loads(ws.recv())
    return f"{seen['server']}/{seen['process']}"


def _has_ended(ws: websocket.WebSocket) -> bool:
    """Wait for a reset, or for the close frame of a worker that outlived its parent by a moment."""
    try:
        opcode, _ = ws.recv_data()
    except (websocket.WebSocketConnectionClosedException, OSError):
        return True
    return bool(opcode == websocket.ABNF.OPCODE_CLOSE)


def _close(ws: websocket.WebSocket, stack: Stack) -> None:
    """Close a connection, and wait until its replica has room again."""
    event = '"event": "closed"'
    closed_before = stack.logs("backend").count(event)
    ws.close()
    eventually(lambda: stack.logs("backend").count(event) > closed_before, "a replica has room")


@pytest.mark.profiles("nginx", "apache")
def test_a_killed_replica_disconnects_only_its_own_clients(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, APP="apps.whoami:handler")
    stack.up("--scale", "backend=3")
    target = target_of(stack, ca_file)

    opened = [_open(connect, target) for _ in range(CONNECTS)]
    replicas = {server for _, server in opened}
    assert len(replicas) == 3

    victim = stack.containers("backend")[0]
    victim.kill()
    lost = [ws for ws, server in opened if victim.attrs["Config"]["Hostname"] == server.partition("/")[0]]
    kept = [(ws, server) for ws, server in opened if ws not in lost]
    assert lost
    assert all(_has_ended(ws) for ws in lost)

    # Every connect succeeds, the first one, too: the proxy skips the killed replica.
    after = {server for _, server in (_open(connect, target) for _ in range(CONNECTS))}
    assert after == {server for _, server in kept}
    assert [_worker(ws) for ws, _ in kept] == [server for _, server in kept]


@pytest.mark.profiles("nginx", "apache")
def test_a_proxy_finds_the_only_replica_that_is_not_full(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, APP="apps.whoami:handler", MAX_CONNECTIONS="1")
    stack.up("--scale", "backend=3")
    target = target_of(stack, ca_file)

    opened = [_open(connect, target) for _ in range(3)]
    assert len({server for _, server in opened}) == 3

    # In quick succession: which one has room changes faster than a proxy may remember it.
    for _ in range(9):
        closing, server = opened.pop(0)
        _close(closing, stack)
        opened.append(_open(connect, target))
        assert opened[-1][1] == server


@pytest.mark.profiles("direct")
def test_two_workers_share_the_port_and_a_killed_one_is_replaced(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, APP="apps.whoami:handler", WORKERS="2")
    stack.up()
    target = target_of(stack, ca_file)

    opened = [_open(connect, target) for _ in range(CONNECTS)]
    workers = {worker for _, worker in opened}
    assert len(workers) == 2

    victim = opened[0][1]
    process = victim.partition("/")[2]
    assert stack.container().exec_run(["bash", "-c", f"kill -KILL {process}"]).exit_code == 0
    kept = [(ws, worker) for ws, worker in opened if worker != victim]
    assert [_worker(ws) for ws, _ in kept] == [worker for _, worker in kept]

    eventually(lambda: len(re.findall(r"serving wss", stack.logs("direct"))) == 3, "a third worker starts")
    after = {worker for _, worker in (_open(connect, target) for _ in range(CONNECTS))}
    assert len(after) == 2
    assert victim not in after
