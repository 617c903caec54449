"""The queue of pings: it forgets clients that have left, and pings each of the others once in an interval."""

import asyncio
import tracemalloc
from collections.abc import Callable

from wss.connection.keepalive import Keepalive

TIMEOUT = 60
KIB = 1024


class Client:
    """A client that answers each ping; `pinged` is called for each."""

    def __init__(self, pinged: Callable[[], None] = lambda: None) -> None:
        self._pinged = pinged
        self.is_open = True
        self.pings = 0
        self.received: list[int] = []

    def send_keepalive(self) -> None:
        self.received.append(self.pings)
        self._pinged()

    def has_answered(self, ping: int) -> bool:
        return ping in self.received

    def fail_keepalive(self) -> None:
        raise AssertionError("it has answered")


def test_memory_does_not_grow_with_clients_that_come_and_go_within_an_interval() -> None:
    keepalive = Keepalive(interval=3600, timeout=20)
    stays = [Client() for _ in range(100)]
    for client in stays:
        keepalive.watch(client)
    tracemalloc.start()
    try:
        for _ in range(50_000):
            keepalive.watch(Client())
        assert tracemalloc.get_traced_memory()[0] < 1000 * KIB
    finally:
        tracemalloc.stop()


def test_each_client_that_stays_is_pinged_once_in_an_interval() -> None:
    async def check() -> None:
        keepalive = Keepalive(interval=0.2, timeout=TIMEOUT)
        rounds = asyncio.Event()

        def come_and_go() -> None:
            for _ in range(3):
                keepalive.watch(Client())
            if stays[-1].pings == 4:
                rounds.set()

        stays = [Client(come_and_go) for _ in range(1000)]
        for client in stays:
            keepalive.watch(client)
        keeping = asyncio.create_task(keepalive.keep())
        await asyncio.wait_for(rounds.wait(), TIMEOUT)
        keeping.cancel()
        for client in stays:
            assert client.received == list(range(1, client.pings + 1))
            assert client.pings - stays[-1].pings in (0, 1)

    asyncio.run(check())
