"""permessage-deflate (RFC 7692), without a server."""

import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from data_frames import Data, split
from hypothesis import given
from hypothesis import strategies as st
from picows import WSCloseCode, WSProtocolError
from wss.protocol.deflate import MAX_MESSAGES_PER_TURN, Deflate, negotiate
from wss.protocol.frames import BINARY, CONTINUATION

MAX_MESSAGE = 1000
TAIL = b"\0\0\xff\xff"


class Turn:
    """A turn of an event loop that has only call_soon."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._due.append(callback)

    def end(self) -> None:
        while self._due:
            self._due.pop()()


def deflated(data: bytes) -> bytes:
    """Return the data as a client compresses it."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


@given(data=st.binary(max_size=MAX_MESSAGE), cuts=st.lists(st.integers(0, MAX_MESSAGE), max_size=5))
def test_a_message_is_decompressed_however_it_is_fragmented(data: bytes, cuts: list[int]) -> None:
    turn = Turn()
    deflate = Deflate("permessage-deflate", MAX_MESSAGE, turn.call_soon)
    for _ in range(3):
        *first, last = split(deflated(data), cuts)
        frames = [*(Data(part, fin=0) for part in first), Data(last)]
        frames[0].rsv1 = 1
        inflated = b""
        for number, frame in enumerate(frames):
            opcode = CONTINUATION if number else BINARY
            inflated += deflate.decode_frame(opcode, frame, MAX_MESSAGE - len(inflated))
        assert inflated == data
        turn.end()


@given(size=st.integers(MAX_MESSAGE - 5, MAX_MESSAGE + 5))
def test_no_message_is_decompressed_to_more_than_the_limit(size: int) -> None:
    deflate = Deflate("permessage-deflate", MAX_MESSAGE, Turn().call_soon)
    frame = Data(deflated(bytes(size)), rsv1=1)
    if size <= MAX_MESSAGE:
        assert deflate.decode_frame(BINARY, frame, MAX_MESSAGE) == bytes(size)
    else:
        with pytest.raises(WSProtocolError) as refusal:
            deflate.decode_frame(BINARY, frame, MAX_MESSAGE)
        assert refusal.value.code == WSCloseCode.MESSAGE_TOO_BIG


def test_the_data_decompressed_in_one_turn_of_the_event_loop_is_limited() -> None:
    turn = Turn()
    deflate = Deflate("permessage-deflate", MAX_MESSAGE, turn.call_soon)
    largest = Data(deflated(bytes(MAX_MESSAGE)), rsv1=1)
    for _ in range(2):
        for _ in range(MAX_MESSAGES_PER_TURN):
            deflate.decode_frame(BINARY, largest, MAX_MESSAGE)
        turn.end()
    for _ in range(MAX_MESSAGES_PER_TURN):
        deflate.decode_frame(BINARY, largest, MAX_MESSAGE)
    with pytest.raises(WSProtocolError, match="too much compressed data at once"):
        deflate.decode_frame(BINARY, largest, MAX_MESSAGE)


@given(data=st.binary())
def test_invalid_compressed_data_is_a_protocol_error(data: bytes) -> None:
    deflate = Deflate("permessage-deflate", MAX_MESSAGE, Turn().call_soon)
    with suppress(WSProtocolError):  # and no other exception
        deflate.decode_frame(BINARY, Data(data, rsv1=1), MAX_MESSAGE)


@given(messages=st.lists(st.binary(max_size=500)), no_context_takeover=st.booleans())
def test_a_client_can_decompress_what_is_sent(messages: list[bytes], no_context_takeover: bool) -> None:
    negotiated = "permessage-deflate" + ("; server_no_context_takeover" if no_context_takeover else "")
    deflate = Deflate(negotiated, MAX_MESSAGE, Turn().call_soon)
    client = zlib.decompressobj(-15)
    for message in messages:
        assert client.decompress(deflate.encode_frame(message, fin=True) + TAIL) == message
        if no_context_takeover:
            client = zlib.decompressobj(-15)


@pytest.mark.parametrize(
    ("offers", "response"),
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
def test_the_first_acceptable_offer_is_accepted(offers: list[str], response: str | None) -> None:
    assert negotiate(offers) == response
