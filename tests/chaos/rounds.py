"""One stack, one crowd, one fault after the other."""

import asyncio
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from client import target_of
from stack import Stack

from chaos.crowd import Crowd
from chaos.faults import Fault
from chaos.ledger import Loss
from chaos.table import State, heading, row

# The last room keeps so little that clients which come back late get a gap.
ROOMS = ["tea 1", "tea 2", "tea 3", "tea 4", "tea 5", "short"]
MEMBERS = 10
SETTINGS = {
    "APP": "apps.numbered:handler",
    "HUB": "valkey://hub",
    "WORKERS": "2",
    "HISTORY": "tea*=2000,1h,1M short=10,1h,1M",
    "PING_INTERVAL": "5",
    "PING_TIMEOUT": "10",
}


class Result(NamedTuple):
    kept: int
    lost: list[Loss]
    repeated: int
    """Messages that a client received twice."""

    @property
    def is_good(self) -> bool:
        return self.kept > 0 and not self.lost and not self.repeated


def free_port() -> str:
    """Return HTTPS_PORT for a stack whose proxy restarts: Docker would give it another free port each time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


async def run(
    stack: Stack,
    ca: Path,
    faults: Iterable[Fault],
    seconds: float,
    *,
    rate: float,
    rooms: Sequence[str] = ROOMS,
    members: int = MEMBERS,
) -> Result:
    """Inject each fault for so many seconds, and at least once; print a row for each. The stack is running."""
    crowd = Crowd(target_of(stack, ca), list(rooms), members, rate)
    print(heading(stack.profile), flush=True)
    async with crowd.running():
        await crowd.rest()
        for fault in faults:
            if fault.needs_persistence and "HUB_PERSIST" not in stack.settings:
                await _persist(stack)
                await crowd.rest()
            before = State.of(crowd)
            async with crowd.sending():
                deadline = time.monotonic() + seconds
                while True:
                    await fault.inject(crowd, stack)
                    if time.monotonic() > deadline:
                        break
            await crowd.rest()
            print(row(fault.name, before, State.of(crowd), members), flush=True)
    return Result(crowd.kept, crowd.lost_in_silence(), crowd.repeated)


async def _persist(stack: Stack) -> None:
    """Replace the hub by one that persists."""
    stack.settings = {**stack.settings, "HUB_PERSIST": "1"}
    outcome = await asyncio.to_thread(stack.compose, "up", "--no-build", "--wait", "--no-deps", "hub")
    assert outcome.code == 0, outcome.output
