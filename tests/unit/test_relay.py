"""apps/relay.py, between real clients and a real upstream."""

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import upstream as upstreams
from apps import relay
from apps.kept import Kept
from eventually import LIMIT, eventually
from hypothesis import strategies as st
from time_limit import time_limit
from upstream import Session, Upstream, message
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from wss.application import Application
from wss.testing import serve

SIZE = 256 * 1024  # bytes of a large message


def kernel_buffers() -> int:
    """Return how many bytes a TCP connection on this machine holds at most, in both sockets together: tcp(7)."""
    return sum(int(Path(f"/proc/sys/net/ipv4/tcp_{each}mem").read_text().split()[2]) for each in "rw")


# More than two connections hold, and the queues of the relay and of the upstream.
NUMBER = 2 * kernel_buffers() // SIZE + 64

SETTINGS: Any = {"PING_TIMEOUT": "600", "SLOW_READER_TIMEOUT": "30"}


class Client:
    """A client of the relay that counts what it receives, and comes back."""

    def __init__(self, connect: Callable[[str], ClientConnection], stream: str = "", received: Any = 0) -> None:
        self._connect = connect
        self.received = received
        self.ws = connect(f"?stream={stream}&received={received}" if stream else "")

    def another(self, stream: str = "", received: Any = 0) -> "Client":
        return Client(self._connect, stream, received)

    def start(self) -> "Client":
        """Read the relay's own message."""
        started = json.loads(self.ws.recv(timeout=LIMIT))
        self.stream: str = started["stream"]
        self.taken: int = started["received"]
        return self

    def receive(self) -> str | bytes:
        data: str | bytes = self.ws.recv(timeout=LIMIT)
        self.received += 1
        return data

    def cut(self) -> None:
        """Lose the connection without a close frame."""
        self.ws.socket.shutdown(socket.SHUT_RDWR)

    def back(self) -> "Client":
        return self.another(self.stream, self.received).start()

    def ending(self) -> tuple[int, str]:
        with pytest.raises(ConnectionClosed) as closed:
            self.ws.recv(timeout=LIMIT)
        assert closed.value.rcvd
        return closed.value.rcvd.code, closed.value.rcvd.reason


Relay = Callable[..., tuple[Client, Upstream]]


