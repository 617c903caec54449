"""permessage-deflate without a server: RFC 7692."""

import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from data_frames import Data, split
from hypothesis import given
from hypothesis import strategies as st
from picows import WSCloseCode, WSProtocolError
from wss.protocol.deflate import MAX_MESSAGES_AT_ONCE, Deflate, answer_to
from wss.protocol.frames import BINARY, CONTINUATION

LARGEST = 1000
TAIL = b"\0\0\xff\xff"


class Turn:
    """An event loop of which only call_soon is used."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._due.append(callback)

    def end(self) -> None:
        while self._due:
            self._due.pop()()


def deflated(data: bytes) -> bytes:
    """Return what a client sends."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


@given(data=st.binary(max_size=LARGEST), cuts=st.lists(st.integers(0, LARGEST), max_size=5))
def test_a_message_inflates_to_what_it_was_however_it_is_split(data: bytes, cuts: list[int]) -> None:
    turn = Turn()
    deflate = Deflate("permessage-deflate", LARGEST, turn.call_soon)
    for _ in range(3):
        *first, last = split(deflated(data), cuts)
        frames = [*(Data(part, fin=0) for part in first), Data(last)]
        frames[0].rsv1 = 1
        inflated = b""
        for number, frame in enumerate(frames):
            opcode = CONTINUATION if number else BINARY
            inflated += deflate.decode_frame(opcode, frame, LARGEST - len(inflated))
        assert inflated == data
        turn.end()


@given(size=st.integers(LARGEST - 5, LARGEST + 5))
def test_no_message_inflates_to_more_than_the_largest(size: int) -> None:
    deflate = Deflate("permessage-deflate", LARGEST, Turn().call_soon)
    frame = Data(deflated(bytes(size)), rsv1=1)
    if size <= LARGEST:
        assert deflate.decode_frame(BINARY, frame, LARGEST) == bytes(size)
    else:
        with pytest.raises(WSProtocolError) as refusal:
            deflate.decode_frame(BINARY, frame, LARGEST)
        assert refusal.value.code == WSCloseCode.MESSAGE_TOO_BIG


def test_what_inflates_in_one_turn_of_the_loop_is_bounded() -> None:
    turn = Turn()
    deflate = Deflate("permessage-deflate", LARGEST, turn.call_soon)
    largest = Data(deflated(bytes(LARGEST)), rsv1=1)
    for _ in range(2):
        for _ in range(MAX_MESSAGES_AT_ONCE):
            deflate.decode_frame(BINARY, largest, LARGEST)
        turn.end()
    for _ in range(MAX_MESSAGES_AT_ONCE):
        deflate.decode_frame(BINARY, largest, LARGEST)
    with pytest.raises(WSProtocolError, match="too much at once"):
        deflate.decode_frame(BINARY, largest, LARGEST)


@given(data=st.binary())
def test_what_cannot_be_inflated_is_a_protocol_error(data: bytes) -> None:
    deflate = Deflate("permessage-deflate", LARGEST, Turn().call_soon)
    with suppress(WSProtocolError):  # and no other exception
        deflate.decode_frame(BINARY, Data(data, rsv1=1), LARGEST)


@given(messages=st.lists(st.binary(max_size=500)), forgets=st.booleans())
def test_what_is_sent_is_inflated_by_a_client(messages: list[bytes], forgets: bool) -> None:
    agreed = "permessage-deflate" + ("; server_no_context_takeover" if forgets else "")
    deflate = Deflate(agreed, LARGEST, Turn().call_soon)
    client = zlib.decompressobj(-15)
    for message in messages:
        assert client.decompress(deflate.encode_frame(message, fin=True) + TAIL) == message
        if forgets:
            client = zlib.decompressobj(-15)


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ([], None),
        (["permessage-deflate"], "permessage-deflate"),
        (["permessage-deflate; client_max_window_bits"], "permessage-deflate"),
        (["permessage-deflate; server_max_window_bits=8", "permessage-deflate"], "permessage-deflate"),
        (["permessage-deflate; server_max_window_bits=10"], "permessage-deflate; server_max_window_bits=10"),
        (["permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"], None),
        (["permessage-deflate; unknown"], None),
        (["permessage-bzip2"], None),
    ],
)
def test_the_first_offer_that_can_be_met_is_taken(offers: list[str], answer: str | None) -> None:
    assert answer_to(offers) == answer
