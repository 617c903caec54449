"""Row 12 of the contract, with default settings: an idle client stays connected, a dead one is closed."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import websocket
from client import target_of
from eventually import LIMIT
from fixtures import Connect, NewStack
from stack import PROFILES
from time_limit import slowness
from websocket import ABNF

pytestmark = pytest.mark.long

PROXY_TIMEOUT = 30.0  # seconds, of nginx.conf and httpd.conf
PING_INTERVAL = 20.0
DEAD_AFTER = 40.0  # PING_INTERVAL and PING_TIMEOUT


# All profiles in one test, because it takes 40 s.
def test_an_idle_client_outlives_every_timeout_and_a_dead_one_is_closed(
    new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stacks = [new_stack(profile) for profile in PROFILES]
    for stack in stacks:
        stack.up()
    targets = [target_of(stack, ca_file) for stack in stacks]
    with ThreadPoolExecutor() as pool:
        idle = [pool.submit(_idle_seconds, connect(target)) for target in targets]
        dead = [pool.submit(_dead_seconds, connect(target)) for target in targets]
    assert [each.result() > PROXY_TIMEOUT for each in idle] == [True] * len(PROFILES)
    latest = (DEAD_AFTER + 3) * slowness()  # 3 s for the engine and this machine
    assert [PING_INTERVAL < each.result() < latest for each in dead] == [True] * len(PROFILES)


def _idle_seconds(ws: websocket.WebSocket) -> float:
    """Only answer pings, for longer than the proxy's timeout; check that the websocket is open; return the seconds."""
    started = time.monotonic()
    ws.settimeout(LIMIT)
    while time.monotonic() - started <= PROXY_TIMEOUT:
        opcode, _ = ws.recv_data_frame(control_frame=True)  # answers the ping
        assert opcode == ABNF.OPCODE_PING
    ws.send("tom")
    assert ws.recv() == "ok"
    return time.monotonic() - started


def _dead_seconds(ws: websocket.WebSocket) -> float:
    """Answer no pings; return the seconds until the server closes."""
    started = time.monotonic()
    assert ws.sock
    ws.sock.settimeout(DEAD_AFTER + LIMIT)
    while ws.sock.recv(4096):
        pass
    return time.monotonic() - started
