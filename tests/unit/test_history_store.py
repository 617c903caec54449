"""The store of kept messages in memory, compared with a plain list of all messages, for all sequences of calls.

tests/faults/test_history_with_a_hub.py runs the same sequences against the hub.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from history_model import Append, Clock, History, Read, Step, Wait, steps
from hypothesis import given
from wss.config.environment import SettingError
from wss.config.history import Limits
from wss.config.settings import read_settings
from wss.rooms.kept import Kept, Position, Start, json_envelope
from wss.rooms.store import REMEMBERED, Entry, MemoryStore

Result = TypeVar("Result")


def run(call: Awaitable[Result]) -> Result:
    async def main() -> Result:
        return await call

    return asyncio.run(main())


def memory_store(clock: Clock) -> MemoryStore:
    return MemoryStore(lambda *_: False, lambda: clock.now)


@given(steps())
def test_each_read_returns_what_is_kept_after_the_position_or_reports_the_gap(sequence: list[Step]) -> None:
    clock = Clock()
    run(History(memory_store(clock), clock).check(sequence))


def test_a_room_that_was_forgotten_begins_a_new_epoch() -> None:
    clock = Clock()
    store, limits = memory_store(clock), Limits(seconds=10)
    first = run(store.append("room:tea", limits, Entry.of("hello"))).position
    clock.now += 10 + REMEMBERED - 1
    # Its message has expired, but a client that has received it has missed nothing.
    assert run(store.read("room:tea", limits, first)).gap is None
    assert run(store.read("room:tea", limits, first._replace(offset=0))).gap == "expired"
    clock.now += 10 + REMEMBERED
    page = run(store.read("room:tea", limits, first))
    assert (page.gap, page.last, page.entries) == ("epoch", 0, [])
    assert page.start.epoch != first.epoch


def test_rooms_that_are_forgotten_use_no_memory() -> None:
    clock = Clock()
    store, limits = memory_store(clock), Limits(seconds=10)
    for number in range(100):
        run(store.append(f"room:{number}", limits, Entry.of("hello")))
    clock.now += 2 * REMEMBERED
    run(store.append("room:tea", limits, Entry.of("hello")))
    assert len(store._rooms) == 1


def test_a_message_that_exceeds_the_limit_alone_has_a_position_and_is_not_kept() -> None:
    sequence: list[Step] = [Append(5), Append(500), Read(0), Append(5), Read(1), Read(2), Wait(1), Read(2)]
    clock = Clock()
    run(History(memory_store(clock), clock, Limits(10, 5, 50)).check(sequence))


@pytest.mark.parametrize("text", ["", "7", ":7", "0a:", "0a:-1", "0a:7 ", "0A:7", "0a:٣", f"0a:{'9' * 16}", None, 7])
def test_what_is_not_a_position_is_one_of_an_unknown_epoch(text: object) -> None:
    assert Position.parse(text) == ("", 0)


def test_a_position_is_the_same_after_it_was_text() -> None:
    assert Position.parse(str(Position("0a", 7))) == ("0a", 7)


def test_the_envelope_of_text_is_json_and_that_of_bytes_begins_with_a_line_of_it() -> None:
    position = Position("0a", 7)
    assert json_envelope(Kept("tea", position, "é")) == '{"room": "tea", "position": "0a:7", "message": "é"}'
    assert json_envelope(Kept("tea", position, b"\n\xff")) == b'{"room": "tea", "position": "0a:7"}\n\n\xff'
    assert json_envelope(Start("tea", position, None)) == '{"room": "tea", "position": "0a:7", "gap": null}'


def test_rules_are_read_from_the_settings() -> None:
    settings = read_settings({"HISTORY": "tea=100,1h,1M a=b,*=5,90,64K"})
    assert settings.history == {"tea": Limits(100, 3600, 1024 * 1024), "a=b,*": Limits(5, 90, 64 * 1024)}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("tea", "'tea' is not a rule"),
        ("=1,1h,1M", "'=1,1h,1M' is not a rule"),
        ("tea=100", "'tea=100' is not a rule"),
        ("tea=0,1h,1M", "in 'tea=0,1h,1M', not a count"),
        ("tea=1,1y,1M", "in 'tea=1,1y,1M', '1y' is not a time"),
        ("tea=1,31d,1M", "in 'tea=1,31d,1M', '31d' is not a time"),
        ("tea=1,1h,1T", "in 'tea=1,1h,1T', not a size"),
        ("tea=1,1h,1M tea=2,1h,1M", "there are two rules for 'tea'"),
    ],
)
def test_an_invalid_rule_is_an_error(value: str, error: str) -> None:
    with pytest.raises(SettingError) as refusal:
        read_settings({"HISTORY": value})
    assert str(refusal.value).startswith(f"HISTORY={value!r}: {error}")
    assert "Give" in str(refusal.value)
