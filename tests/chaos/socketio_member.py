"""Clients of Socket.IO in the place of ours. All are in one Node process (socketio/clients.mjs).

Socket.IO has no notice of a gap. A client that connects again and is not `recovered` counts as told: its gap ends
before the next message that it receives. A message counts as kept if the server acknowledged it after `emit`.
"""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from chaos.ledger import Ledger, Message


class Clients:
    """The Node process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.members: dict[str, SocketioMember] = {}

    def call(self, *fields: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(fields).encode() + b"\n")

    async def run(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            kind, name, *fields = json.loads(line)
            self.members[name].take(kind, *fields)
        raise RuntimeError("the clients of Socket.IO have ended")


@asynccontextmanager
async def clients(image: str, url: str, ca: Path) -> AsyncIterator[Clients]:
    name = f"{image.partition(':')[0]}-clients-{secrets.token_hex(4)}"
    # Without this label it would be a container of the service whose image it is, like the servers.
    options = [f"--name={name}", "--label=com.docker.compose.project=beside", f"--volume={ca}:/ca.pem:ro"]
    command = [
        "docker",
        "run",
        "--rm",
        "--interactive",
        "--network=host",
        *options,
        image,
        "node",
        "clients.mjs",
        url,
        "/ca.pem",
    ]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    async with asyncio.TaskGroup() as group:
        started = Clients(process)
        task = group.create_task(started.run())
        yield started
        task.cancel()
        assert process.stdin
        process.stdin.close()
        await process.wait()


class SocketioMember:
    """A client in one room."""

    def __init__(self, clients: Clients, room: str, name: str, ledger: Ledger, counts: Counter[str]) -> None:
        self.room, self.name, self.ledger = room, name, ledger
        self.has_joined = False
        self.is_connected = False
        self._is_told = False
        self._clients = clients
        self._counts = counts
        self._numbers = count(1)
        self._received: set[Message] = set()
        clients.members[name] = self

    async def run(self) -> None:
        self._clients.call("open", self.name, self.room)
        await asyncio.Event().wait()

    async def send_next(self) -> Message | None:
        if not self.is_connected:
            return None
        message = Message(self.name, next(self._numbers))
        self._clients.call("say", self.name, self.room, message.number)
        self._counts["sent"] += 1
        return message

    def pause(self) -> None:
        self._clients.call("pause", self.name)

    def cut(self) -> None:
        self._clients.call("cut", self.name)

    def take(self, kind: str, *fields: Any) -> None:
        """Process a report of clients.mjs."""
        match kind:
            case "kept":
                self.ledger.acknowledge(Message(self.name, fields[0]))
            case "said":
                self._receive(Message(fields[0], fields[1]), fields[2], is_resumed=fields[3])
            case "joined" if self.has_joined:
                self._is_told = True
                self._counts["gap not recovered"] += 1
        self.has_joined |= kind == "joined"
        self.is_connected = kind != "lost"

    def _receive(self, message: Message, stream_id: str | None, *, is_resumed: bool) -> None:
        if message in self._received:
            self._counts["dropped"] += 1
            return
        self._received.add(message)
        self._counts["resumed" if is_resumed else "live"] += 1
        if stream_id is None:  # the server has not written it to the hub
            self.ledger.receive(self.name, None, message)
            return
        milliseconds, _, sequence = stream_id.partition("-")
        offset = 1000 * int(milliseconds) + int(sequence)
        if self._is_told:
            self.ledger.start(self.name, f"0:{offset - 1}", gap=True)
            self._is_told = False
        self.ledger.receive(self.name, f"0:{offset}", message)
