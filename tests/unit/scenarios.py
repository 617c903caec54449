"""Handlers and what their clients send, to be run by `websockets` and by our server: see test_same_as_websockets.py.

A handler reports what it sees by calling `saw`. The client sends the steps of its scenario one after the other; then it
reads until the end, and answers pings, and the close frame unless `answers` is False.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import websockets.asyncio.server
from raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, code, frame
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

Saw = Callable[[object], None]
ScenarioHandler = Callable[[Any, Saw], Awaitable[None]]


class Step:
    """What a client does besides sending."""


READ, ABORT = Step(), Step()  # read a frame; drop the connection
TOM, BOB = frame(TEXT, b"tom"), frame(TEXT, b"bob")
DONE = frame(CLOSE, code(1000))
HE, LLO = frame(TEXT, b"he", fin=False), frame(CONTINUATION, b"llo")


@dataclass(frozen=True)
class Scenario:
    handler: ScenarioHandler
    steps: tuple[bytes | Step, ...]
    answers: bool = True


SCENARIOS: dict[str, Scenario] = {}


def client(*steps: bytes | Step, answers: bool = True) -> Callable[[ScenarioHandler], ScenarioHandler]:
    """Make a scenario of a handler, which the client meets with these steps."""

    def add(handler: ScenarioHandler) -> ScenarioHandler:
        assert handler.__name__ not in SCENARIOS
        SCENARIOS[handler.__name__] = Scenario(handler, steps, answers)
        return handler

    return add


async def attempt(saw: Saw, awaitable: Awaitable[object]) -> None:
    """Report what this returns or raises."""
    try:
        saw(await awaitable)
    except Exception as error:
        saw(error)


async def attempt_class(saw: Saw, awaitable: Awaitable[object]) -> None:
    try:
        saw(await awaitable)
    except Exception as error:
        # Ours may be a subclass.
        saw(next(kind for kind in type(error).__mro__ if not kind.__module__.startswith("wss.")))


async def begin(awaitable: Awaitable[Any]) -> "asyncio.Task[Any]":
    """Return a task that waits for this already."""
    begun = asyncio.Event()

    async def run() -> Any:
        begun.set()
        return await awaitable

    task = asyncio.create_task(run())
    await begun.wait()
    return task


async def until_closed(ws: Any) -> None:
    """Wait for the end, after which the handler's view of it cannot change."""
    await ws.wait_closed()


# Receiving.


@client(TOM, frame(BINARY, b"\x00\x01"), frame(TEXT), frame(BINARY), frame(TEXT, "é€𝄞".encode()))
async def recv_returns_text_and_bytes(ws: Any, saw: Saw) -> None:
    for _ in range(5):
        saw(await ws.recv())


@client(TOM, frame(BINARY, b"tom"), TOM, frame(BINARY, b"tom"))
async def recv_decodes_as_asked(ws: Any, saw: Saw) -> None:
    for decode in (False, False, True, True):
        saw(await ws.recv(decode))


@client(frame(BINARY, b"\xff"), answers=False)
async def recv_of_invalid_text(ws: Any, saw: Saw) -> None:
    await attempt(saw, ws.recv(decode=True))
    await attempt(saw, ws.recv())


@client(HE, frame(CONTINUATION, b"l", fin=False), frame(CONTINUATION, b"lo"), TOM)
async def recv_joins_fragments(ws: Any, saw: Saw) -> None:
    saw(await ws.recv())
    saw(await ws.recv())


@client(frame(TEXT, b"\xe2\x82", fin=False), frame(CONTINUATION, b"\xac"))
async def recv_joins_a_split_character(ws: Any, saw: Saw) -> None:
    saw(await ws.recv())


@client(frame(BINARY, b"a", fin=False), frame(PING, b"p"), frame(CONTINUATION, b"b"))
async def a_ping_may_come_between_fragments(ws: Any, saw: Saw) -> None:
    saw(await ws.recv())


