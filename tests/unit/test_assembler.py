"""Assembling messages from frames, without a server: any fragmentation, and the rules of RFC 6455 section 5.4."""

from collections.abc import Iterable

import pytest
from data_frames import Data, split
from hypothesis import given
from hypothesis import strategies as st
from picows import WSCloseCode, WSProtocolError
from wss.protocol.assembler import Assembler, Fragment
from wss.protocol.frames import BINARY, CONTINUATION, TEXT

MAX_MESSAGE, MAX_FRAGMENTS = 1000, 10


def new_assembler() -> Assembler:
    return Assembler(MAX_MESSAGE, MAX_FRAGMENTS, None)


def add_all(assembler: Assembler, opcode: int, parts: Iterable[bytes]) -> list[str | bytes | Fragment]:
    """Add a message that has these fragments."""
    *first, last = parts
    opcodes = [opcode, *[CONTINUATION] * len(first)]
    frames = [*(Data(part, fin=0) for part in first), Data(last)]
    return [assembler.add(kind, frame) for kind, frame in zip(opcodes, frames, strict=True)]


CUTS = st.lists(st.integers(0, MAX_MESSAGE), max_size=MAX_FRAGMENTS)


@given(text=st.text(max_size=200), cuts=CUTS)
def test_a_text_is_assembled_however_it_is_fragmented(text: str, cuts: list[int]) -> None:
    assembler = new_assembler()
    for _ in range(2):  # the first message leaves no state
        added = add_all(assembler, TEXT, split(text.encode(), cuts))
        if not cuts:
            assert added == [text]
            continue
        fragments = [fragment for fragment in added if isinstance(fragment, Fragment)]
        assert len(fragments) == len(added)
        assert "".join(str(fragment.data) for fragment in fragments) == text
        assert [fragment.fin for fragment in fragments] == [False] * len(cuts) + [True]
    assert assembler.expects_whole


@given(data=st.binary(max_size=MAX_MESSAGE), cuts=CUTS)
def test_a_binary_message_is_assembled_however_it_is_fragmented(data: bytes, cuts: list[int]) -> None:
    parts = add_all(new_assembler(), BINARY, split(data, cuts))
    assert b"".join(part.data if isinstance(part, Fragment) else part for part in parts) == data  # type: ignore[misc]


@given(data=st.binary(max_size=200), cuts=CUTS)
def test_invalid_utf_8_is_an_error_however_it_is_fragmented(data: bytes, cuts: list[int]) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            add_all(new_assembler(), TEXT, split(data, cuts))
    else:
        add_all(new_assembler(), TEXT, split(data, cuts))


@given(frames=st.lists(st.tuples(st.sampled_from([CONTINUATION, TEXT, BINARY]), st.integers(0, 1)), max_size=30))
def test_any_sequence_of_frames_is_accepted_or_rejected_by_the_rules(frames: list[tuple[int, int]]) -> None:
    assembler = new_assembler()
    in_message = fragments = 0
    for opcode, fin in frames:
        fragments = (fragments if opcode == CONTINUATION else 0) + (not fin)
        legal = (opcode == CONTINUATION) == bool(in_message) and fragments <= MAX_FRAGMENTS
        if not legal:
            with pytest.raises(WSProtocolError):
                assembler.add(opcode, Data(b"", fin))
            return
        assembler.add(opcode, Data(b"", fin))
        in_message = not fin
        assert assembler.expects_whole != in_message


@pytest.mark.parametrize("bit", ["rsv1", "rsv2", "rsv3"])
def test_a_reserved_bit_is_rejected(bit: str) -> None:
    frame = Data(b"")
    setattr(frame, bit, 1)
    with pytest.raises(WSProtocolError) as refusal:
        new_assembler().add(TEXT, frame)
    assert refusal.value.code == WSCloseCode.PROTOCOL_ERROR


@given(sizes=st.lists(st.integers(0, 400), min_size=1, max_size=MAX_FRAGMENTS))
def test_a_message_over_the_limit_is_rejected(sizes: list[int]) -> None:
    parts = [bytes(size) for size in sizes]
    if sum(sizes) <= MAX_MESSAGE:
        add_all(new_assembler(), BINARY, parts)
    else:
        with pytest.raises(WSProtocolError) as refusal:
            add_all(new_assembler(), BINARY, parts)
        assert refusal.value.code == WSCloseCode.MESSAGE_TOO_BIG
