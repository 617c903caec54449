"""All clients: they send at a steady rate, and come to rest to be counted."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import cycle

from eventually import LIMIT, until

from chaos.ledger import Ledger, Loss, Message
from chaos.member import Member
from chaos.socketio_member import SocketioMember

# Seconds for a last message to reach all; then another one is sent.
PATIENCE = 10.0


NewMember = Callable[[str, str, Ledger, Counter[str]], Member | SocketioMember]


class Crowd:
    """`each` clients in each room; `new` creates one from room, name, ledger and counts."""

    def __init__(self, new: NewMember, rooms: Iterable[str], each: int, rate: float) -> None:
        self.counts: Counter[str] = Counter()
        """Of all members: sent, live, resumed, dropped, and gaps by their reason."""
        self._rate = rate
        self.members: list[Member | SocketioMember] = []
        self.ledgers: dict[str, Ledger] = {}
        for number, room in enumerate(rooms):
            names = [f"c{number * each + index}" for index in range(each)]
            ledger = self.ledgers[room] = Ledger(names)
            self.members += [new(room, name, ledger, self.counts) for name in names]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the members connect and receive. Fails if a member ends, for example because of a final close code."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(member.run(), name=member.name) for member in self.members]
            await until(lambda: all(member.has_joined for member in self.members), "all members are in their rooms")
            yield
            for task in tasks:
                task.cancel()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Let all members send in turns."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._send())
            yield
            task.cancel()

    async def _send(self) -> None:
        for member in cycle(self.members):
            await member.send_next()
            await asyncio.sleep(1 / self._rate)  # limits the rate; it does not wait for a condition

    async def exchange(self, number: int) -> None:
        """Wait until so many more messages are kept."""
        wanted = self.kept + number
        await until(lambda: self.kept >= wanted, f"{number} more messages are kept")

    async def attempt(self, number: int) -> None:
        """Wait until so many more messages are sent, whether they are kept or not."""
        wanted = self.counts["sent"] + number
        await until(lambda: self.counts["sent"] >= wanted, f"{number} more messages are sent")

    async def rest(self) -> None:
        """Wait until all members have received what was sent last; after the limit, what is missing is lost."""
        await asyncio.gather(*(self._rest(room, ledger) for room, ledger in self.ledgers.items()))

    async def _rest(self, room: str, ledger: Ledger) -> None:
        members = [member for member in self.members if member.room == room]
        senders = cycle(members)
        try:
            async with asyncio.timeout(LIMIT):
                while True:
                    await until(lambda: all(member.is_connected for member in members), "all members are connected")
                    if (last := await next(senders).send_next()) and await self._have_all(ledger, last):
                        return
        except TimeoutError:
            print(f"not within {LIMIT:.0f} s: all members of {room} receive a last message", flush=True)

    async def _have_all(self, ledger: Ledger, last: Message) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                await until(lambda: ledger.have_all(last), "all members have the last message")
        except TimeoutError:
            return False
        return True

    @property
    def kept(self) -> int:
        return sum(len(ledger.kept) for ledger in self.ledgers.values())

    @property
    def to_receive(self) -> int:
        """The number of kept messages, each counted once per member of its room."""
        return sum(len(self.ledgers[member.room].kept) for member in self.members)

    @property
    def missing(self) -> int:
        return sum(ledger.missing for ledger in self.ledgers.values())

    @property
    def repeated(self) -> int:
        return sum(len(ledger.repeated) for ledger in self.ledgers.values())

    def lost_in_silence(self) -> list[Loss]:
        return [loss for ledger in self.ledgers.values() for loss in ledger.lost_in_silence()]