@client(TOM, BOB, DONE)
async def iteration_ends_after_1000(ws: Any, saw: Saw) -> None:
    async for message in ws:
        saw(message)
    saw("end")


@client(TOM, frame(CLOSE, code(1001)))
async def iteration_ends_after_1001(ws: Any, saw: Saw) -> None:
    async for message in ws:
        saw(message)
    saw("end")


@client(TOM, frame(CLOSE))
async def iteration_ends_after_an_empty_close(ws: Any, saw: Saw) -> None:
    async for message in ws:
        saw(message)
    saw((ws.close_code, ws.close_reason))


@client(TOM, frame(CLOSE, code(4000, b"why")))
async def iteration_raises_after_another_code(ws: Any, saw: Saw) -> None:
    try:
        async for message in ws:
            saw(message)
    except ConnectionClosedError as error:
        saw(error)


@client(TOM, READ, ABORT)
async def iteration_raises_after_an_abort(ws: Any, saw: Saw) -> None:
    try:
        async for message in ws:
            saw(message)
            await ws.send("got it")
    except ConnectionClosedError as error:
        saw(type(error))
    saw((ws.close_code, ws.close_reason))


@client(DONE)
async def recv_after_the_end_raises_each_time(ws: Any, saw: Saw) -> None:
    for _ in range(3):
        await attempt(saw, ws.recv())


@client(TOM, DONE)
async def messages_before_a_close_are_received_after_it(ws: Any, saw: Saw) -> None:
    await until_closed(ws)
    await attempt(saw, ws.recv())
    await attempt(saw, ws.recv())


@client(frame(CLOSE, code(4000, b"why")))
async def the_exception_has_both_close_frames(ws: Any, saw: Saw) -> None:
    try:
        await ws.recv()
    except ConnectionClosed as error:
        saw((error.rcvd, error.sent, error.rcvd_then_sent, error.code, error.reason))


@client(frame(CLOSE))
async def the_exception_after_an_empty_close(ws: Any, saw: Saw) -> None:
    try:
        await ws.recv()
    except ConnectionClosed as error:
        saw((str(error), error.rcvd, error.sent, error.rcvd_then_sent, error.code, error.reason))


@client(frame(TEXT, b"\xff\xfe"), answers=False)
async def a_text_that_is_not_utf_8(ws: Any, saw: Saw) -> None:
    await attempt_class(saw, ws.recv())
    saw(ws.close_code)


@client(frame(BINARY, bytes(2 << 20)), answers=False)
async def a_message_that_is_too_big(ws: Any, saw: Saw) -> None:
    await attempt_class(saw, ws.recv())


@client(frame(TEXT, b"a", masked=False), answers=False)
async def a_frame_without_a_mask(ws: Any, saw: Saw) -> None:
    await attempt_class(saw, ws.recv())


@client(LLO, answers=False)
async def a_continuation_without_a_start(ws: Any, saw: Saw) -> None:
    await attempt_class(saw, ws.recv())


# Streaming.


@client(TOM, HE, LLO, BOB)
async def streaming_yields_fragments(ws: Any, saw: Saw) -> None:
    for _ in range(2):
        saw([fragment async for fragment in ws.recv_streaming()])
    saw(await ws.recv())


@client(HE, LLO)
async def streaming_yields_bytes_of_a_text(ws: Any, saw: Saw) -> None:
    saw([fragment async for fragment in ws.recv_streaming(decode=False)])


@client(frame(BINARY, b"\xe2\x82", fin=False), frame(CONTINUATION, b"\xac"))
async def streaming_decodes_bytes_with_a_split_character(ws: Any, saw: Saw) -> None:
    saw("".join([fragment async for fragment in ws.recv_streaming(decode=True)]))


@client(HE, LLO, TOM)
async def the_rest_of_a_half_streamed_message_is_not_another_message(ws: Any, saw: Saw) -> None:
    async for fragment in ws.recv_streaming():
        saw(fragment)
        break
    await attempt(saw, ws.recv())
    await attempt(saw, anext(aiter(ws.recv_streaming())))


