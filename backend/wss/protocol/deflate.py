"""Compression of messages (permessage-deflate, RFC 7692), as a server speaks it, and bounded.

picows' own is a client's: it takes the sides the wrong way round, ignores what a client asks of the server, and stops
counting at exactly the largest message that is allowed.
"""

import re
import zlib
from collections.abc import Callable, Iterable

from picows import WSCloseCode, WSProtocolError

from wss.protocol.frames import CONTINUATION, Frame

NAME = "permessage-deflate"
# What a client may inflate at once, before its handler gets to see anything: so many of the largest messages.
MAX_MESSAGES_AT_ONCE = 16
# What zlib appends to each flush and the sender leaves off (RFC 7692 section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"

_MET = r"server_no_context_takeover|server_max_window_bits=(9|1[0-5])"
_HINTS = r"client_no_context_takeover|client_max_window_bits(=\d+)?"


def answer_to(offers: Iterable[str]) -> str | None:
    """Return our side of the first offer that can be met in all that it asks for (RFC 7692 section 5), or None.

    Zlib knows no window of 8 bits. What the client says of its own side is a hint, which needs no answer.
    """
    for offer in offers:
        name, *parameters = (part.strip() for part in offer.split(";"))
        ours = [parameter for parameter in parameters if parameter.startswith("server_")]
        hints = set(parameters) - set(ours)
        if (
            name == NAME
            and len({parameter.partition("=")[0] for parameter in parameters}) == len(parameters)
            and all(re.fullmatch(_MET, each) for each in ours)
            and all(re.fullmatch(_HINTS, each) for each in hints)
        ):
            return "; ".join([NAME, *ours])
    return None


class Deflate:
    """Both directions of one connection, as they were agreed on; `largest` is that of a message, in bytes.

    `call_soon` is the event loop's: what is inflated is counted until its next turn.
    """

    def __init__(self, agreed: str, largest: int, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        bits = re.search(r"server_max_window_bits=(\d+)", agreed)
        self._bits = -int(bits[1]) if bits else -zlib.MAX_WBITS  # negative: raw, without zlib's header
        self._forgets = "server_no_context_takeover" in agreed
        self._deflator = zlib.compressobj(wbits=self._bits)
        self._inflator = zlib.decompressobj(-zlib.MAX_WBITS)
        self._compressed = False  # the message that is under way
        self._most_at_once = MAX_MESSAGES_AT_ONCE * largest
        self._at_once = 0

    def decode_frame(self, opcode: int, frame: Frame, most: int) -> bytes:
        """Return the contents of a frame, at most `most` bytes; raises WSProtocolError where that is not enough."""
        if opcode != CONTINUATION:
            self._compressed = bool(frame.rsv1)
        elif frame.rsv1:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if not self._compressed:
            return bytes(frame.get_payload_as_bytes())
        try:
            # One more than may be: to zlib, 0 is no limit, and what fits exactly has to be told from what does not.
            data = self._inflator.decompress(frame.get_payload_as_bytes(), most + 1)
            if frame.fin and len(data) <= most:
                data += self._inflator.decompress(_TAIL, most + 1 - len(data))
        except zlib.error as error:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "this cannot be inflated") from error
        if len(data) > most or self._inflator.unconsumed_tail:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "message too big")
        if self._inflator.eof:  # a last block, which need not be the last of the connection (section 7.2.3.5)
            self._inflator = zlib.decompressobj(-zlib.MAX_WBITS)
        self._count(len(data))
        return data

    def _count(self, size: int) -> None:
        # Reading is paused when enough messages wait, but not within what was read already; and a little of that can
        # be a thousand times as much.
        if not self._at_once:
            self._call_soon(self._start_anew)
        self._at_once += size
        if self._at_once > self._most_at_once:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "too much at once")

    def _start_anew(self) -> None:
        self._at_once = 0

    def encode_frame(self, data: bytes, *, fin: bool) -> bytes:
        """Return a frame's contents, compressed."""
        compressed = self._deflator.compress(data) + self._deflator.flush(zlib.Z_SYNC_FLUSH)
        if not fin:
            return compressed
        if self._forgets:
            self._deflator = zlib.compressobj(wbits=self._bits)
        return compressed.removesuffix(_TAIL)
