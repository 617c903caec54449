"""The deadline of a connection: it is closed with 4401 when its access has expired."""

import asyncio
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from server import TIMEOUT
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.client import ClientConnection
from wss import Connection
from wss.application import Application
from wss.connection.deadlines import Deadlines
from wss.testing import serve

Set = Callable[[Connection], object]


def handler_that(*sets: Set) -> Callable[[Connection], Awaitable[None]]:
    """Return a handler that calls these, sends their results, and waits for the end."""

    async def handler(connection: Connection) -> None:
        for each in sets:
            await connection.send(str(each(connection)))
        await connection.wait_closed()

    return handler


def set_to(when: Callable[[], Any]) -> Set:
    def set_deadline(connection: Connection) -> object:
        connection.deadline = when()
        return connection.deadline

    return set_deadline


def in_seconds(seconds: float) -> Set:
    return set_to(lambda: time.time() + seconds)


def ending(client: ClientConnection) -> tuple[int, str, float]:
    """Return code and reason of the close frame, and when it came."""
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=TIMEOUT)
    assert closed.value.rcvd
    return closed.value.rcvd.code, closed.value.rcvd.reason, time.time()


@pytest.mark.parametrize("seconds", [-3600.0, 0.0, 0.7, 1.5])
def test_a_connection_is_closed_at_its_deadline_and_not_before(seconds: float) -> None:
    with serve(handler_that(in_seconds(seconds))) as server, server.connect() as client:
        deadline = float(client.recv(timeout=TIMEOUT))
        code, reason, when = ending(client)
        assert (code, reason) == (4401, "access has expired")
        assert when >= deadline


@pytest.mark.parametrize(
    ("sets", "last"),
    [
        ((in_seconds(1.5), in_seconds(3.5)), 1),  # extended
        ((in_seconds(3600), in_seconds(0.5)), 1),  # brought forward
        ((in_seconds(3600), set_to(lambda: None), in_seconds(0.5)), 2),  # set again
    ],
)
def test_the_last_deadline_counts(sets: tuple[Set, ...], last: int) -> None:
    with serve(handler_that(*sets)) as server, server.connect() as client:
        deadlines = [client.recv(timeout=TIMEOUT) for _ in sets]
        code, _, when = ending(client)
        assert code == 4401
        assert when >= float(deadlines[last])


def test_a_connection_whose_deadline_was_removed_or_extended_stays_open() -> None:
    moves = {"removed": set_to(lambda: None), "extended": in_seconds(3600)}

    async def handler(connection: Connection) -> None:
        connection.deadline = time.time() + 0.5
        if moving := moves.get(connection.path.removeprefix("/ws/")):
            moving(connection)
        await connection.send("ready")
        async for message in connection:
            await connection.send(message)

    with (
        serve(handler, WS_PATHS="/ws/*") as server,
        server.connect("/ws/removed") as removed,
        server.connect("/ws/extended") as extended,
        server.connect("/ws/kept") as kept,
    ):
        for client in (removed, extended, kept):
            assert client.recv(timeout=TIMEOUT) == "ready"
        assert ending(kept)[0] == 4401  # it had the same first deadline
        for client in (removed, extended):
            client.send("tom")
            assert client.recv(timeout=TIMEOUT) == "tom"


def test_process_request_can_set_it() -> None:
    opened = asyncio.Event()

    async def process_request(connection: Connection, _: Request) -> Response | None:
        connection.deadline = time.time() - 1
        await asyncio.sleep(1.1)  # it passes, and is checked, before the websocket opens
        opened.set()
        return None

    app = Application(handler_that(), process_request)
    with serve(app) as server, server.connect() as client:
        assert opened.is_set()
        assert ending(client)[0] == 4401


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("tomorrow", "TypeError"),
        (datetime(2038, 1, 1, tzinfo=UTC), "TypeError"),
        (float("nan"), "ValueError"),
        (float("inf"), "ValueError"),
        (1_800_000_000_000, "ValueError"),  # milliseconds
    ],
)
def test_what_is_not_a_time_in_seconds_raises(value: Any, error: str) -> None:
    def set_wrongly(connection: Connection) -> object:
        with pytest.raises((TypeError, ValueError), match="in seconds since 1970") as raised:
            connection.deadline = value
        return f"{raised.typename}, {connection.deadline}"

    with serve(handler_that(set_wrongly)) as server, server.connect() as client:
        assert client.recv(timeout=TIMEOUT) == f"{error}, None"


def test_a_client_that_has_left_is_forgotten() -> None:
    with serve(handler_that(in_seconds(1.5))) as server:
        with server.connect() as leaving:
            deadline = float(leaving.recv(timeout=TIMEOUT))
        with server.connect() as client:  # the server goes on after the deadline of the first
            assert float(client.recv(timeout=TIMEOUT)) >= deadline
            assert ending(client)[0] == 4401


class Client:
    """A connection with a deadline, which records with which code it is closed."""

    opened = 1.0

    def __init__(self, deadline: float) -> None:
        self.deadline: float | None = deadline
        self.codes: list[int] = []

    def close_soon(self, code: int, _: str) -> None:
        self.codes.append(code)


def test_memory_does_not_grow_with_deadlines_that_have_moved_or_whose_clients_have_left() -> None:
    deadlines = Deadlines()
    tomorrow = time.time() + 86_400
    renews = [Client(tomorrow) for _ in range(10)]
    tracemalloc.start()
    try:
        for second in range(20_000):
            deadlines.watch(Client(tomorrow + second))  # which leaves at once
            renews[second % 10].deadline = tomorrow + second
            deadlines.watch(renews[second % 10])
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_each_client_is_closed_at_its_last_deadline_however_many_others_there_are() -> None:
    async def check() -> None:
        deadlines = Deadlines()
        now = time.time()
        past, renewed = [Client(now - 1) for _ in range(3000)], [Client(now - 1) for _ in range(3000)]
        for client in (*past, *renewed):
            deadlines.watch(client)
        for client in renewed:
            client.deadline = now + 86_400
            deadlines.watch(client)
        keeping = asyncio.create_task(deadlines.keep())
        await asyncio.sleep(0)  # its first round
        keeping.cancel()
        assert all(client.codes == [4401] for client in past)
        assert not any(client.codes for client in renewed)

    asyncio.run(check())