@client(DONE)
async def streaming_after_the_end(ws: Any, saw: Saw) -> None:
    await until_closed(ws)
    for _ in range(2):
        await attempt(saw, anext(aiter(ws.recv_streaming())))


@client(HE, DONE)
async def streaming_a_message_that_never_ends(ws: Any, saw: Saw) -> None:
    try:
        async for fragment in ws.recv_streaming():
            saw(fragment)
    except ConnectionClosed as error:
        saw(error)


@client(HE, DONE)
async def recv_of_a_message_that_never_ends(ws: Any, saw: Saw) -> None:
    await attempt(saw, ws.recv())
    await attempt(saw, ws.recv())


# Concurrency and cancellation.


@client(READ, TOM)
async def two_recv_at_once(ws: Any, saw: Saw) -> None:
    first = await begin(ws.recv())
    await attempt(saw, ws.recv())
    await ws.send("go on")
    saw(await first)


@client(READ, TOM)
async def streaming_beside_a_recv(ws: Any, saw: Saw) -> None:
    first = await begin(ws.recv())
    await attempt(saw, anext(aiter(ws.recv_streaming())))
    await ws.send("go on")
    saw(await first)


@client(HE, READ, LLO)
async def recv_beside_streaming(ws: Any, saw: Saw) -> None:
    async for fragment in ws.recv_streaming():
        saw(fragment)
        if fragment == "he":
            await attempt(saw, ws.recv())
            await ws.send("go on")


@client(READ, TOM)
async def a_cancelled_recv_loses_nothing(ws: Any, saw: Saw) -> None:
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ws.recv(), 0.01)
    await ws.send("now")
    saw(await ws.recv())


@client(HE, READ, LLO)
async def a_recv_that_is_cancelled_within_a_message_loses_nothing(ws: Any, saw: Saw) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await ws.recv()
    await ws.send("go on")
    saw(await ws.recv())


@client(READ, TOM)
async def a_stream_that_is_cancelled_before_its_start_loses_nothing(ws: Any, saw: Saw) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(aiter(ws.recv_streaming()))
    await ws.send("now")
    saw(await ws.recv())


@client()
async def concurrent_sends_arrive_whole(ws: Any, _: Saw) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(ws.send(str(number)))


# Sending.


@client()
async def send_of_each_type(ws: Any, saw: Saw) -> None:
    for message in ("text", b"bytes", bytearray(b"bytearray"), memoryview(b"memoryview"), "", b"", "é€𝄞"):
        saw(await ws.send(message))


@client()
async def send_overrules_the_type(ws: Any, _: Saw) -> None:
    await ws.send(b"as text", text=True)
    await ws.send("as bytes", text=False)
    await ws.send(["as ", "bytes"], text=False)
    await ws.send([b"as ", b"text"], text=True)


@client()
async def send_of_fragments(ws: Any, saw: Saw) -> None:
    def generate() -> Iterator[bytes]:
        yield b"a"
        yield b"b"

    async def generate_later() -> AsyncIterator[str]:
        yield "c"
        yield "d"

    for fragments in (["x"], ["x", "y", "z"], generate(), generate_later(), [], {"key": 1}.keys()):
        saw(await ws.send(fragments))


@client()
async def send_of_what_is_not_a_message(ws: Any, saw: Saw) -> None:
    for wrong in (5, None, 1.5, {"a": 1}, object()):
        await attempt_class(saw, ws.send(wrong))
    await ws.send("still open")


@client(answers=False)
async def send_of_fragments_of_two_types(ws: Any, saw: Saw) -> None:
    await attempt_class(saw, ws.send(["a", b"b"]))
    await attempt_class(saw, ws.send("more"))


@client(answers=False)
async def send_of_fragments_that_break_off(ws: Any, saw: Saw) -> None:
    def generate() -> Iterator[str]:
        yield "a"
        raise LookupError("no more")

    await attempt(saw, ws.send(generate()))
    await attempt_class(saw, ws.send("more"))


