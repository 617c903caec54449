"""MESSAGE_RATE and BYTE_RATE: a client that sends more is read more slowly, and closed if it does not stop.

Without limits, connections have a plain Receiver: their messages cost nothing more.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from picows import WSFrame
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the stub leaves it out

from wss.config.settings import Settings
from wss.connection.receiver import Flow, Receiver, State
from wss.protocol.close import Ending

# Seconds: what a rate allows in this time may come at once, and a client never owes more.
BURST = 5.0
# Seconds of a pause in reading. A pong is seen after it.
MIN_PAUSE, MAX_PAUSE = 0.1, 0.5
# Seconds without a pause after which a client counts as within its rate. One that is over it by a tenth is only slowed.
CALM = 1.0
# Seconds for which a client is read more slowly; then it is closed.
PATIENCE = 10.0
# Bytes of one read. What has been read is processed, even in a pause.
MAX_READ = 4 * 1024


class ClientRates(NamedTuple):
    """The limits of each client, per second; None: no limit."""

    messages: int | None
    bytes: int | None
    max_message: int
    """Bytes. A message of this size is within every rate."""


def client_rates(settings: Settings) -> ClientRates | None:
    """Return the limits, if there are any."""
    if settings.message_rate or settings.byte_rate:
        return ClientRates(settings.message_rate, settings.byte_rate, settings.max_message)
    return None


class BoundedProtocol(WSProtocol):  # type: ignore[misc]  # it has no stub
    """The protocol of picows, which alone doubles its buffer until one read has all that the kernel has received.

    After a pause, that can be 6 MB (tcp_rmem): a million small messages, which would block the event loop for seconds.
    """

    def get_buffer(self, size_hint: int) -> memoryview:
        buffer: memoryview = super().get_buffer(size_hint)
        return buffer[:MAX_READ]


class TokenBucket:
    """Gets `rate` tokens per second and keeps at most `capacity`: https://en.wikipedia.org/wiki/Token_bucket."""

    __slots__ = ("_capacity", "_rate", "_since", "_tokens", "block", "setting")

    def __init__(self, setting: str, rate: int, capacity: float, now: float) -> None:
        self.setting = setting
        """The name of the setting that has the rate."""
        self.block = rate // 10
        """How many to take in advance: a tenth of a second's."""
        self._rate = rate
        self._capacity = self._tokens = capacity + self.block
        self._since = now

    def take(self, number: float, now: float) -> float:
        """Take tokens, even if there are too few; return the seconds until none is owed."""
        tokens = min(self._tokens + (now - self._since) * self._rate, self._capacity) - number
        self._since = now
        self._tokens = max(tokens, -BURST * self._rate)
        return max(-self._tokens / self._rate, 0.0)


class LimitedReceiver(Receiver):
    """A receiver that pauses reading if its client has sent too much.

    `report` is called with the name of a setting: with False when the client is read more slowly for the first time,
    with True if that has lasted for PATIENCE seconds.
    """

    __slots__ = (
        "_buckets",
        "_is_over",
        "_is_reported",
        "_paid_bytes",
        "_paid_messages",
        "_pause_end",
        "_report",
        "_slow_since",
        "_timer",
    )

    def __init__(self, rates: ClientRates, report: Callable[[str, bool], None], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        now = time.monotonic()
        self._buckets = (
            TokenBucket("MESSAGE_RATE", rates.messages, BURST * rates.messages, now) if rates.messages else None,
            TokenBucket("BYTE_RATE", rates.bytes, max(BURST * rates.bytes, rates.max_message), now)
            if rates.bytes
            else None,
        )
        # Taken from the buckets in advance, so that a message costs two subtractions; infinite without a limit.
        self._paid_messages = 0.0 if rates.messages else math.inf
        self._paid_bytes = 0.0 if rates.bytes else math.inf
        self._report = report
        self._is_reported = False
        self._is_over = False  # it is read slowly until its end
        self._timer: asyncio.TimerHandle | None = None  # exists during a pause
        self._slow_since = 0.0
        self._pause_end = now - CALM

    def add(self, opcode: int, frame: WSFrame) -> None:
        super().add(opcode, frame)
        self._charge(1 if frame.fin else 0, frame.payload_size)

    def add_control(self, size: int) -> None:
        self._charge(1, size)

    def _charge(self, messages: int, size: int) -> None:
        self._paid_messages -= messages
        self._paid_bytes -= size
        if (self._paid_messages < 0 or self._paid_bytes < 0) and (self._state < State.DISCARDING or self._is_over):
            self._pay(time.monotonic())

    def _pay(self, now: float) -> None:
        messages, size = self._buckets
        if messages and self._paid_messages < 0:
            self._take(messages, -self._paid_messages, now)
            self._paid_messages = messages.block
        if size and self._paid_bytes < 0:
            self._take(size, -self._paid_bytes, now)
            self._paid_bytes = size.block

    def _take(self, bucket: TokenBucket, number: float, now: float) -> None:
        owed = bucket.take(number + bucket.block, now)
        if owed and not self._timer:
            self._slow(bucket.setting, min(owed + MIN_PAUSE, MAX_PAUSE), now)

    def _slow(self, setting: str, pause: float, now: float) -> None:
        if self._is_over:
            pause = MIN_PAUSE  # the client's close frame may be behind what is discarded
        elif now - self._pause_end >= CALM:
            self._slow_since = now
            if not self._is_reported:
                self._is_reported = True
                self._report(setting, False)
        elif now - self._slow_since >= PATIENCE:
            self._is_over = True
            self._report(setting, True)
        self._timer = self._loop.call_later(pause, self._end_pause)
        self._pause_end = now + pause
        if self._flow is not Flow.PAUSED:
            self._transport.pause_reading()

    def _end_pause(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
            if self._flow is not Flow.PAUSED and self._ending is None:
                self._transport.resume_reading()

    # A pause for the rate and one for a full queue overlap: reading stops with the first, and resumes after the last.

    def _stop_reading(self) -> None:
        if not self._timer:
            super()._stop_reading()

    def _start_reading(self) -> None:
        if not self._timer:
            super()._start_reading()

    def discard(self) -> None:
        if not self._is_over:
            self._end_pause()
        super().discard()

    def end(self, ending: Ending) -> None:
        super().end(ending)
        self._end_pause()
