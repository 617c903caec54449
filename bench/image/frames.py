"""What is sent and what has to come back: a ring of frames, made before the clock starts."""

import secrets
from dataclasses import dataclass

TEXT = 0x81  # FIN and opcode (RFC 6455 section 5.2)
MASKED = 0x80
# Distinct messages, so that a reply that is lost, doubled, or somebody else's is seen.
RING = 64
RING_BYTES = 4 << 20  # at most, in all


@dataclass(frozen=True)
class Ring:
    """Requests to be sent in turn, and the bytes of their replies one after the other, all twice: any slice fits."""

    requests: list[bytes]
    replies: memoryview
    reply_size: int

    @property
    def size(self) -> int:
        """Bytes of all replies once."""
        return len(self.requests) * self.reply_size


def websocket_ring(payload: int) -> Ring:
    """Text messages of this many bytes; each is masked at random (RFC 6455 section 5.3) and answered unmasked."""
    messages = _messages(payload)
    replies = [_head(payload, 0) + message for message in messages]
    return _ring([_masked(message) for message in messages], replies)


def raw_ring(payload: int) -> Ring:
    """The same bytes on the wire as those of `websocket_ring`, to be echoed by a server that knows no websockets."""
    requests = [_masked(message) for message in _messages(payload)]
    return _ring(requests, requests)


def _messages(payload: int) -> list[bytes]:
    count = max(2, min(RING, RING_BYTES // payload))
    return [secrets.token_hex((payload + 1) // 2)[:payload].encode() for _ in range(count)]


def _ring(requests: list[bytes], replies: list[bytes]) -> Ring:
    return Ring(requests, memoryview(b"".join(replies) * 2), len(replies[0]))


def _masked(message: bytes) -> bytes:
    mask = secrets.token_bytes(4)
    key = (mask * (len(message) // 4 + 1))[: len(message)]
    masked = int.from_bytes(message, "big") ^ int.from_bytes(key, "big")
    return _head(len(message), MASKED) + mask + masked.to_bytes(len(message), "big")


def _head(size: int, masked: int) -> bytes:
    if size < 126:
        return bytes([TEXT, masked | size])
    if size < 1 << 16:
        return bytes([TEXT, masked | 126]) + size.to_bytes(2, "big")
    return bytes([TEXT, masked | 127]) + size.to_bytes(8, "big")