@client()
async def send_of_a_first_fragment_that_is_wrong(ws: Any, saw: Saw) -> None:
    await attempt_class(saw, ws.send([1, 2]))
    await attempt_class(saw, ws.send("still open"))


@client(DONE)
async def send_after_the_client_closed(ws: Any, saw: Saw) -> None:
    await until_closed(ws)
    await attempt(saw, ws.send("late"))
    await attempt(saw, ws.send(["late"]))


@client()
async def send_after_our_close(ws: Any, saw: Saw) -> None:
    await ws.close()
    await attempt(saw, ws.send("late"))


@client()
async def a_large_message(ws: Any, _: Saw) -> None:
    await ws.send(bytes(70_000))
    await ws.send("x" * 70_000)


@client()
async def other_sends_wait_for_the_fragments(ws: Any, _: Saw) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def generate() -> AsyncIterator[str]:
        yield "a"
        begun.set()
        await go_on.wait()
        yield "b"

    async with asyncio.TaskGroup() as group:
        group.create_task(ws.send(generate()))
        await begun.wait()
        after = await begin(ws.send("after"))
        go_on.set()
    await after


# Closing.


@client()
async def a_handler_that_returns_closes_with_1000(ws: Any, saw: Saw) -> None:
    saw(ws.state.name)


@client()
async def close_without_a_code(ws: Any, saw: Saw) -> None:
    saw((ws.close_code, ws.close_reason, ws.state.name))
    saw(await ws.close())
    saw((ws.close_code, ws.close_reason, ws.state.name))


@client()
async def close_with_a_code_and_a_reason(ws: Any, saw: Saw) -> None:
    await ws.close(4000, "why")
    await attempt(saw, ws.recv())
    saw((ws.close_code, ws.close_reason))


@client()
async def close_twice(ws: Any, saw: Saw) -> None:
    await ws.close(4000, "first")
    await ws.close(4001, "second")
    saw(ws.close_code)


@client(frame(CLOSE, code(4000, b"why")))
async def close_after_the_client_closed(ws: Any, saw: Saw) -> None:
    await until_closed(ws)
    saw(await ws.close())
    saw((ws.close_code, ws.close_reason))


@client()
async def two_tasks_close(ws: Any, saw: Saw) -> None:
    saw(await asyncio.gather(ws.close(4000), ws.close(4001)))
    saw(ws.close_code)


@client(READ, frame(CLOSE, code(4001)), answers=False)
async def both_sides_close_at_once(ws: Any, saw: Saw) -> None:
    await ws.send("now")
    await ws.close(4000)
    try:
        await ws.recv()
    except ConnectionClosed as error:
        saw((error.sent, error.rcvd))


@client(READ, TOM, BOB)
async def messages_after_our_close(ws: Any, saw: Saw) -> None:
    await ws.close()
    await attempt(saw, ws.recv())


@client(READ, ABORT)
async def an_abort_during_our_close(ws: Any, saw: Saw) -> None:
    await ws.send("now")
    await ws.close()
    await attempt_class(saw, ws.recv())
    saw((ws.close_code, ws.close_reason))


@client()
async def close_with_what_cannot_be_sent(ws: Any, saw: Saw) -> None:
    for wrong in ((1005, ""), (1006, ""), (999, ""), (5000, ""), (1000, "x" * 124)):
        await attempt_class(saw, ws.close(*wrong))
    saw(ws.state.name)


@client(DONE)
async def wait_closed_returns(ws: Any, saw: Saw) -> None:
    saw(await ws.wait_closed())
    saw(ws.state.name)


@client()
async def a_context_closes(ws: Any, saw: Saw) -> None:
    async with ws as entered:
        saw(entered is ws)
    saw(ws.state.name)


@client()
async def a_context_that_raises_closes_with_1011(ws: Any, saw: Saw) -> None:
    with contextlib.suppress(LookupError):
        async with ws:
            raise LookupError
    await attempt(saw, ws.recv())


