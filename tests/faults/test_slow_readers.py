"""Row 13 of the contract: a client that stops reading costs a bounded amount of memory, and is closed."""

from contextlib import suppress
from pathlib import Path

import websocket
from client import target_of
from eventually import eventually
from fixtures import Connect, NewStack
from stack import Stack
from websocket import ABNF

BOUND = 64 * 1024 * 1024  # bytes, for everything that runs
PATIENCE = 2  # seconds, instead of SLOW_READER_TIMEOUT's 30


def test_a_client_that_never_reads_is_closed_and_claims_no_memory(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, APP="apps.echo:handler", SLOW_READER_TIMEOUT=str(PATIENCE))
    stack.up()
    target = target_of(stack, ca_file)
    bystander, glutton = connect(target), connect(target)
    before = _memory(stack)
    with suppress(OSError):
        _flood(glutton)
    eventually(lambda: "stopped reading" in stack.logs(stack.server), "a line in the log that says why")
    eventually(lambda: '"event": "closed"' in stack.logs(stack.server), "the connection is closed")
    assert _memory(stack) - before < BOUND
    bystander.send("tom")
    assert bystander.recv() == "tom"


def _flood(ws: websocket.WebSocket) -> None:
    """Send as fast as the server takes it, and never read, until it takes no more."""
    frame = ABNF.create_frame(bytes(60_000), ABNF.OPCODE_BINARY).format()
    assert ws.sock
    ws.sock.settimeout(PATIENCE)
    while True:
        ws.sock.sendall(frame)


def _memory(stack: Stack) -> int:
    """Return the bytes that the processes of all containers have in memory."""
    running = [container for container in stack.containers() if container.status == "running"]
    processes = [process for container in running for process in container.top(ps_args="-o pid,rss")["Processes"]]
    return sum(int(kilobytes) * 1024 for _, kilobytes in processes)
