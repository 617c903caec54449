"""One stack, one crowd, one fault after the other."""

import asyncio
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from client import target_of
from ports import free_port
from stack import REPOSITORY, Stack

from chaos.crowd import Crowd
from chaos.faults import Fault
from chaos.ledger import Loss
from chaos.member import Member
from chaos.socketio_member import SocketioMember, clients
from chaos.table import State, heading, row

# The last room keeps so little that clients which come back late get a gap.
ROOMS = ("tea 1", "tea 2", "tea 3", "tea 4", "tea 5", "short")
MEMBERS = 10
SETTINGS = {
    "APP": "apps.numbered:handler",
    "HUB": "valkey://hub",
    "WORKERS": "2",
    "HISTORY": "tea*=2000,1h,1M short=10,1h,1M",
    "PING_INTERVAL": "5",
    "PING_TIMEOUT": "10",
}
_SOCKETIO = Path("tests", "chaos", "socketio", "compose.yaml")
SOCKETIO_FILES = tuple(REPOSITORY / file for file in ("compose.yaml", "upstream.yaml", _SOCKETIO))


class SocketioStack(Stack):
    """Socket.IO behind the same proxies, with the same hub."""

    server = "app"


class Result(NamedTuple):
    kept: int
    lost: list[Loss]
    repeated: int
    """Messages that a client received twice."""

    @property
    def is_good(self) -> bool:
        return self.kept > 0 and not self.lost and not self.repeated


def https_port() -> str:
    """Return HTTPS_PORT for a stack whose proxy restarts: Docker would give it another free port each time."""
    return f"127.0.0.1:{free_port()}"


async def run(
    stack: Stack,
    ca: Path,
    faults: Iterable[Fault],
    seconds: float,
    *,
    rate: float,
    rooms: Iterable[str] = ROOMS,
    members: int = MEMBERS,
) -> Result:
    """Inject each fault for so many seconds, and at least once; print a row for each. The stack is running."""
    target = target_of(stack, ca)
    if isinstance(stack, SocketioStack):
        async with clients(stack.image("chaos-socketio"), f"https://{target.authority}", ca) as process:
            crowd = Crowd(partial(SocketioMember, process), rooms, members, rate)
            return await _run(crowd, stack, faults, seconds)
    crowd = Crowd(partial(Member, target.url, target.context()), rooms, members, rate)
    return await _run(crowd, stack, faults, seconds)


async def _run(crowd: Crowd, stack: Stack, faults: Iterable[Fault], seconds: float) -> Result:
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
            print(row(fault.name, before, State.of(crowd)), flush=True)
    return Result(crowd.kept, crowd.lost_in_silence(), crowd.repeated)


async def _persist(stack: Stack) -> None:
    """Replace the hub by one that persists."""
    stack.settings = {**stack.settings, "HUB_PERSIST": "1"}
    outcome = await asyncio.to_thread(stack.compose, "up", "--no-build", "--wait", "--no-deps", "hub")
    assert outcome.code == 0, outcome.output
