"""Row 12 of the contract: who is silent stays, and who is dead goes. With the settings as they are shipped."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import websocket
from client import target_of
from eventually import LIMIT
from fixtures import Connect, NewStack
from promise import slowness
from stack import PROFILES
from websocket import ABNF

PROXY_TIMEOUT = 30.0  # seconds, of nginx.conf and httpd.conf
PING_INTERVAL = 20.0
DEAD_AFTER = 40.0  # PING_INTERVAL and PING_TIMEOUT


# All profiles at once, because it takes its time.
def test_a_silent_client_outlives_every_timeout_and_a_dead_one_does_not(
    new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stacks = [new_stack(profile) for profile in PROFILES]
    for stack in stacks:
        stack.up()
    targets = [target_of(stack, ca_file) for stack in stacks]
    with ThreadPoolExecutor() as pool:
        silent = [pool.submit(_silent_seconds, connect(target)) for target in targets]
        dead = [pool.submit(_dead_seconds, connect(target)) for target in targets]
    assert [each.result() > PROXY_TIMEOUT for each in silent] == [True] * len(PROFILES)
    latest = (DEAD_AFTER + 3) * slowness()  # a moment for the engine and this machine to do it
    assert [PING_INTERVAL < each.result() < latest for each in dead] == [True] * len(PROFILES)


def _silent_seconds(ws: websocket.WebSocket) -> float:
    """Answer pings and send nothing else for longer than a proxy waits, then see that it is still open."""
    started = time.monotonic()
    ws.settimeout(LIMIT)
    while time.monotonic() - started <= PROXY_TIMEOUT:
        opcode, _ = ws.recv_data_frame(control_frame=True)  # answers it, too
        assert opcode == ABNF.OPCODE_PING
    ws.send("tom")
    assert ws.recv() == "ok"
    return time.monotonic() - started


def _dead_seconds(ws: websocket.WebSocket) -> float:
    """Answer nothing; return how long the server took that for life."""
    started = time.monotonic()
    assert ws.sock
    ws.sock.settimeout(DEAD_AFTER + LIMIT)
    while ws.sock.recv(4096):
        pass
    return time.monotonic() - started
