"""permessage-deflate (RFC 7692), without a server."""

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


class FakeLoop:
    """An event loop with only call_soon; the test runs the callbacks."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._due.append(callback)

    def run_callbacks(self) -> None:
        while self._due:
            self._due.pop()()


def deflated(data: bytes) -> bytes:
    """Return the payload of a client's compressed message."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


@given(data=st.binary(max_size=LARGEST), cuts=st.lists(st.integers(0, LARGEST), max_size=5))
def test_a_message_inflates_to_the_original_in_any_fragmentation(data: bytes, cuts: list[int]) -> None:
    loop = FakeLoop()
    deflate = Deflate("permessage-deflate", LARGEST, loop.call_soon)
    for _ in range(3):
        *first, last = split(deflated(data), cuts)
        frames = [*(Data(part, fin=0) for part in first), Data(last)]
        frames[0].rsv1 = 1
        inflated = b""
        for number, frame in enumerate(frames):
            opcode = CONTINUATION if number else BINARY
            inflated += deflate.decode_frame(opcode, frame, LARGEST - len(inflated))
        assert inflated == data
        loop.run_callbacks()


@given(size=st.integers(LARGEST - 5, LARGEST + 5))
def test_a_message_that_inflates_to_more_than_the_limit_is_refused(size: int) -> None:
    deflate = Deflate("permessage-deflate", LARGEST, FakeLoop().call_soon)
    frame = Data(deflated(bytes(size)), rsv1=1)
    if size <= LARGEST:
        assert deflate.decode_frame(BINARY, frame, LARGEST) == bytes(size)
    else:
        with pytest.raises(WSProtocolError) as refusal:
            deflate.decode_frame(BINARY, frame, LARGEST)
        assert refusal.value.code == WSCloseCode.MESSAGE_TOO_BIG


def test_inflated_data_per_iteration_of_the_event_loop_is_limited() -> None:
    loop = FakeLoop()
    deflate = Deflate("permessage-deflate", LARGEST, loop.call_soon)
    largest = Data(deflated(bytes(LARGEST)), rsv1=1)
    for _ in range(2):
        for _ in range(MAX_MESSAGES_AT_ONCE):
            deflate.decode_frame(BINARY, largest, LARGEST)
        loop.run_callbacks()
    for _ in range(MAX_MESSAGES_AT_ONCE):
        deflate.decode_frame(BINARY, largest, LARGEST)
    with pytest.raises(WSProtocolError, match="too much at once"):
        deflate.decode_frame(BINARY, largest, LARGEST)


@given(data=st.binary())
def test_invalid_compressed_data_is_a_protocol_error(data: bytes) -> None:
    deflate = Deflate("permessage-deflate", LARGEST, FakeLoop().call_soon)
    with suppress(WSProtocolError):  # any other exception fails the test
        deflate.decode_frame(BINARY, Data(data, rsv1=1), LARGEST)


@given(messages=st.lists(st.binary(max_size=500)), no_context_takeover=st.booleans())
def test_a_client_can_inflate_the_messages_of_the_server(messages: list[bytes], no_context_takeover: bool) -> None:
    agreed = "permessage-deflate" + ("; server_no_context_takeover" if no_context_takeover else "")
    deflate = Deflate(agreed, LARGEST, FakeLoop().call_soon)
    client = zlib.decompressobj(-15)
    for message in messages:
        assert client.decompress(deflate.encode_frame(message, fin=True) + TAIL) == message
        if no_context_takeover:
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
def test_the_first_acceptable_offer_is_accepted(offers: list[str], answer: str | None) -> None:
    assert answer_to(offers) == answer
