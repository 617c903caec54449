"""Messages out of data frames, held to RFC 6455 section 5.4 and to the limits; without I/O."""

import codecs
from typing import NamedTuple

from picows import WSCloseCode, WSProtocolError

from wss.protocol.deflate import Deflate
from wss.protocol.frames import CONTINUATION, TEXT, Frame

_UTF_8 = codecs.getincrementaldecoder("utf-8")


class Fragment(NamedTuple):
    """A part of a message that came in more than one frame; `fin`: the last one."""

    data: str | bytes
    fin: bool


class Assembler:
    """Of one connection. `max_message` is in bytes, `max_fragments` counts the frames of one message."""

    __slots__ = (
        "_deflate",
        "_fragments",
        "_max_fragments",
        "_max_message",
        "_size",
        "_under_way",
        "_utf_8",
        "inflated",
    )

    def __init__(self, max_message: int, max_fragments: int, deflate: Deflate | None) -> None:
        self._max_message = max_message
        self._max_fragments = max_fragments
        self._deflate = deflate
        self._under_way = False  # a message that is not complete
        self._utf_8: codecs.IncrementalDecoder | None = None
        self._size = self._fragments = 0
        self.inflated = 0
        """Bytes that the last frame had, if the connection compresses."""

    @property
    def expects_whole(self) -> bool:
        """Whether the next data frame can be a message as it is: nothing is under way, and nothing is compressed."""
        return not self._under_way and not self._deflate

    def add(self, opcode: int, frame: Frame) -> str | bytes | Fragment:
        """Return the message, or the fragment of one, that this data frame carries.

        Raises WSProtocolError if the client must not send it, and UnicodeDecodeError if a text is not valid UTF-8.
        """
        # RFC 6455 section 5.2: no extension of ours gives the bits a meaning, but RSV1 on a compressed message.
        if frame.rsv2 or frame.rsv3 or (frame.rsv1 and not self._deflate):
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if (opcode == CONTINUATION) != self._under_way:
            what = "expected a continuation frame" if self._under_way else "unexpected continuation frame"
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, what)
        if opcode != CONTINUATION:
            self._utf_8 = _UTF_8() if opcode == TEXT else None
            self._size = self._fragments = 0
        if self._deflate:
            payload = self._deflate.decode_frame(opcode, frame, self._max_message - self._size)
            self.inflated = len(payload)
        else:
            payload = frame.get_payload_as_bytes()
        # In each frame, so that invalid UTF-8 is known as early as it can be.
        data = self._utf_8.decode(payload, bool(frame.fin)) if self._utf_8 else payload
        self._size += len(payload)
        if self._size > self._max_message:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "message too big")
        # Empty ones too: their number alone can fill the memory.
        self._fragments += not frame.fin
        if self._fragments > self._max_fragments:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"more than {self._max_fragments} fragments")
        self._under_way = not frame.fin
        return data if opcode != CONTINUATION and frame.fin else Fragment(data, bool(frame.fin))
