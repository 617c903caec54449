"""Assembles messages from data frames, by the rules of RFC 6455 section 5.4 and within limits; without I/O."""

import codecs
from typing import NamedTuple

from picows import WSCloseCode, WSProtocolError

from wss.protocol.deflate import Deflate
from wss.protocol.frames import CONTINUATION, TEXT, Frame

_UTF_8 = codecs.getincrementaldecoder("utf-8")


class Fragment(NamedTuple):
    """The data of one frame of a fragmented message; `fin`: it is the last one."""

    data: str | bytes
    fin: bool


class Assembler:
    """The assembler of one connection. `max_message`: bytes per message; `max_fragments`: frames per message."""

    __slots__ = (
        "_deflate",
        "_fragments",
        "_in_message",
        "_max_fragments",
        "_max_message",
        "_size",
        "_utf_8",
        "inflated",
    )

    def __init__(self, max_message: int, max_fragments: int, deflate: Deflate | None) -> None:
        self._max_message = max_message
        self._max_fragments = max_fragments
        self._deflate = deflate
        self._in_message = False  # between the first and the last frame of a message
        self._utf_8: codecs.IncrementalDecoder | None = None
        self._size = self._fragments = 0
        self.inflated = 0
        """Bytes of the last frame after decompression, if the connection is compressed."""

    @property
    def expects_whole(self) -> bool:
        """Whether an unfragmented data frame can be taken as a message without `add`."""
        return not self._in_message and not self._deflate

    def add(self, opcode: int, frame: Frame) -> str | bytes | Fragment:
        """Return the message or the fragment in a data frame.

        Raises WSProtocolError if the client must not send it, and UnicodeDecodeError if a text is not valid UTF-8.
        """
        # RFC 6455 section 5.2: the only negotiated extension uses RSV1, on compressed messages.
        if frame.rsv2 or frame.rsv3 or (frame.rsv1 and not self._deflate):
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if (opcode == CONTINUATION) != self._in_message:
            what = "expected a continuation frame" if self._in_message else "unexpected continuation frame"
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, what)
        if opcode != CONTINUATION:
            self._utf_8 = _UTF_8() if opcode == TEXT else None
            self._size = self._fragments = 0
        if self._deflate:
            payload = self._deflate.decode_frame(opcode, frame, self._max_message - self._size)
            self.inflated = len(payload)
        else:
            payload = frame.get_payload_as_bytes()
        # Frame by frame, so that invalid UTF-8 is detected as early as possible.
        data = self._utf_8.decode(payload, bool(frame.fin)) if self._utf_8 else payload
        self._size += len(payload)
        if self._size > self._max_message:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "message too big")
        # Empty frames count, too: enough of them would fill the memory.
        self._fragments += not frame.fin
        if self._fragments > self._max_fragments:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"more than {self._max_fragments} fragments")
        self._in_message = not frame.fin
        return data if opcode != CONTINUATION and frame.fin else Fragment(data, bool(frame.fin))
