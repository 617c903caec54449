"""Row 16 of the contract, so far: several replicas behind a proxy, several workers in a container."""

import json
import re
from pathlib import Path

import pytest
import websocket
from client import Target, target_of
from eventually import eventually
from fixtures import Connect, NewStack

CONNECTS = 30


def _who(connect: Connect, target: Target) -> tuple[websocket.WebSocket, str]:
    """Open a websocket; return it, and which process of which container answers it."""
    ws = connect(target)
    return ws, _answers(ws)


def _answers(ws: websocket.WebSocket) -> str:
    ws.send("who are you?")
    seen = json.loads(ws.recv())
    return f"{seen['server']}/{seen['process']}"


def _has_ended(ws: websocket.WebSocket) -> bool:
    """Wait for the end: cut off, or with a close frame of a worker that outlived its parent by a moment."""
    try:
        opcode, _ = ws.recv_data()
    except (websocket.WebSocketConnectionClosedException, OSError):
        return True
    return bool(opcode == websocket.ABNF.OPCODE_CLOSE)


@pytest.mark.profiles("nginx", "apache")
def test_a_killed_replica_takes_only_its_own_clients_along(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, APP="apps.whoami:handler")
    stack.up("--scale", "backend=3")
    target = target_of(stack, ca_file)

    opened = [_who(connect, target) for _ in range(CONNECTS)]
    replicas = {server for _, server in opened}
    assert len(replicas) == 3

    victim = stack.containers("backend")[0]
    victim.kill()
    lost = [ws for ws, server in opened if victim.attrs["Config"]["Hostname"] == server.partition("/")[0]]
    kept = [(ws, server) for ws, server in opened if ws not in lost]
    assert lost
    assert all(_has_ended(ws) for ws in lost)

    # Every single one, from the first on: the proxy must find the living by itself.
    after = {server for _, server in (_who(connect, target) for _ in range(CONNECTS))}
    assert after == {server for _, server in kept}
    assert [_answers(ws) for ws, _ in kept] == [server for _, server in kept]


@pytest.mark.profiles("nginx", "apache")
def test_where_replicas_are_full_the_one_with_room_is_found(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, APP="apps.whoami:handler", MAX_CONNECTIONS="1")
    stack.up("--scale", "backend=3")
    target = target_of(stack, ca_file)

    opened = [_who(connect, target) for _ in range(3)]
    assert len({server for _, server in opened}) == 3

    # Not the first one, whose turn it would be.
    leaves, server = opened[1]
    leaves.close()
    eventually(lambda: '"event": "closed"' in stack.logs("backend"), "its server has seen it")
    assert _who(connect, target)[1] == server


@pytest.mark.profiles("direct")
def test_two_workers_share_the_port_and_a_dead_one_is_replaced(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, APP="apps.whoami:handler", WORKERS="2")
    stack.up()
    target = target_of(stack, ca_file)

    opened = [_who(connect, target) for _ in range(CONNECTS)]
    workers = {worker for _, worker in opened}
    assert len(workers) == 2

    victim = opened[0][1]
    process = victim.partition("/")[2]
    assert stack.container().exec_run(["bash", "-c", f"kill -KILL {process}"]).exit_code == 0
    kept = [(ws, worker) for ws, worker in opened if worker != victim]
    assert [_answers(ws) for ws, _ in kept] == [worker for _, worker in kept]

    eventually(lambda: len(re.findall(r"serving wss", stack.logs("direct"))) == 3, "a third worker starts")
    after = {worker for _, worker in (_who(connect, target) for _ in range(CONNECTS))}
    assert len(after) == 2
    assert victim not in after
