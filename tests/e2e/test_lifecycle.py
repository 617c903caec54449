"""Row 14 of the contract, and readiness: how it starts and how it ends, as the engine and the clients see it."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import websocket
from client import target_of
from eventually import eventually
from fixtures import Connect, NewStack
from load import Steady
from stack import Outcome, Stack
from websocket import ABNF

CLIENTS = 5
MANY = 200
GOING_AWAY = 1001
SERVICE_RESTART = 1012


def test_up_returns_when_everything_is_healthy(stack: Stack) -> None:
    for container in stack.containers():
        state = container.attrs["State"]
        if "Health" in state:
            assert state["Health"]["Status"] == "healthy"
        else:
            assert (state["Status"], state["ExitCode"]) == ("exited", 0)


@pytest.mark.parametrize("command", ["stop", "down", "restart", "up --wait --force-recreate"])
def test_a_stop_says_1001_to_every_client_and_ends_with_0(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect, command: str
) -> None:
    stack = new_stack(profile)
    stack.up()
    services = {container.labels["com.docker.compose.service"] for container in stack.containers()}
    target = target_of(stack, ca_file)
    clients = [connect(target) for _ in range(CLIENTS)]
    before = int(time.time())

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        codes = [pool.submit(_close_code, client) for client in clients]
        outcome: Outcome = pool.submit(stack.compose, *command.split()).result()

    assert outcome.code == 0, outcome.output
    assert [code.result() for code in codes] == [GOING_AWAY] * CLIENTS
    # The engine's own record, because `down` leaves no container to ask. 137 would be a kill after the grace period.
    running = services - {"certs", "check"}
    exit_codes = _exit_codes(stack, since=before)
    assert {service: exit_codes[service] for service in running} == dict.fromkeys(running, 0)


def test_a_stop_under_load_says_1001_to_every_client_and_ends_with_0(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, APP="apps.echo:handler")
    stack.up()
    target = target_of(stack, ca_file)
    clients = [connect(target) for _ in range(MANY)]
    before = int(time.time())
    with Steady(target), ThreadPoolExecutor(MANY) as pool:  # new ones come, too, as long as there is somebody
        codes = [pool.submit(_talk_until_closed, client) for client in clients]
        outcome = stack.compose("stop")
    assert outcome.code == 0, outcome.output
    assert [code.result() for code in codes] == [GOING_AWAY] * MANY
    assert set(_exit_codes(stack, since=before).values()) == {0}


@pytest.mark.profiles("nginx", "apache")
def test_a_proxy_that_stops_alone_says_1012_to_its_clients_and_ends_in_time(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, WORKERS="2")
    stack.up("--scale=backend=2")
    target = target_of(stack, ca_file)
    connect(target)  # never reads
    clients = [connect(target) for _ in range(MANY)]
    before = int(time.time())
    with ThreadPoolExecutor(MANY) as pool:
        codes = [pool.submit(_close_code, client) for client in clients]
        assert stack.compose("stop", profile).code == 0
    assert [code.result() for code in codes] == [SERVICE_RESTART] * MANY
    assert _exit_codes(stack, since=before) == {profile: 0}


def _talk_until_closed(ws: websocket.WebSocket) -> int:
    """Send and receive messages until a close frame comes; return its code."""
    while True:
        with suppress(OSError):  # the frame that says why is still there to be read
            ws.send("tom")
        opcode, frame = ws.recv_data_frame(control_frame=True)
        if opcode == ABNF.OPCODE_CLOSE:
            return int.from_bytes(frame.data[:2], "big")


def _close_code(ws: websocket.WebSocket) -> int:
    """Wait for the close frame, answer it; return its code."""
    opcode, frame = ws.recv_data_frame(control_frame=True)
    assert opcode == ABNF.OPCODE_CLOSE
    return int.from_bytes(frame.data[:2], "big")


def _exit_codes(stack: Stack, since: int) -> dict[str, int]:
    filters = {"event": "die", "label": f"com.docker.compose.project={stack.project}"}
    events = stack.engine.events(since=since, until=int(time.time()) + 1, filters=filters, decode=True)
    attributes = [event["Actor"]["Attributes"] for event in events]
    return {each["com.docker.compose.service"]: int(each["exitCode"]) for each in attributes}


@pytest.mark.profiles("nginx", "direct")
def test_new_workers_take_over_without_a_failed_connect(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, APP="apps.whoami:handler")
    stack.up()
    target = target_of(stack, ca_file)
    old = connect(target)
    first = _process(old)

    stack.container(stack.server).kill("SIGHUP")
    # Every single connect succeeds, until a new worker answers.
    eventually(lambda: _process(connect(target)) != first, 10, "a new worker serves")
    assert _close_code(old) == SERVICE_RESTART
    assert stack.container(stack.server).status == "running"


def _process(ws: websocket.WebSocket) -> int:
    ws.send("who are you?")
    return int(json.loads(ws.recv())["process"])
