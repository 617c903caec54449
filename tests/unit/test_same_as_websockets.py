"""Each scenario is run by `websockets` and by our server: handler and client see the same, or the reason is here."""

import asyncio
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import websockets.asyncio.server
from raw import CLOSE, PING, PONG, Client, frame
from scenarios import ABORT, READ, SCENARIOS, Scenario
from wss.testing import serve

TIMEOUT = 60.0  # seconds

# What stays different, and why.
DIFFERENT = {
    "a_message_that_is_too_big": "the reason of the close frame is picows'",
    "a_frame_without_a_mask": "the reason of the close frame is picows'",
    "streaming_after_the_end": "ours raises ConnectionClosed each time; theirs ConcurrencyError the second time",
    "streaming_a_message_that_never_ends": "RFC 6455 section 5.4 allows control frames, close too, between fragments",
    "recv_of_a_message_that_never_ends": "RFC 6455 section 5.4 allows control frames, close too, between fragments",
    "send_of_a_first_fragment_that_is_wrong": "nothing was sent: there is no message to break off, and ours goes on",
    "messages_after_our_close": "ours discards them, so that it can read on to the close frame in bounded memory",
}


@dataclass
class Seen:
    """What the handler reported, and what the client received."""

    by_handler: list[object] = field(default_factory=list)
    by_client: list[object] = field(default_factory=list)


def describe(seen: object) -> object:
    """Return what can be compared: an exception as its class and text."""
    return (type(seen), str(seen)) if isinstance(seen, BaseException) else seen


@contextmanager
def served_by_websockets(handler: Any) -> Iterator[int]:
    """Yield the port of a server of the package websockets."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def main() -> None:
        options: Any = {"compression": None, "ping_interval": None}
        async with websockets.asyncio.server.serve(handler, "localhost", 0, **options) as server:
            stop = asyncio.Event()
            port = next(iter(server.sockets)).getsockname()[1]
            started.set_result((asyncio.get_running_loop(), stop, port))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    loop, stop, port = started.result(TIMEOUT)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(TIMEOUT)


@contextmanager
def served_by_us(handler: Any) -> Iterator[int]:
    with serve(handler, PING_INTERVAL="20") as server:
        yield server.port


@dataclass(frozen=True)
class Both:
    """The ports of the two servers, and what the handler of the running scenario reports to."""

    theirs: int
    ours: int
    current: list["Run"]


class Run:
    """One scenario on one server."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._seen = Seen()
        self._ended = threading.Event()

    async def handle(self, connection: Any) -> None:
        try:
            with warnings.catch_warnings():  # error.code and error.reason are deprecated, and used everywhere
                warnings.simplefilter("ignore", DeprecationWarning)
                await self._scenario.handler(connection, lambda value: self._seen.by_handler.append(describe(value)))
        finally:
            self._ended.set()

    def talk_to(self, port: int) -> Seen:
        client = Client(SimpleNamespace(port=port))  # type: ignore[arg-type]  # the port is all that it needs
        client.socket.settimeout(TIMEOUT)
        with closing(client.socket), closing(client.stream):
            self._seen.by_client = talk(client, self._scenario)
        assert self._ended.wait(TIMEOUT)
        return self._seen


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    current: list[Run] = []

    async def handler(connection: Any) -> None:
        await current[0].handle(connection)

    with served_by_websockets(handler) as theirs, served_by_us(handler) as ours:
        yield Both(theirs, ours, current)


def run(scenario: Scenario, both: Both, port: int) -> Seen:
    both.current[:] = [Run(scenario)]
    return both.current[0].talk_to(port)


def talk(client: Client, scenario: Scenario) -> list[object]:
    received: list[object] = []
    is_closed = False
    try:
        for step in scenario.steps:
            if step is READ:
                received.append(client.receive())
            elif step is ABORT:
                return received
            else:
                assert isinstance(step, bytes)
                client.send(step)
                is_closed |= step[0] & 0xF == CLOSE
        while True:
            opcode, payload = client.receive()
            # A server chooses the data of its own pings.
            received.append((opcode, payload) if opcode != PING else opcode)
            if opcode == PING:
                client.send(frame(PONG, payload))
            elif opcode == CLOSE and scenario.answers and not is_closed:
                client.send(frame(CLOSE, payload[:2]))
    except ConnectionResetError:
        received.append("reset")
    except ValueError:  # the stream ended within a frame: an empty one is its end
        received.append("end")
    return received


@pytest.mark.parametrize("name", SCENARIOS)
def test_handler_and_client_see_the_same(both: Both, name: str) -> None:
    theirs, ours = run(SCENARIOS[name], both, both.theirs), run(SCENARIOS[name], both, both.ours)
    if name in DIFFERENT:
        assert ours != theirs, "the reason is gone"
    else:
        assert ours == theirs