def large(number: int) -> bytes:
    return number.to_bytes(4, "big") * (SIZE // 4)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened
    assert not relay.streams
    assert not relay.running


@pytest.fixture
def start(opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """Return a function that starts an upstream and the relay; returns a client and the upstream."""

    def start(behave: upstreams.Behaviour, settings: Any = SETTINGS, **constants: Any) -> tuple[Client, Upstream]:
        for name, value in {"GRACE": 600, "UPSTREAM_TIMEOUT": 600, "REPLACING": 600, **constants}.items():
            monkeypatch.setattr(relay, name, value)
        upstream = opened.enter_context(upstreams.upstream(behave))
        monkeypatch.setattr(relay, "URL", upstream.url)
        application = Application(relay.handler, lifespan=relay.lifespan)
        server = opened.enter_context(serve(application, **settings))
        upstream.relay = server.url
        options: Any = {"ping_interval": None, "compression": None, "max_size": None, "close_timeout": 1}
        return Client(lambda query: opened.enter_context(server.connect(f"/wss{query}", **options))).start(), upstream

    return start


def test_messages_pass_unchanged_in_both_directions(start: Relay) -> None:
    client, _ = start(upstreams.echo)
    for sent in ("tom", b"\0\xff", "", b"", "é" * 100_000, '{"stream": 1}'):
        client.ws.send(sent)
        assert client.receive() == sent


def test_a_client_that_does_not_read_stops_the_upstream_and_loses_nothing(start: Relay) -> None:
    async def send(session: Session) -> None:
        for each in range(NUMBER):
            await session.send(large(each))

    slow, upstream = start(send)
    fast = slow.another().start()
    for each in range(NUMBER):
        assert fast.receive() == large(each)
    # The other one had as much time.
    assert upstream.session(0).sent < NUMBER
    for each in range(NUMBER):
        assert slow.receive() == large(each)
    assert slow.ending() == (1000, "")


def test_an_upstream_that_does_not_read_stops_the_client_and_loses_nothing(start: Relay) -> None:
    slow, upstream = start(upstreams.deaf)

    def send(client: Client) -> threading.Thread:
        def run() -> None:
            for each in range(NUMBER):
                client.ws.send(large(each))

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    sending = send(slow)
    fast = slow.another().start()
    upstream.session(1).go_on()
    send(fast).join()
    eventually(lambda: len(upstream.session(1).received) == NUMBER, "the fast upstream has everything")
    assert sending.is_alive()
    upstream.session(0).go_on()
    sending.join()
    eventually(lambda: len(upstream.session(0).received) == NUMBER, "the slow upstream has everything")
    for session in upstream.sessions:
        assert session.received == [large(each) for each in range(NUMBER)]


def test_an_upstream_that_takes_nothing_is_lost_after_a_time(start: Relay, caplog: pytest.LogCaptureFixture) -> None:
    client, _ = start(upstreams.deaf, UPSTREAM_TIMEOUT=1)

    def send() -> None:
        with suppress(ConnectionClosed):
            while True:
                client.ws.send(bytes(SIZE))

    sending = threading.Thread(target=send)
    sending.start()
    assert client.ending() == (1014, "the upstream was lost")
    sending.join()
    assert "an upstream was lost: [Errno 110]" in caplog.text


def test_a_client_that_sends_and_reads_a_lot_at_the_same_time_is_not_blocked(start: Relay) -> None:
    _, upstream = start(upstreams.echo)

    async def run() -> list[str | bytes]:
        async with connect(upstream.relay, compression=None, max_size=None, ping_interval=None) as ws:
            await ws.recv()
            async with asyncio.TaskGroup() as tasks:
                for each in range(NUMBER):
                    tasks.create_task(ws.send(large(each)))
                return [await ws.recv() for _ in range(NUMBER)]

    async def limited() -> list[str | bytes]:
        return await asyncio.wait_for(run(), LIMIT)

    assert asyncio.run(limited()) == [large(each) for each in range(NUMBER)]


@hypothesis.given(steps=st.lists(st.one_of(st.just("next"), st.binary(max_size=90), st.integers(0, 60)), max_size=200))
def test_what_was_sent_last_can_be_sent_again(steps: list[str | bytes | int]) -> None:
    limit = 500
    kept, messages, sent = Kept(limit), list[bytes](), 0
    for step in steps:
        if isinstance(step, bytes):
            kept.add(step)
            messages.append(step)
        elif isinstance(step, int):
            number = sent - step
            size = sum(map(sys.getsizeof, messages[max(number, 0) : sent]))
            can = kept.rewind(str(number))
            assert number >= 0 if can else number < 0 or size > limit
            sent = number if can else sent
        elif sent < len(messages):
            assert kept.next() == messages[sent]
            sent += 1
        assert kept.count == len(messages)
        assert kept.ahead == sum(map(sys.getsizeof, messages[sent:]))
    assert not kept.rewind(str(sent + 1))


# The end of the client.


def leave(client: Client) -> None:
    threading.Thread(target=client.ws.close).start()  # it waits, if it does not read


def lose_the_line(client: Client) -> None:
    client.cut()


@pytest.mark.parametrize("behave", [upstreams.silent, upstreams.endless, upstreams.echo])
@pytest.mark.parametrize(("end", "grace"), [(leave, 600), (lose_the_line, 0), (lose_the_line, 0.5)])
def test_the_upstream_ends_within_a_second_after_its_client_and_not_before_the_grace(
    start: Relay, behave: upstreams.Behaviour, end: Callable[[Client], None], grace: float
) -> None:
    client, upstream = start(behave, GRACE=grace)
    session = upstream.session()
    is_lost = end is lose_the_line
    with time_limit(1 + grace * is_lost, "the upstream ends"):
        ended = time.monotonic()
        end(client)
        assert session.ended.wait(LIMIT)
    assert not is_lost or time.monotonic() - ended >= grace
    eventually(lambda: not relay.streams, "the stream is forgotten")


def test_an_upstream_that_does_not_read_is_cut(start: Relay) -> None:
    # What the client has sent is not read: its end is behind that, and noticed by pings.
    client, _ = start(upstreams.deaf, {"PING_INTERVAL": "1", "PING_TIMEOUT": "1"}, GRACE=0)
    client.ws.socket.settimeout(1)
    with suppress(ConnectionClosed, TimeoutError):  # the client library ends the connection if it cannot send
        while True:
            client.ws.send(bytes(SIZE))
    eventually(lambda: not relay.running, "the connection to the upstream has ended")


def test_the_last_messages_of_a_client_reach_the_upstream(start: Relay) -> None:
    client, upstream = start(upstreams.silent, LAST_WORDS=60)
    sent = [message(number) for number in range(100)]
    for each in sent:
        client.ws.send(each)
    client.ws.close()
    assert upstream.session().ended.wait(LIMIT)
    assert upstream.session().received == sent


# A client that comes back.


def test_a_client_that_comes_back_receives_the_same_stream(start: Relay) -> None:
    client, upstream = start(upstreams.endless)
    numbers = count()
    for cut_after in (0, 1, 10, 1000, 3):
        for _ in range(cut_after):
            assert client.receive() == message(next(numbers))
        client.cut()
        client = client.back()
    assert client.receive() == message(next(numbers))
    assert len(upstream.sessions) == 1


def test_a_client_that_comes_back_sends_again_what_was_not_received(start: Relay) -> None:
    client, upstream = start(upstreams.echo)
    sent = [message(number) for number in range(2000)]
    received: list[str | bytes] = []
    begun = 0
    for upto in (1, 300, 301, 2000):
        for each in sent[begun:upto]:
            client.ws.send(each)
        while len(received) < upto - 1:  # the last one is on its way, or not
            received.append(client.receive())
        if upto < len(sent):
            client.cut()
            client = client.back()
            begun = client.taken
    received.append(client.receive())
    assert received == sent
    assert upstream.session().received == sent


def test_a_connection_whose_client_is_back_on_another_one_is_closed(start: Relay) -> None:
    client, _ = start(upstreams.echo)
    again = client.back()
    assert client.ending() == (4409, "another connection has taken over")
    again.ws.send("tom")
    assert again.receive() == "tom"


@pytest.mark.parametrize("received", [0, -1, 10**9, "", "x", pytest.param("9" * 5000, id="long")])
def test_a_client_is_told_if_its_messages_are_not_there(start: Relay, received: object) -> None:
    client, _ = start(upstreams.endless, BUFFER=200_000)
    for _ in range(2000):
        client.receive()
    client.cut()
    assert client.another(client.stream, received).ending()[0] == 4404
    assert client.back().receive() == message(2000)


def test_a_client_is_told_if_its_stream_is_unknown(start: Relay) -> None:
    client, _ = start(upstreams.silent)
    assert client.another("unknown").ending()[0] == 4404


def test_a_client_that_comes_back_after_the_grace_is_told(start: Relay) -> None:
    client, upstream = start(upstreams.silent, GRACE=0)
    client.cut()
    assert upstream.session().ended.wait(LIMIT)
    assert client.another(client.stream).ending()[0] == 4404


# The end of the upstream.


async def cut(ws: ServerConnection) -> None:
    ws.transport.write_eof()
    ws.transport.close()


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [
        (lambda ws: ws.close(), 1000, ""),
        (lambda ws: ws.close(4000, "no more credit"), 4000, "no more credit"),
        (cut, 1014, "the upstream was lost"),
        (lambda ws: ws.send(bytes(2**20 + 1)), 1014, "the upstream was lost"),
    ],
)
@pytest.mark.parametrize("is_away", [False, True])
def test_the_client_gets_all_messages_and_the_code_of_an_upstream_that_ends(
    start: Relay, end: Callable[[ServerConnection], Awaitable[None]], code: int, reason: str, is_away: bool
) -> None:
    async def behave(session: Session) -> None:
        await session.receive()
        for number in range(100):
            await session.send(message(number))
        await session.wait()
        await end(session.ws)
        await upstreams.silent(session)

    client, upstream = start(behave)
    client.ws.send("begin")
    assert client.receive() == message(0)
    if is_away:
        client.cut()
    upstream.session().go_on()
    if is_away:
        eventually(lambda: not relay.running, "the upstream has ended")
        client = client.back()
    assert [client.receive() for _ in range(99)] == [message(number) for number in range(1, 100)]
    assert client.ending() == (code, reason)
    eventually(lambda: not relay.streams, "the stream is forgotten")


def test_an_upstream_that_is_unreachable_closes_with_1014(start: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = start(upstreams.silent)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setattr(relay, "URL", f"ws://127.0.0.1:{unused.getsockname()[1]}")
        assert client.another().ending() == (1014, "the upstream is unreachable")


# The age of the upstream.


def until_replaced(upstream: Upstream) -> Iterator[int]:
    """Yield numbers until the fourth session of the upstream has begun."""
    deadline = time.monotonic() + LIMIT
    for number in count():
        if len(upstream.sessions) >= 4:
            return
        assert time.monotonic() < deadline, "the upstream is not replaced"
        yield number


async def go_on(upstream: Any, received: int) -> None:
    await upstream.send(str(received))


def test_a_replaced_upstream_goes_on_where_the_last_one_has_ended(start: Relay) -> None:
    client, upstream = start(upstreams.resumable, MAX_AGE=0.1, begin=go_on)
    for number in until_replaced(upstream):
        assert client.receive() == message(number)
    client.cut()
    client = client.back()
    for number in range(client.received, client.received + 1000):
        assert client.receive() == message(number)


def test_an_upstream_is_replaced_while_it_owes_nothing(start: Relay) -> None:
    client, upstream = start(
        upstreams.echo, MAX_AGE=0.1, AGAIN=0.01, may_replace_after=lambda _, is_of_upstream: is_of_upstream
    )
    for number in until_replaced(upstream):
        client.ws.send(message(number))
        assert client.receive() == message(number)
    received = [each for session in upstream.sessions for each in session.received]
    assert received == [message(number) for number in range(client.received)]
    # Only the last one is open.
    for session in upstream.sessions[:-2]:
        assert session.ended.wait(LIMIT)


def test_an_upstream_stays_while_there_is_no_other_one(start: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = threading.Semaphore(0)

    async def open_upstream() -> None:
        attempts.release()
        raise ConnectionRefusedError

    client, upstream = start(upstreams.echo, MAX_AGE=0.01, AGAIN=0.01, may_replace_after=lambda *_: False)
    monkeypatch.setattr(relay, "open_upstream", open_upstream)
    monkeypatch.setattr(relay, "may_replace_after", lambda *_: True)
    for _ in range(3):
        assert attempts.acquire(timeout=LIMIT)
        client.ws.send("tom")
        assert client.receive() == "tom"
    assert len(upstream.sessions) == 1


def test_without_the_address_of_an_upstream_the_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "URL", "speech:9000")
    application = Application(relay.handler, lifespan=relay.lifespan)
    with pytest.raises(ValueError, match=r"^RELAY_URL='speech:9000': give the address"), serve(application):
        pass