# Exceptions.


@client()
async def a_handler_that_raises_closes_with_1011(_ws: Any, _: Saw) -> None:
    raise ValueError("a bug")


@client()
async def a_group_of_exceptions_closes_with_1011(ws: Any, _: Saw) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.wait_for(ws.recv(), 0.01))


@client()
async def a_timeout_that_nobody_catches_closes_with_1011(ws: Any, _: Saw) -> None:
    await asyncio.wait_for(ws.recv(), 0.01)


@client(DONE)
async def an_end_that_nobody_catches(ws: Any, saw: Saw) -> None:
    saw("waiting")
    await ws.recv()


# Pings.


@client(frame(PING, b""), frame(PING, b"data"), READ, READ, TOM)
async def pings_of_the_client_are_answered(ws: Any, saw: Saw) -> None:
    saw(await ws.recv())


@client()
async def a_ping_can_be_awaited(ws: Any, saw: Saw) -> None:
    saw(ws.latency)
    pong = await ws.ping()
    saw(0 < await pong < 100)
    saw(ws.latency > 0)


@client(READ, READ, TOM, answers=True)
async def a_ping_with_data_that_waits_already(ws: Any, saw: Saw) -> None:
    ws.client_answers_pings = False
    await ws.ping("data")
    await attempt_class(saw, ws.ping("data"))
    await ws.send("go on")
    saw(await ws.recv())


@client()
async def pings_with_data_of_each_type(ws: Any, saw: Saw) -> None:
    for data in ("text", b"bytes", bytearray(b"bytearray"), "x" * 125):
        saw(type(await (await ws.ping(data))))
    await attempt_class(saw, ws.ping("x" * 126))


@client()
async def a_pong_that_nobody_asked_for(ws: Any, saw: Saw) -> None:
    saw(await ws.pong())
    saw(await ws.pong("data"))


@client(READ, DONE)
async def a_ping_whose_pong_never_comes(ws: Any, saw: Saw) -> None:
    pong = await ws.ping("data")
    await attempt(saw, pong)
    await attempt(saw, ws.ping())
    await attempt(saw, ws.pong())


# Attributes.


@client()
async def the_request(ws: Any, saw: Saw) -> None:
    saw((ws.request.path, ws.request.headers["HOST"], ws.request.headers.get_all("upgrade")))
    saw("X-None" in ws.request.headers)


@client()
async def the_response(ws: Any, saw: Saw) -> None:
    saw((ws.response.status_code, ws.response.reason_phrase, ws.subprotocol))


@client()
async def the_addresses(ws: Any, saw: Saw) -> None:
    saw((ws.remote_address[0], len(ws.remote_address), ws.local_address[0], type(ws.local_address[1])))


@client()
async def a_logger_and_attributes_of_the_handler(ws: Any, saw: Saw) -> None:
    ws.logger.debug("hello")
    ws.user = "tom"
    saw(ws.user)
    saw(hasattr(ws, "nothing_of_that_name"))


@client()
async def connections_in_a_set(ws: Any, saw: Saw) -> None:
    saw(len({ws, ws}))
    saw(ws == ws)


# Broadcast.


@client()
async def broadcast_of_each_type(ws: Any, saw: Saw) -> None:
    for message in ("text", b"bytes", bytearray(b"bytearray")):
        websockets.asyncio.server.broadcast([ws], message)
    websockets.asyncio.server.broadcast({ws}, b"as text", text=True)
    with contextlib.suppress(TypeError):
        websockets.asyncio.server.broadcast([ws], 5)  # type: ignore[arg-type]
        saw("no error")


@client(DONE)
async def broadcast_skips_what_is_closed(ws: Any, saw: Saw) -> None:
    await until_closed(ws)
    websockets.asyncio.server.broadcast([ws], "late")
    websockets.asyncio.server.broadcast([ws], "late", raise_exceptions=True)
    saw("skipped")
