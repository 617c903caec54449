"""Compression of messages (permessage-deflate, RFC 7692) on the side of the server, with limits.

The implementation of picows is for clients: it swaps the parameters of client and server, ignores the server parameters
that a client requests, and cannot detect that a message is one byte over the limit.
"""

import re
import zlib
from collections.abc import Callable, Iterable

from picows import WSCloseCode, WSProtocolError

from wss.protocol.frames import CONTINUATION, Frame

NAME = "permessage-deflate"
# Max decompressed data per turn of the event loop, in which no handler runs: this many messages of maximal size.
MAX_MESSAGES_PER_TURN = 16
# zlib appends this to each flush, and the sender removes it (RFC 7692 section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"

_SERVER_PARAMETER = r"server_no_context_takeover|server_max_window_bits=(9|1[0-5])"
_CLIENT_PARAMETER = r"client_no_context_takeover|client_max_window_bits(=\d+)?"


def negotiate(offers: Iterable[str]) -> str | None:
    """Return the response to the first acceptable offer (RFC 7692 section 5), or None.

    zlib does not support a window of 8 bits. Client parameters are hints, which need no response.
    """
    for offer in offers:
        name, *parameters = (part.strip() for part in offer.split(";"))
        server = [parameter for parameter in parameters if parameter.startswith("server_")]
        client = set(parameters) - set(server)
        if (
            name == NAME
            and len({parameter.partition("=")[0] for parameter in parameters}) == len(parameters)
            and all(re.fullmatch(_SERVER_PARAMETER, each) for each in server)
            and all(re.fullmatch(_CLIENT_PARAMETER, each) for each in client)
        ):
            return "; ".join([NAME, *server])
    return None


class Deflate:
    """Compresses and decompresses the messages of one connection.

    `negotiated`: the extension in the handshake response; `max_message`: bytes; `call_soon`: that of the event loop, at
    whose next turn the count of decompressed bytes restarts.
    """

    def __init__(self, negotiated: str, max_message: int, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        bits = re.search(r"server_max_window_bits=(\d+)", negotiated)
        self._bits = -int(bits[1]) if bits else -zlib.MAX_WBITS  # negative: raw deflate without zlib's header
        self._no_context_takeover = "server_no_context_takeover" in negotiated
        self._deflator = zlib.compressobj(wbits=self._bits)
        self._inflator = zlib.decompressobj(-zlib.MAX_WBITS)
        self._compressed = False  # whether the current message is
        self._max_per_turn = MAX_MESSAGES_PER_TURN * max_message
        self._this_turn = 0  # bytes

    def decode_frame(self, opcode: int, frame: Frame, limit: int) -> bytes:
        """Return the decompressed payload of a frame. Raises WSProtocolError if it is over `limit` bytes or invalid."""
        if opcode != CONTINUATION:
            self._compressed = bool(frame.rsv1)
        elif frame.rsv1:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if not self._compressed:
            return bytes(frame.get_payload_as_bytes())
        try:
            # One byte over the limit, to detect that it is exceeded, and because 0 means no limit to zlib.
            data = self._inflator.decompress(frame.get_payload_as_bytes(), limit + 1)
            if frame.fin and len(data) <= limit:
                data += self._inflator.decompress(_TAIL, limit + 1 - len(data))
        except zlib.error as error:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "invalid compressed data") from error
        if len(data) > limit or self._inflator.unconsumed_tail:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "message too big")
        if self._inflator.eof:  # a final block (BFINAL), after which more messages may follow (section 7.2.3.5)
            self._inflator = zlib.decompressobj(-zlib.MAX_WBITS)
        self._count(len(data))
        return data

    def _count(self, size: int) -> None:
        # A full queue pauses reading, but not the parsing of bytes already read, and a few of those can inflate to a
        # thousand times their size.
        if not self._this_turn:
            self._call_soon(self._end_turn)
        self._this_turn += size
        if self._this_turn > self._max_per_turn:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "too much compressed data at once")

    def _end_turn(self) -> None:
        self._this_turn = 0

    def encode_frame(self, data: bytes, *, fin: bool) -> bytes:
        """Return the compressed payload of a frame."""
        compressed = self._deflator.compress(data) + self._deflator.flush(zlib.Z_SYNC_FLUSH)
        if not fin:
            return compressed
        if self._no_context_takeover:
            self._deflator = zlib.compressobj(wbits=self._bits)
        return compressed.removesuffix(_TAIL)
